"""The planted tree and the report made of it, once."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_planted import plant_table

from recbole_fair.report.assemble import Options, Report, assemble
from recbole_fair.report.write import write

KEYS = ("recall@5", "cv@5[pop]", "gap_recall@5[gender]")


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plant_table(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def report(tree: Path) -> Report:
    return assemble([tree], Options(metrics=KEYS))


@pytest.fixture(scope="session")
def written(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    write([tree], out, Options(title="Planted <runs> & 50 %", metrics=KEYS))
    return out
