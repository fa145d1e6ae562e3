"""Raw files of a publisher into RecBole's atomic files, with nothing silently lost.

`sources` is the table of what can be read; one module a source holds what only that source needs. `build` turns a
source's three tables into files through the one writer, `atomic`, and `readback` compares them as RecBole sees them.
"""
