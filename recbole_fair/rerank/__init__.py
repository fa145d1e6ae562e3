"""Re-rankers of scored lists, whoever made them: each method one file, its equations beside the code; numpy only.

candidates.py   what there is to choose from     methods.py   the table of methods: needs, strengths, defaults
"""
