"""What a run says: the stable content of result.json, and the short table on the screen."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from recbole_fair import storage
from recbole_fair.errors import UsageError
from recbole_fair.metrics.key import MetricKey
from recbole_fair.screen import visible

RESULT = "result.json"
_RECALL = re.compile(r"recall@\d+")
_STATES = ("ok", "failed", "collapsed")
_GROUP_WORDS = frozenset({"kind", "field", "group"})


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _may(is_kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or is_kind(value)


def _each(is_kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """A mapping of words to values of one kind."""
    return lambda value: isinstance(value, dict) and all(map(is_kind, value.values()))


def _is_span(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _is_group(value: Any) -> bool:
    """A row of groups.csv: the grouping's kind and name and the group's are words, all else is numbers."""
    if not isinstance(value, dict) or not all(_is_text(value.get(key)) for key in _GROUP_WORDS):
        return False
    return all(value[key] is None or _is_number(value[key]) for key in value.keys() - _GROUP_WORDS)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


# What each entry of result.json is.
_KINDS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("model", "dataset", "config_hash"), _is_text),
    **dict.fromkeys(("strategy", "error", "base"), _may(_is_text)),
    "seed": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "status": lambda value: value in _STATES,
    **dict.fromkeys(("valid", "test"), _each(_may(_is_number))),
    "interval": _each(_may(_is_span)),
    "groups": lambda value: isinstance(value, list) and all(map(_is_group, value)),
    **dict.fromkeys(("parameters", "seconds"), _each(_is_number)),
    "versions": _each(_is_text),
    **dict.fromkeys(("environment", "data", "resampling"), _is_mapping),
    "threshold": _may(_is_number),
    "prompts": _each(_is_number),
    "wordings": _each(_is_span),
    "beside": _each(_each(_is_number)),
    "warnings": lambda value: isinstance(value, list) and all(map(_is_text, value)),
}


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
    resampling: dict[str, Any] = field(default_factory=dict)  # level, method, samples and seed of the intervals
    groups: list[dict[str, Any]] = field(default_factory=list)
    parameters: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    threshold: float | None = None  # of a Yes, in a labeled run
    prompts: dict[str, int] = field(default_factory=dict)  # learnt and asked, planted, cut, left out, unanswered
    wordings: dict[str, list[float]] = field(default_factory=dict)  # lowest and highest figure, of several wordings
    beside: dict[str, dict[str, float]] = field(default_factory=dict)  # test figures without a model, and of the base
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
        storage.write_json(folder / RESULT, {key: value for key, value in asdict(self).items() if key != "run_dir"})

    @classmethod
    def read(cls, folder: Path) -> Result:
        """The result of a run's folder; a damaged file is refused by name."""
        refuse_links(folder)
        path = folder / RESULT
        values = storage.read_json(path)
        known = {entry.name for entry in fields(cls)} - {"run_dir"}
        try:
            result = cls(**{key: value for key, value in values.items() if key in known}, run_dir=str(folder))
        except TypeError as error:
            raise UsageError(f"{path}: damaged ({error}); remove the run's folder and run again") from error
        result._check(path)
        return result

    def _check(self, path: Path) -> None:
        """Refuse values of other types than `save` writes."""
        for key, is_kind in _KINDS.items():
            value = getattr(self, key)
            if not is_kind(value):
                shown = repr(value)[:80]
                raise UsageError(f"{path}: damaged ({key} is {shown}); remove the run's folder and run again")

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
        shown = [title, *lines, *self._group_lines(), *self._prompt_lines(), *notes, f"run directory: {self.run_dir}"]
        return "\n".join(map(visible, shown))

    def _prompt_lines(self) -> list[str]:
        """What was asked and how, over which range other wordings move the figures, and what stands beside them."""
        counts = ", ".join(f"{name} {count}" for name, count in self.prompts.items())
        spreads = ", ".join(f"{name} {low:.4f}-{high:.4f}" for name, (low, high) in self.wordings.items())
        beside = [
            f"beside it, {name}: " + ", ".join(f"{key} {value:.4f}" for key, value in figures.items())
            for name, figures in self.beside.items()
        ]
        return [f"prompts: {counts}"] * bool(counts) + [f"over all wordings: {spreads}"] * bool(spreads) + beside

    def _group_lines(self) -> list[str]:
        """One line a grouping: recall at the largest K by group; all of it stands in groups.csv."""
        shown: dict[str, list[str]] = {}
        for row in self.groups:
            metric = max((key for key in row if _RECALL.fullmatch(key)), key=_k_of, default=None)
            if metric is not None:
                shown.setdefault(f"{row['field']} {metric}", []).append(f"{row['group']} {_shown(row[metric])}")
        return [f"{label}: {', '.join(values)}" for label, values in shown.items()]


def _k_of(key: str) -> int:
    return MetricKey.parse(key).k or 0


def _span(bounds: list[float] | None) -> str:
    return f"[{bounds[0]:.4f}, {bounds[1]:.4f}]" if bounds else ""


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def refuse_links(folder: Path) -> None:
    """Refuse a run's folder that holds a link: whoever made the folder would choose which file is read or written."""
    if not folder.is_dir():
        return
    if links := sorted(entry.name for entry in os.scandir(folder) if entry.is_symlink()):
        raise UsageError(f"{folder / links[0]}: is a link; the files of a run are ordinary files, put a copy there")


def finished(folder: Path) -> bool:
    """Whether a run's folder holds a result that needs no further work; a damaged one is refused, not overwritten."""
    return (folder / RESULT).exists() and Result.read(folder).status != "failed"
