"""What a comparison says: each model's figures over its seeds, what failed, and whether all were judged alike."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from recbole_fair.metrics import directions
from recbole_fair.metrics.key import MetricKey
from recbole_fair.rundir.result import Result
from recbole_fair.screen import stacked, wrapped


@dataclass
class Entry:
    """One run of a comparison."""

    model: str
    seed: int
    error: str | None = None
    run_dir: str | None = None

    @property
    def status(self) -> str:
        """`ok`, `failed`, or `missing` before it has ended."""
        return "ok" if self.run_dir else "failed" if self.error else "missing"


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over seeds; None where a run has no such figure, or one seed shows no spread."""

    mean: float | None
    sd: float | None
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Spread:
        """The spread of one figure; an undefined one among them leaves no mean."""
        defined = [value for value in values if value is not None]
        if not values or len(defined) < len(values):
            return cls(None, None, len(values))
        return cls(statistics.fmean(defined), statistics.stdev(defined) if len(defined) > 1 else None, len(defined))

    def __str__(self) -> str:
        if self.mean is None:
            return "-"
        return f"{self.mean:.4f}" + (f" +- {self.sd:.4f}" if self.sd is not None else "")


def judged_on(result: Result) -> dict[str, Any]:
    """What two runs must share for their figures to be compared."""
    groups = sorted(f"{row['kind']} {row['field']} {row['group']}: {row['size']}" for row in result.group_rows)
    return {**{name: result.data.get(name) for name in ("fingerprint", "split", "candidates")}, "groups": groups}


@dataclass
class Comparison:
    """All runs of a comparison and what follows from them."""

    folder: Path
    dataset: str
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    entries: list[Entry]
    k: int | None  # the K shown on the screen; files have them all
    notes: list[str] = field(default_factory=list)
    chosen: dict[str, dict[str, Any]] = field(default_factory=dict)  # by model, where a search came first

    def __post_init__(self) -> None:
        ended = [(entry.model, entry.seed, Path(entry.run_dir)) for entry in self.entries if entry.run_dir]
        self.results = {(model, seed): Result.read(folder) for model, seed, folder in ended}
        self.figures = {model: self._figures(model) for model in self.models}

    def _of(self, model: str) -> list[Result]:
        return [result for (name, _), result in self.results.items() if name == model]

    def _figures(self, model: str) -> dict[str, Spread]:
        tests = [result.test for result in self._of(model)]
        metrics = dict.fromkeys(metric for test in tests for metric in test)
        return {metric: Spread.of([test.get(metric) for test in tests]) for metric in metrics}

    @property
    def differences(self) -> list[str]:
        """What the runs do not share, and which models stand apart from the first one."""
        facts = [(result.model, judged_on(result)) for result in self.results.values()]
        return [
            f"{name}: {', '.join(sorted({model for model, fact in facts if fact[name] != facts[0][1][name]}))}"
            f" differ from {facts[0][0]}"
            for name in (facts[0][1] if facts else {})
            if any(fact[name] != facts[0][1][name] for _, fact in facts)
        ]

    @property
    def failures(self) -> list[Entry]:
        """The runs that have no figures."""
        return [entry for entry in self.entries if entry.status != "ok"]

    @property
    def sound(self) -> bool:
        """Whether every run is there and all were judged alike."""
        return not self.failures and not self.differences

    def table(self) -> str:
        """A line a model: mean +- standard deviation over seeds, of test figures; an arrow shows the better side."""
        reported = dict.fromkeys(metric for figures in self.figures.values() for metric in figures)
        metrics = [metric for metric in reported if self.k is None or MetricKey.parse(metric).k in (None, self.k)]
        head = ["model", *(f"{metric} {directions.arrow(metric)}".strip() for metric in metrics), "seeds"]
        rows = [
            [model, *(str(figures.get(metric, "-")) for metric in metrics), f"{len(self._of(model))}/{len(self.seeds)}"]
            for model, figures in self.figures.items()
        ]
        failed = [f"failed: {entry.model}, seed {entry.seed}: {entry.error}" for entry in self.failures]
        notes = [f"note: {note}" for note in self.notes]
        below = [*failed, *notes, self._verdict(), f"all figures: {self.folder}"]
        return "\n".join([*stacked([head, *rows]), *(part for line in below for part in wrapped(line))])

    def _verdict(self) -> str:
        if self.differences:
            return f"NOT COMPARABLE: {'; '.join(self.differences)}"
        if not self.results:
            return "no run ended well"
        data = next(iter(self.results.values())).data
        shared = f"data {data['fingerprint']}, split {data['split']}, candidates and groups"
        return f"all {len(self.results)} runs share {shared}"

    def described(self) -> dict[str, Any]:
        """The content of compare.json."""
        shared = judged_on(next(iter(self.results.values()))) if self.results else {}
        figures = {model: {name: asdict(each) for name, each in row.items()} for model, row in self.figures.items()}
        runs = [{**asdict(entry), "status": entry.status} for entry in self.entries]
        request = {"dataset": self.dataset, "models": list(self.models), "seeds": list(self.seeds)}
        checked = {"judged_on": shared, "differences": self.differences, "notes": self.notes, "chosen": self.chosen}
        return {**request, **checked, "runs": runs, "figures": figures}

    def rows(self) -> list[list[Any]]:
        """The content of compare.csv: a row a model and figure."""
        return [
            [model, metric, spread.mean, spread.sd, spread.seeds]
            for model, figures in self.figures.items()
            for metric, spread in figures.items()
        ]
