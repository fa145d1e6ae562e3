"""What is shown on a screen: tables that fit, how much is left, and stages that only a command line speaks of."""

from __future__ import annotations

import logging

import pytest

from recbole_fair import screen
from recbole_fair.screen import WIDTH, Tally, spoken, stacked


def test_a_wide_table_becomes_several_that_fit_and_lose_no_cell() -> None:
    rows = [["model", *(f"metric-{place}" for place in range(11))], ["OffsetEASE", *["0.1731 +- 0.0000"] * 11]]
    lines = stacked(rows)
    assert max(map(len, lines)) <= WIDTH
    assert lines.count("") == 1, "as few tables as fit"
    heads = [line.split() for line in lines if line.startswith("model")]
    assert [name for head in heads for name in head[1:]] == rows[0][1:]
    assert sum(line.count("0.1731 +- 0.0000") for line in lines) == 11
    assert all(line.startswith(("model", "OffsetEASE")) for line in lines if line)


def test_a_cell_wider_than_the_screen_stands_in_a_table_of_its_own() -> None:
    assert stacked([["a", "b"], ["x", "y" * 200]]) == ["a  b", f"x  {'y' * 200}"]


def test_a_tally_says_how_long_the_rest_takes_at_the_pace_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 130.0])
    monkeypatch.setattr(screen, "perf_counter", lambda: next(clock))
    tally = Tally(4)
    tally.starts()
    assert str(tally) == "0 of 4 done"
    tally.starts()
    tally.ends()
    assert str(tally) == "1 of 4 done, about 90 s left"
    for _ in range(3):
        tally.ends()
    assert str(tally) == "4 of 4 done"


def test_stages_are_told_in_a_block_that_speaks_and_nowhere_else(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("recbole_fair.anything")
    for quiet, told in ((False, "writing a\\x1b[2Jb\n"), (True, "")):
        with spoken(quiet):
            logger.info("writing %s", "a\x1b[2Jb")
        logger.info("outside")
        assert capsys.readouterr().err == told
