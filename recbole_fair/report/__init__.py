"""Run directories to tables, figures and one web page; reads files only, imports neither torch nor RecBole.

runs.py         folders to checked results            users.py      users.csv, predictions.tsv
comparable.py   what may stand in one table           statistics/   a metric as sums over users, paired tests
rows.py, ranking.py   rows, cells, best and second    charts/       matplotlib, one file a figure
assemble.py     all of it                             writers/      page, Markdown, LaTeX, sheet
"""

from recbole_fair.faces import callable_room

callable_room(__name__)  # recbole_fair.report(...)
