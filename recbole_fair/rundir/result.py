"""What a run says: the stable content of result.json, and the short table on the screen."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_fair import storage
from recbole_fair.errors import UsageError
from recbole_fair.metrics.judging import NOTHING_COMPARED
from recbole_fair.metrics.key import MetricKey
from recbole_fair.registry import load
from recbole_fair.screen import short, visible

if TYPE_CHECKING:
    import pandas as pd

RESULT = "result.json"
_STATES = ("ok", "failed", "collapsed")
_IN_REPR = 2  # figures of groups that a repr shows
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
    if not _is_number(value.get("size")):
        return False
    return all(value[key] is None or _is_number(value[key]) for key in value.keys() - _GROUP_WORDS)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_difference(value: Any) -> bool:
    """Nothing, or a metric's name and the numbers of a difference."""
    words = {"metric", "pop", "difference", "low", "high"}
    return value == {} or (
        isinstance(value, dict)
        and set(value) == words
        and _is_text(value["metric"])
        and all(_is_number(value[word]) for word in words - {"metric"})
    )


def _at(part: str, cutoffs: Sequence[str]) -> str:
    return f"{part} (K = {', '.join(cutoffs)})" if cutoffs else part


# What each entry of result.json is.
_KINDS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("model", "dataset", "config_hash"), _is_text),
    **dict.fromkeys(("strategy", "error", "base"), _may(_is_text)),
    "seed": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "status": lambda value: value in _STATES,
    **dict.fromkeys(("valid", "test"), _each(_may(_is_number))),
    "interval": _each(_may(_is_span)),
    "group_rows": lambda value: isinstance(value, list) and all(map(_is_group, value)),
    **dict.fromkeys(("parameters", "seconds"), _each(_is_number)),
    **dict.fromkeys(("versions", "bases"), _each(_is_text)),
    **dict.fromkeys(("environment", "data", "resampling"), _is_mapping),
    "popularity": _is_difference,
    "threshold": _may(_is_number),
    "prompts": _each(_is_number),
    "wordings": _each(_is_span),
    "beside": _each(_each(_is_number)),
    "warnings": lambda value: isinstance(value, list) and all(map(_is_text, value)),
}


_STORED = {"group_rows": "groups"}  # entries of result.json under another name than here, where `groups` is a table


