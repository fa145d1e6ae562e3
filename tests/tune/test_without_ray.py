"""Searches with room for one run at a time: ordinary runs in this process, without Ray."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from searching import RATES, planted

from recbole_fair.jobs import cluster
from recbole_fair.tune import searches
from recbole_fair.tune.planning import SearchOptions


@pytest.mark.parametrize(("space", "most"), [(RATES, 1), ({"learning_rate": {"grid_search": [0.3]}}, None)])
def test_with_room_for_one_run_there_is_no_ray(
    space: Any, most: int | None, toy_options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "started", lambda address: pytest.fail("Ray was started"))
    plan = planted("FailingJob", toy_options, tmp_path, SearchOptions(max_concurrent=most), space)
    found = searches.carried_out(plan, tmp_path)
    assert [row.status for row in found.trials] == ["ok", "failed", "ok"][: len(found.trials)]
    assert all(row.seconds is not None for row in found.trials)
    told = json.loads((tmp_path / "tune.json").read_text())
    assert told["trials"][0]["valid"] == {
        "ndcg@5": found.trials[0].values["learning_rate"],
        "cv@5[pop]": found.trials[0].values["learning_rate"] ** 2,
    }
