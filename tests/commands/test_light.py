"""Lists are judged, re-ranked and reported without the libraries that train models."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from recbole_fair.settings import yamls

HEAVY = ("torch", "recbole", "transformers", "ray", "sklearn", "scipy.stats")
COMMANDS = """
import sys
from recbole_fair.cli import main

files = ["--recommendations=lists.tsv", "--items=items.tsv", "--interactions=met.tsv"]
audit = [*files, "--topk=2", "--metrics=Recall,NDCG,CV,ItemCoverage", "--item_groups=genre", "--bootstrap=20"]
assert not main(["audit", *audit, "--run_dir=judged"])
late = [name for name in (*{heavy}, "pandas", "scipy") if name in sys.modules]
assert not main(["rerank", *files, "--method=MinMax", "--fair_group=genre", "--k=2", "--out=new.tsv"])
assert not main(["report", "judged", "--out=page"])
print([*late, *(name for name in {heavy} if name in sys.modules)])
"""


def test_judging_reranking_and_reporting_lists_load_nothing_that_trains(tmp_path: Path) -> None:
    users, items = range(1, 9), range(1, 7)
    table = {
        "lists.tsv": ["user_id\titem_id\trank\tscore", *(f"u{u}\ti{i}\t{i}\t{1 / i}" for u in users for i in items)],
        "items.tsv": ["item_id\tgenre", *(f"i{i}\t{'ab'[i % 2]}" for i in items)],
        "met.tsv": ["user_id\titem_id\tsplit", *(f"u{u}\ti{1 + (u + n) % 6}\t{part}"
                    for u in users for n, part in enumerate(("train", "valid", "test")))],
    }  # fmt: skip
    for name, lines in table.items():
        (tmp_path / name).write_text("\n".join([*lines, ""]))
    code = COMMANDS.format(heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_our_own_files_read_alike_by_the_fast_and_the_strict_reader() -> None:
    files = sorted(yamls.PROPERTIES.rglob("*.yaml"))
    assert len(files) > 50
    for file in files:
        assert yamls.packaged(str(file.relative_to(yamls.PROPERTIES))) == yamls.read_mapping(file, line_ends=True), file