@dataclass(repr=False)
class Result:
    """The stable content of result.json. Values are not rounded; an undefined one is None and has a warning.

    Tables, as pandas DataFrames: `metrics`, `users`, `groups`, `history`, `recommendations`. What can be done with a
    run: `recommend`, `plot`, `report`.
    """

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
    group_rows: list[dict[str, Any]] = field(default_factory=list)  # `groups` in result.json
    popularity: dict[str, Any] = field(default_factory=dict)  # the difference to Pop on the same users
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
        self.warnings = list(dict.fromkeys([*self.warnings, *self._without_undefined()]))
        storage.write_json(folder / RESULT, {_STORED.get(key, key): value for key, value in self._entries().items()})

    def _without_undefined(self) -> Iterator[str]:
        """Make undefined figures null and name each once for all K; where nothing is compared, that is said already."""
        compared_not = {note.removesuffix(NOTHING_COMPARED) for note in self.warnings}
        named: dict[MetricKey, dict[str, list[str]]] = {}
        for where, part in (("test", self.test), ("validation", self.valid)):
            for name, value in part.items():
                if value is not None and not math.isfinite(value):
                    part[name], key = None, MetricKey.parse(name)
                    cutoffs = named.setdefault(replace(key, k=None), {}).setdefault(where, [])
                    cutoffs += [str(key.k)] if key.k else []
        for figure, places in named.items():
            if figure.grouping not in compared_not:
                yield f"{figure} is undefined on {' and '.join(map(_at, places, places.values()))}"

    def _entries(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key != "run_dir"}

    @classmethod
    def read(cls, folder: Path) -> Result:
        """The result of a run's folder; a damaged file is refused by name."""
        refuse_links(folder)
        path = folder / RESULT
        values = storage.read_json(path)
        names = {_STORED.get(entry.name, entry.name): entry.name for entry in fields(cls) if entry.name != "run_dir"}
        try:
            result = cls(**{names[key]: value for key, value in values.items() if key in names}, run_dir=str(folder))
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
                raise UsageError(
                    f"{path}: damaged ({_STORED.get(key, key)} is {shown}); remove the run's folder and run again"
                )

    def table(self) -> str:
        """What the run found, for the screen."""
        from recbole_fair.rundir.summary import summary

        return summary(self)

    def __repr__(self) -> str:
        accuracy = [key for key in self.test if "[" not in key]
        last = ([key for key in accuracy if key.startswith("ndcg@")] or accuracy)[-1:]
        cutoff = last[0].partition("@")[2] if last else ""
        figures = [*last, *[key for key in self.test if "[" in key and f"@{cutoff}[" in key][:_IN_REPR]]
        shown = "  ".join(f"{key} {short(self.test[key])}" for key in figures)
        return visible(f"<Result {self.model} on {self.dataset}, seed {self.seed}, {self.status}: {shown}>")

    def _repr_html_(self) -> str:
        """A notebook's table of the figures, with where the run lies."""
        head = f"{self.model} on {self.dataset}, seed {self.seed}, {self.status} ({self.run_dir})"
        return f"<p>{html.escape(visible(head))}</p>{self.metrics.to_html(float_format='{:.4f}'.format, na_rep='-')}"

    # --- as tables

    @property
    def metrics(self) -> pd.DataFrame:
        """A row a figure: on test, within its interval, and on validation."""
        import pandas as pd

        bounds: dict[str, Any] = {key: self.interval.get(key) or (None, None) for key in self.test}
        rows = [(value, *bounds[key], self.valid.get(key)) for key, value in self.test.items()]
        index = pd.Index(list(self.test), name="metric")
        return pd.DataFrame(rows, index, ["test", "low", "high", "valid"], dtype=float)

    @property
    def groups(self) -> pd.DataFrame:
        """A row a group, called field: group; its size, judged users, and its figures with their bounds."""
        import pandas as pd

        names = [f"{row['field']}: {row['group']}" for row in self.group_rows]
        return pd.DataFrame(self.group_rows, index=names)

    @property
    def users(self) -> pd.DataFrame:
        """A row a judged user: groups, and what it adds to each figure (users.csv)."""
        return self._read("users.csv", dtype={"user_id": str}, keep_default_na=False, na_values=[""])

    @property
    def history(self) -> pd.DataFrame:
        """A row an epoch, from 0: losses and validation figures (history.csv)."""
        rows = self._read("history.csv")
        return rows.pivot(index="epoch", columns="metric", values="value").rename_axis(columns=None)

    @property
    def recommendations(self) -> pd.DataFrame:
        """A row a place of each judged list: user, item, rank, score (recommendations.tsv of save_recommendations)."""
        ids = {"user_id": str, "item_id": str}
        return self._read(
            "recommendations.tsv", "save_recommendations=True keeps the lists, result.recommend() makes new ones",
            sep="\t", dtype=ids, keep_default_na=False,
        )  # fmt: skip

    def _read(self, name: str, remedy: str = "the run left none", **options: Any) -> pd.DataFrame:
        path = Path(self.run_dir) / name
        if not path.exists():
            raise UsageError(f"{path}: no such file; {remedy}")
        import pandas as pd

        return pd.read_csv(path, float_precision="round_trip", **options)

    # --- what lies above this room is named, not imported: a result is read without it

    def recommend(self, users: Sequence[str] | str | None = None, k: int = 10) -> pd.DataFrame:
        """The k best items of these users, by raw ids (default: of all judged users), with scores and titles."""
        recommended: pd.DataFrame = load("recbole_fair.recommending:recommend")(self, users, k)
        return recommended

    def report(self, out: str | Path | None = None, **options: Any) -> Path:
        """Write the web page of this run into `out` (default: report/ in its folder); the page's path."""
        page: Path = load("recbole_fair.verbs:report")(self, out=out or Path(self.run_dir) / "report", **options)
        return page

    def plot(self, grouping: str | None = None) -> Any:
        """A matplotlib figure of each group's figure with its interval, by the grouping's name (default: the first)."""
        return load("recbole_fair.report.charts.single:groups_of")(self, grouping)


def refuse_links(folder: Path) -> None:
    """Refuse a run's folder that holds a link: whoever made the folder would choose which file is read or written."""
    if not folder.is_dir():
        return
    if links := sorted(entry.name for entry in os.scandir(folder) if entry.is_symlink()):
        raise UsageError(f"{folder / links[0]}: is a link; the files of a run are ordinary files, put a copy there")


def finished(folder: Path) -> bool:
    """Whether a run's folder holds a result that needs no further work; a damaged one is refused, not overwritten."""
    return (folder / RESULT).exists() and Result.read(folder).status != "failed"
