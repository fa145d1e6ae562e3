"""Run directories to tables, figures and one web page; reads files only, imports neither torch nor RecBole.

reading.py      folders to checked results            users.py         users.csv, predictions.tsv
comparable.py   what may stand in one table           statistics.py    a metric as sums over users
table.py        rows, cells, best and second          significance.py  paired tests against the reference row
charts/         matplotlib, one file a figure
sheet.py, markdown.py, latex.py, page.py              the writers
"""
