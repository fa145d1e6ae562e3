"""What a run shows while it works: on a terminal, through a pipe, and when it is quiet."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recbole_fair import screen
from recbole_fair.training.progress import Progress

Run = Callable[..., Any]
EPOCH = re.compile(
    r"epoch (\d)/3  loss [\d.]+  ndcg@5 \.\d{4} \(best \.\d{4} at \d, \d+ left\)  "
    r"cv@5\[pop\] [.\d]+  [\d.]+ s(, about .*)?"
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def trainer(**more: Any) -> Any:
    config = {"fair_group": "genre", "item_groups": ["pop"], "user_groups": [], "valid_metric": "NDCG@20"}
    state = {"start_epoch": 0, "epochs": 300, "cur_step": 2, "eval_step": 1, "stopping_step": 20}
    values = {"valid_metric": "ndcg@20", "best_valid_score": 0.223, "train_loss_dict": {4: 35.28}, "config": config}
    return SimpleNamespace(**{**values, **state, **more})


FIGURES = {"ndcg@10": 0.1, "ndcg@20": 0.222, "cv@10[genre]": 0.5, "cv@20[pop]": 0.9, "cv@20[genre]": 0.4661}


def line(width: int, **more: Any) -> str:
    progress = Progress(trainer(**more), 10, bar=False)
    progress.epoch = 5
    return progress.line(FIGURES, width)


def test_an_epoch_is_one_line_with_what_is_left() -> None:
    assert line(120).startswith("epoch 5/300  loss 35.3  ndcg@20 .2220 (best .2230 at 3, 18 left)  cv@20[genre] .466  ")
    assert ", about " in line(120)
    assert ", about " not in line(120, epochs=5)


def test_the_best_epoch_counts_epochs_where_only_some_are_judged() -> None:
    assert "(best .2230 at 1, 18 left)" in line(120, eval_step=2)


def test_a_narrow_line_loses_the_loss_first_then_the_groups() -> None:
    assert "loss" not in line(99) and "cv@20[genre]" in line(99)
    assert "cv@20[genre]" not in line(85) and ", about " in line(85)
    assert line(60) == "epoch 5/300  ndcg@20 .2220 (best .2230 at 3, 18 left)"
    assert len(line(20)) == 20


def test_a_pipe_gets_one_short_line_an_epoch(run_toy: Run, capsys: pytest.CaptureFixture[str]) -> None:
    result = run_toy("MF", epochs=3, quiet=False)
    shown = capsys.readouterr().err.splitlines()
    epochs = [found[1] for text in shown if (found := EPOCH.fullmatch(text))]
    assert epochs == ["1", "2", "3"]
    assert sum("epoch" in text for text in shown) == 3 + 2, "and the lines before and after"
    assert max(map(len, shown)) <= 120
    log = (Path(result.run_dir) / "run.log").read_text()
    assert "valid result" in log and "BPR(" in log, "RecBole's own lines stay in the log"
    assert not any("BPR(" in text or "valid" in text.split() for text in shown)


def test_a_run_says_first_what_it_reads_and_balances(run_toy: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run_toy("ReweightMF", quiet=False)
    shown = capsys.readouterr().err.splitlines()
    assert shown[:6] == [
        "toy: 42 users, 24 items, 468 interactions",
        "split: 300 to train, 84 to choose, 84 to test (0.6:0.2:0.2 within each user, the latest last)",
        "items by pop: popular 2, rest 22",
        "items by genre: comic 10, drawn 10, noir 14",
        "users by gender: F 29, M 12, 1 in none",
        "ReweightMF: on cpu, 4,352 parameters to train, epochs chosen by NDCG@5 on validation, patience 20",
    ]
    assert shown[6] == "Reweight on MF balances the 2 groups of pop (fair_group is not set: the first of item_groups)"


def test_a_named_fair_group_is_no_default(run_toy: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run_toy("ReweightMF", fair_group="gender", quiet=False, epochs=1)
    shown = capsys.readouterr().err
    assert "Reweight on MF balances the 2 groups of gender\n" in shown
    assert "gap_ndcg@5[gender] ." in shown, "the figure of the balanced groups"


def on_terminal(run_toy: Run, monkeypatch: pytest.MonkeyPatch, quiet: bool, **keys: Any) -> str:
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    run_toy("MF", epochs=3, quiet=quiet, **keys)
    return screen.getvalue()


def test_a_terminal_gets_one_bar_that_reaches_its_end(run_toy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = on_terminal(run_toy, monkeypatch, quiet=False)
    rows = shown.split("\n")
    assert sum("\r" in row for row in rows) == 1, "one bar"
    assert "100% |" in shown and "epoch 3/3  " in shown
    assert "\x1b[1" not in shown, "no colours of the host's"


@pytest.mark.parametrize(("quiet", "keys"), [(True, {}), (False, {"show_progress": False})])
def test_no_bar_is_drawn_where_none_is_wanted(
    quiet: bool, keys: dict[str, Any], run_toy: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = on_terminal(run_toy, monkeypatch, quiet, **keys)
    assert "% |" not in shown
    assert (shown == "") is quiet


def test_the_bar_of_a_resumed_run_starts_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    hooks = SimpleNamespace(register_step_post_hook=lambda hook: SimpleNamespace(remove=lambda: None))
    progress = Progress(trainer(start_epoch=4, epochs=8, optimizer=hooks), 10, bar=True)
    with progress.shown():
        pass
    assert " 50% |" in screen.getvalue() and "epoch 4/8" in screen.getvalue()


def test_a_notebook_is_watched_like_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert not screen.bars_wanted()
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert screen.bars_wanted()
    with screen.quietly(), screen.quietly(False):
        assert not screen.bars_wanted(), "a run within a quiet one is quiet"
