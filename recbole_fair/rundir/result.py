"""What a run says: the stable content of result.json, and the short table on the screen."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from recbole_fair import storage
from recbole_fair.errors import UsageError

_RECALL = re.compile(r"recall@\d+")


@dataclass
class Result:
    """The stable content of result.json. Values are not rounded; an undefined one is None and has a warning."""

    model: str
    strategy: str | None
    dataset: str
    seed: int
    config_hash: str
    status: str = "ok"  # ok | failed | collapsed
    error: str | None = None
    valid: dict[str, float | None] = field(default_factory=dict)
    test: dict[str, float | None] = field(default_factory=dict)
    interval: dict[str, list[float] | None] = field(default_factory=dict)
    groups: list[dict[str, Any]] = field(default_factory=list)
    parameters: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    threshold: float | None = None  # of a Yes, in a labeled run
    base: str | None = None  # the folder of the run this one stands on
    bases: dict[str, str] = field(default_factory=dict)  # of several: their folders by their names
    warnings: list[str] = field(default_factory=list)
    run_dir: str = ""

    def save(self, folder: Path) -> None:
        """Write result.json; NaN and infinities become null with a warning."""
        for where, part in (("valid ", self.valid), ("", self.test)):
            for name, value in part.items():
                if value is not None and not math.isfinite(value):
                    part[name] = None
                    self.warnings.append(f"{where}{name} is undefined")
        self.warnings = list(dict.fromkeys(self.warnings))
        storage.write_json(
            folder / "result.json", {key: value for key, value in asdict(self).items() if key != "run_dir"}
        )

    @classmethod
    def read(cls, folder: Path) -> Result:
        """The result of a run's folder; a damaged file is refused by name."""
        path = folder / "result.json"
        values = storage.read_json(path)
        known = {entry.name for entry in fields(cls)}
        try:
            return cls(**{key: value for key, value in values.items() if key in known}, run_dir=str(folder))
        except TypeError as error:
            raise UsageError(f"{path}: damaged ({error}); remove the run's folder and run again") from error

    def table(self) -> str:
        """Validation and test figures side by side."""
        rows = [
            ("metric", "valid", "test", "interval"),
            *(
                (name, _shown(self.valid.get(name)), _shown(value), _span(self.interval.get(name)))
                for name, value in self.test.items()
            ),
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d}".rstrip() for a, b, c, d in rows]
        title = f"{self.model} on {self.dataset}, seed {self.seed} ({self.status})"
        notes = [f"warning: {note}" for note in self.warnings]
        return "\n".join([title, *lines, *self._group_lines(), *notes, f"run directory: {self.run_dir}"])

    def _group_lines(self) -> list[str]:
        """One line a grouping: recall at the largest K by group; all of it stands in groups.csv."""
        shown: dict[str, list[str]] = {}
        for row in self.groups:
            metric = max((key for key in row if _RECALL.fullmatch(key)), key=_k_of, default=None)
            if metric is not None:
                shown.setdefault(f"{row['field']} {metric}", []).append(f"{row['group']} {_shown(row[metric])}")
        return [f"{label}: {', '.join(values)}" for label, values in shown.items()]


def _k_of(key: str) -> int:
    return int(key.rpartition("@")[2])


def _span(bounds: list[float] | None) -> str:
    return f"[{bounds[0]:.4f}, {bounds[1]:.4f}]" if bounds else ""


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def finished(folder: Path) -> bool:
    """Whether a run's folder holds a result that needs no further work; a damaged one is refused, not overwritten."""
    return (folder / "result.json").exists() and Result.read(folder).status != "failed"
