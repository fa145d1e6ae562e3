"""What a run says of each user: users.csv, and the answers of predictions.tsv."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import TextIOWrapper
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from recbole_fair.errors import UsageError
from recbole_fair.groups.membership import Groups
from recbole_fair.groups.variants import Variant
from recbole_fair.metrics.answer_table import AnswerTable, Curve, Folds
from recbole_fair.metrics.answers import Confusion
from recbole_fair.metrics.formulas import BoolArray, FloatArray, Terms
from recbole_fair.metrics.key import MetricKey
from recbole_fair.metrics.list_table import OF_LISTS, RankingTable
from recbole_fair.metrics.metric import AGAIN, AS_USED, Figure, variants_of
from recbole_fair.storage import open_regular, regular

StrArray = npt.NDArray[np.str_]
_ID = "user_id"
_PREDICTIONS = {_ID: "string", "item_id": "string", "label": "double", "variant": "string", "score": "double"}
_PROBE = {_ID: "string", "attribute": "string", "fold": "int64", "class": "string", "score": "double"}
_COUNTS = ("hits[", "relevant[", "above[", "below[")
_ITEM_GROUP = re.compile(r"relevant\[(?P<field>[^:]+):(?P<group>.+)\]")


@dataclass(frozen=True)
class Users:
    """users.csv, ordered by user id."""

    folder: Path
    ids: StrArray  # [U]
    figures: Mapping[str, FloatArray]  # each [U], nan where a user has none
    labels: Mapping[str, StrArray]  # a user grouping's names, several joined by "|"
    threshold: float  # a score from here on says Yes
    config: Mapping[str, Any]

    @cached_property
    def table(self) -> RankingTable | AnswerTable:
        """What was judged, as metrics read it: users are numbered in the order of `ids`."""
        groups = {field: self._grouping(field) for field in self.labels}
        if (self.folder / "predictions.tsv").exists():
            return self._answers(groups)
        fields = list(dict.fromkeys(_group(name)["field"] for name in self._of("relevant")))
        names = {field: self._item_groups(field) for field in fields}
        groups |= {field: Groups("item", field, tuple(of), np.zeros((1, len(of)), bool)) for field, of in names.items()}
        counted = [name for name in self.figures if name.startswith(_COUNTS)]
        per_user = {name: values for name, values in self.figures.items() if name not in counted and "@" in name}
        named = [*per_user, *(figure.name for figure in self._stored if "@" in figure.name)]
        topk = sorted({MetricKey.parse(name).k or 0 for name in named} | set(self._cutoffs))
        hits = {field: [self._counts("hits", field, names[field], f"@{k}") for k in topk] for field in fields}
        nothing = np.zeros((len(self.ids), 0))
        return RankingTable(
            users=np.arange(len(self.ids)), lists=nothing.astype(int), scores=nothing, topk=topk, per_user=per_user,
            groups=groups, hits={field: np.stack(of, axis=1) for field, of in hits.items()},
            ratios={name: Terms(above[:, 0], below[:, 0])
                    for (name, grouping, _), (above, below) in self._stored.items() if not grouping and "@" in name},
            relevant={field: self._counts("relevant", field, names[field]) for field in fields},
            utility=self.config.get("group_utility") or "recall",
            utility_users=self.config.get("group_utility_users") or "relevant", stored=self._stored,
        )  # fmt: skip

    def holds(self, figure: Figure) -> bool:
        """Whether the files give a figure of each user."""
        table, (name, grouping, prompt) = self.table, figure
        if figure in self._stored:
            return True
        if grouping and grouping not in table.groups:
            return False
        if isinstance(table, AnswerTable):
            asked = variants_of(prompt, table.groups.get(grouping)) if prompt != AS_USED else (table.used,)
            answered = prompt != AGAIN and (not table.prompts or table.scores.keys() >= set(asked))
            return answered and name in {*table.figures("user"), "flip"}
        if not grouping or table.groups[grouping].kind == "user":
            return name in table.figures("user")
        return MetricKey.parse(name).name not in OF_LISTS

    def _of(self, kind: str) -> list[str]:
        return [name for name in self.figures if name.startswith(f"{kind}[")]

    def _item_groups(self, field: str) -> list[str]:
        return [match["group"] for name in self._of("relevant") if (match := _group(name))["field"] == field]

    @cached_property
    def _cutoffs(self) -> list[int]:
        return [int(name.rpartition("@")[2].rstrip("]")) for name in self._of("hits")]

    def _counts(self, kind: str, field: str, names: Sequence[str], cutoff: str = "") -> FloatArray:
        """[U, G]; a cutoff without hits has nan, so that nothing is made of it."""
        absent = np.full(len(self.ids), np.nan)
        return np.stack([self.figures.get(f"{kind}[{field}:{name}{cutoff}]", absent) for name in names], axis=1)

    def _grouping(self, field: str) -> Groups:
        """The groups of users that somebody is in, by name."""
        labels, rows = np.unique(self.labels[field], return_inverse=True)
        names = sorted({name for label in labels for name in label.split("|")} - {""})
        member = np.array([[name in label.split("|") for name in names] for label in labels], dtype=bool)
        return Groups("user", field, tuple(names), member.reshape(len(labels), len(names))[rows.ravel()])

    @cached_property
    def _stored(self) -> Mapping[Figure, Terms]:
        """Figures whose sums users.csv keeps."""
        columns = [name[len("above[") : -1].split("|") for name in self._of("above")]
        figures = dict.fromkeys(Figure(*parts[:3]) for parts in columns)
        return {figure: Terms(*(self._sums(part, figure) for part in ("above", "below"))) for figure in figures}

    def _sums(self, part: str, figure: Figure) -> FloatArray:
        start = f"{part}[{'|'.join(figure)}|"
        return np.stack([values for name, values in self.figures.items() if name.startswith(start)], axis=1)

    def _answers(self, groups: Mapping[str, Groups]) -> AnswerTable:
        """The judged pairs of predictions.tsv, which holds them once a variant."""
        path = self.folder / "predictions.tsv"
        pairs = _columns(path, _PREDICTIONS, "\t")
        users = np.searchsorted(self.ids, pairs[_ID]).clip(max=len(self.ids) - 1)
        if (self.ids[users] != pairs[_ID]).any():
            raise UsageError(f"{path}: has users that users.csv lacks; run again")
        chosen = {Variant.parse(name): pairs["variant"] == name for name in dict.fromkeys(pairs["variant"].tolist())}
        first, *others = chosen.values()
        if any(
            not np.array_equal(pairs[column][first], pairs[column][other])
            for column in (_ID, "item_id", "label") for other in others
        ):  # fmt: skip
            raise UsageError(f"{path}: damaged (its variants have different pairs); run again")
        return AnswerTable(
            users=np.arange(len(self.ids)), rows=users[first],
            items=np.unique(pairs["item_id"][first], return_inverse=True)[1], labels=pairs["label"][first] > 0.5,
            scores={variant: pairs["score"][rows] for variant, rows in chosen.items()}, threshold=self.threshold,
            groups=groups, prompts=len(chosen) > 1, stored=self._stored,
        )  # fmt: skip

    def attack(self, attribute: str, reading: str = "") -> Folds | None:
        """What the attribute probe said of held-out users; None unless it is stored with the truth beside it."""
        return self._attacks.get(f"{attribute}@{reading}" if reading else attribute)

    @cached_property
    def _attacks(self) -> Mapping[str, Folds]:
        """All of probe.tsv by attribute, or attribute@reading, as far as the truth is known."""
        path = self.folder / "probe.tsv"
        if not path.exists():
            return {}
        rows = _columns(path, _PROBE, "\t")
        rows["user"] = np.searchsorted(self.ids, rows[_ID]).clip(max=len(self.ids) - 1)
        known = self.ids[rows["user"]] == rows[_ID]
        return {
            name: Folds(tuple(self._fold(attribute, fold) for fold in _parts(part, "fold")))
            for part in _parts(_where(rows, known), "attribute")
            for name in [str(part["attribute"][0])]
            for attribute in [name.partition("@")[0]]
            if attribute in self.labels
        }

    def _fold(self, attribute: str, rows: Mapping[str, Any]) -> tuple[Curve, ...]:
        """One against the rest, for each class that the attacker saw."""
        curves = []
        for part in _parts(rows, "class"):
            truth = self.labels[attribute][part["user"]] == part["class"][0]
            curves.append(Curve(part["score"], truth, part["user"], np.ones((len(truth), 1), bool)))
        return tuple(curves)


def _parts(rows: Mapping[str, Any], column: str) -> list[dict[str, Any]]:
    """The rows of each value of a column, by rising values."""
    return [_where(rows, rows[column] == value) for value in np.unique(rows[column])]


def _where(rows: Mapping[str, Any], chosen: BoolArray) -> dict[str, Any]:
    return {name: values[chosen] for name, values in rows.items()}


def _group(column: str) -> re.Match[str]:
    match = _ITEM_GROUP.fullmatch(column)
    assert match is not None
    return match


def read_users(
    folder: Path, threshold: float | None = None, config: Mapping[str, Any] = MappingProxyType({})
) -> Users | None:
    """users.csv of a run, whose answers are Yes from a `threshold` (.5) on; None if there is none.

    `config` says what the utility of an item group is, as the run's own configuration does.
    """
    path = folder / "users.csv"
    if not path.exists():
        return None
    kinds = {name: "double" if _is_figure(name) else "string" for name in _header(path)}
    if _ID not in kinds:
        raise UsageError(f"{path}: damaged (no column {_ID}); remove the run's folder and run again")
    columns = _columns(path, kinds, ",")
    order = np.argsort(columns[_ID])
    ids = columns[_ID][order]
    if (ids[1:] == ids[:-1]).any():
        raise UsageError(f"{path}: damaged (a user stands twice); remove the run's folder and run again")
    ordered = {name: values[order] for name, values in columns.items() if name != _ID}
    figures, labels = (
        {name: values for name, values in ordered.items() if _is_figure(name) is kind} for kind in (True, False)
    )
    return Users(folder, ids, figures, labels, 0.5 if threshold is None else threshold, config)


def _is_figure(name: str) -> bool:
    """Metrics and counts have a cutoff or are counts by item group or of answers; all else are names of groups."""
    return "@" in name or name.startswith(_COUNTS) or name in Confusion._fields


def _header(path: Path) -> list[str]:
    try:
        with TextIOWrapper(open_regular(path), "utf-8", newline="") as stream:
            return next(csv.reader(stream), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: damaged ({error}); remove the run's folder and run again") from error


def _columns(path: Path, kinds: Mapping[str, str], delimiter: str) -> dict[str, Any]:
    import pyarrow
    from pyarrow import csv as arrow

    options = arrow.ConvertOptions(column_types=dict(kinds), include_columns=list(kinds), strings_can_be_null=False)
    try:
        table = arrow.read_csv(
            regular(path), parse_options=arrow.ParseOptions(delimiter=delimiter), convert_options=options
        )
    except (pyarrow.ArrowException, OSError, KeyError) as error:
        raise UsageError(f"{path}: damaged ({error}); remove the run's folder and run again") from error
    arrays = zip(kinds, table.columns, strict=True)
    return {name: _texts(column) if kinds[name] == "string" else column.to_numpy() for name, column in arrays}


def _texts(column: Any) -> npt.NDArray[np.str_]:
    """A column of texts, each of which is made once."""
    encoded = column.combine_chunks().dictionary_encode()
    texts = np.asarray(encoded.dictionary.to_pylist(), dtype=str)
    return texts[encoded.indices.to_numpy()] if len(encoded) else np.empty(0, dtype=str)
