"""The trials of a search, one row each, written into tune.json from the first trial on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from recbole_fair import storage
from recbole_fair.rundir.result import finished
from recbole_fair.screen import Tally
from recbole_fair.tune.objectives import Objectives

FILE = "tune.json"


@dataclass
class Trial:
    """One row of a search. `stopped`: by the scheduler, after `epochs`, with the judged figure it had then."""

    number: int
    values: dict[str, Any]
    status: str = "running"  # running | ok | failed | stopped
    error: str | None = None
    valid: dict[str, float | None] = field(default_factory=dict)
    run_dir: str | None = None
    split: str | None = None
    epochs: int | None = None
    seconds: float | None = None

    @property
    def status_text(self) -> str:
        """The status in words: how far a stopped trial came, why a failed one failed."""
        if self.status == "stopped":
            return f"stopped after {self.epochs} epochs"
        return f"{self.status}: {self.error}" if self.error else self.status


class Record:
    """The rows of a search and their file: read when a search goes on, written whenever a trial starts or ends."""

    def __init__(
        self, folder: Path, about: Mapping[str, Any], objectives: Objectives, quiet: bool = True, total: int = 0
    ) -> None:
        self.folder, self.about, self.objectives, self.quiet = folder, dict(about), objectives, quiet
        self.trials: dict[int, Trial] = {}
        self.tally = Tally(total)

    def remember(self, rows: list[Trial]) -> None:
        """Take in the rows of an earlier process, which a second kill must not lose; a trial replaces its own."""
        self.trials = {row.number: row for row in rows}

    def starts(self, number: int, values: Mapping[str, Any]) -> None:
        """A trial starts, or starts again on another machine."""
        self.trials[number] = Trial(number, dict(values))
        self.write()
        self.tally.starts()
        self._say(self.trials[number], "starts")

    def enter(self, number: int, values: Mapping[str, Any], **facts: Any) -> None:
        """Enter a trial that was finished before this search began; the tally of what is to be done has one less."""
        self.trials[number] = Trial(number, dict(values), **facts)
        self.tally.total -= 1
        self.write()

    def ends(self, number: int, **facts: Any) -> None:
        """A trial has ended in one way or another."""
        row = self.trials[number]
        for key, value in facts.items():
            setattr(row, key, value)
        self.write()
        self.tally.ends()
        self._say(row, self.outcome(row))

    def _say(self, row: Trial, what: str) -> None:
        if not self.quiet:
            settings = " ".join(f"{key}={short(value)}" for key, value in row.values.items())
            print(f"trial {row.number}: {what}  {settings} ({self.tally})", file=sys.stderr, flush=True)

    def complete(self, trials: int) -> bool:
        """Whether all trials have ended well, with a figure for every objective, and their run directories still exist.

        One that a scheduler stopped has ended only for a search with a scheduler.
        """
        schedules = self.about.get("scheduler") != "none"
        ended = [row for row in self.rows if (schedules and row.status == "stopped") or self._finished(row)]
        return len(ended) == len(self.rows) == trials

    def _finished(self, row: Trial) -> bool:
        measured = all(row.valid.get(metric) is not None for metric in self.objectives)
        return row.status == "ok" and measured and finished(Path(str(row.run_dir)))

    def outcome(self, row: Trial) -> str:
        """The objectives' figures, or why there are none."""
        if row.status != "ok":
            return row.status_text
        return "  ".join(f"{metric} {row.valid[metric]:.4f}" for metric in self.objectives)

    @property
    def rows(self) -> list[Trial]:
        """All trials in the order in which they were drawn."""
        return [self.trials[number] for number in sorted(self.trials)]

    def write(self, **more: Any) -> None:
        """Replace tune.json by what is known now."""
        storage.write_json(self.folder / FILE, {**self.about, "trials": [asdict(row) for row in self.rows], **more})


def short(value: Any) -> str:
    """A setting as the screen shows it; files keep every digit."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
