"""How often a run is judged: at least once, and at its last epoch where that one is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_fair import run
from recbole_fair.errors import UsageError

Toy = Callable[..., dict[str, Any]]


def test_fewer_epochs_than_one_step_are_judged_at_their_end(toy: Toy, tmp_path: Path) -> None:
    seldom = run(**toy("MF", epochs=1, eval_step=2, run_dir=str(tmp_path / "seldom")))
    each = run(**toy("MF", epochs=1, run_dir=str(tmp_path / "each")))
    assert seldom.valid["ndcg@5"] == each.valid["ndcg@5"]


def test_the_last_epoch_is_judged_where_it_is_kept(toy: Toy, tmp_path: Path) -> None:
    assert run(**toy("MF", epochs=4, eval_step=2, keep="last")).status == "ok"
    with pytest.raises(UsageError, match="eval_step=2: keep=last judges the last epoch, so it must divide epochs=3"):
        run(**toy("MF", epochs=3, eval_step=2, keep="last", run_dir=str(tmp_path / "odd")))
