"""Who belongs to which group: popularity, any field, bins of a field, products of fields.

Pure functions over arrays. Ids are RecBole's: row 0 is padding and belongs to no group. Unknown values belong to no
group either; they are counted and reported, never dropped in silence (docs/methods.md).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product as cartesian
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recbole_fair.errors import UsageError

Values = Sequence[tuple[str, ...]]  # one entry an id: its raw values, empty where unknown


@dataclass(frozen=True)
class Groups:
    """A grouping: `membership[i, g]` says whether id i belongs to the group called names[g]."""

    kind: str  # "item" or "user"
    field: str  # pop, genre, gender, gender*age, ...
    names: tuple[str, ...]
    membership: npt.NDArray[np.bool_]  # [ids, G]

    @property
    def unknown(self) -> int:
        """How many ids (padding aside) belong to no group."""
        return int((~self.membership[1:].any(axis=1)).sum())

    def labels(self, identifiers: npt.NDArray[np.int64]) -> npt.NDArray[np.object_]:
        """Names of the groups that each id belongs to, joined by "|"; empty for none."""
        member = self.membership[identifiers]
        kinds, rows = np.unique(member, axis=0, return_inverse=True)
        names = ["|".join(name for name, held in zip(self.names, kind, strict=True) if held) for kind in kinds]
        return np.array(names, dtype=object)[rows.reshape(-1)]


def popularity(counts: npt.NDArray[np.int64], tokens: Sequence[str], share: float = 0.1) -> Groups:
    """Head and tail: of the n items with a training interaction, the floor(share * n) with most, at least 1; the rest.

    Ties go by raw item id, so the grouping does not depend on RecBole's numbering. Items unseen in training are in
    neither group.

    >>> popularity(np.array([0, 5, 1, 9]), ["[PAD]", "a", "b", "c"], 0.4).membership[:, 0].tolist()
    [False, False, False, True]
    """
    seen = np.flatnonzero(counts > 0)
    head_size = max(1, int(share * len(seen) + 1e-9))  # .29 * 100 is 28.999... in binary
    by_count = sorted(seen.tolist(), key=lambda item: (-int(counts[item]), str(tokens[item])))
    membership = np.zeros((len(counts), 2), dtype=bool)
    membership[by_count[:head_size], 0] = True
    membership[by_count[head_size:], 1] = True
    return Groups("item", "pop", ("popular", "rest"), membership)


def by_value(
    kind: str,
    field: str,
    values: Values,
    *,
    multi: str = "all",
    unknown: Sequence[str] = (),
    names: Sequence[str] = (),
) -> Groups:
    """One group a value of a field; an id with several values counts in each (`multi="first"`: in its first).

    `names` fixes the groups and their order, empty ones included (young before old); else they are the values found.
    """
    ignored = {str(value) for value in unknown}
    known = [tuple(value for value in entry if value not in ignored) for entry in values]
    known = [entry[:1] if multi == "first" else entry for entry in known]
    names = tuple(names) or tuple(sorted({value for entry in known for value in entry}, key=_natural))
    column = {name: place for place, name in enumerate(names)}
    membership = np.zeros((len(values), len(names)), dtype=bool)
    for row, entry in enumerate(known):
        for value in entry:
            membership[row, column[value]] = True
    return Groups(kind, field, names, membership)


Bins = Mapping[str, str | Sequence[Any]]
OTHER = "other"


def binned(values: Values, bins: Bins | int, field: str, unknown: Sequence[str] = ()) -> tuple[Values, tuple[str, ...]]:
    """Replace raw values by the names of the bins that hold them; the new values and the names of all bins.

    A bin is an interval in RecBole's notation ("[0,35)") or a list of codes; a value outside every bin is unknown. A
    number instead of bins keeps that many values, those that most ids have, and calls the rest "other".

    >>> binned([(), ("17",), ("40",)], {"young": "[0,35)", "old": [40, 41]}, "age")
    ([(), ('young',), ('old',)], ('young', 'old'))
    >>> binned([(), ("Knopf",), ("Avon",), ("Avon",)], 1, "publisher")
    ([(), ('other',), ('Avon',), ('Avon',)], ('Avon', 'other'))
    """
    ignored = {str(value) for value in unknown}
    known = [tuple(value for value in entry if value not in ignored) for entry in values]
    if isinstance(bins, int) and not isinstance(bins, bool) and bins > 0:
        return _largest(known, bins)
    if not isinstance(bins, Mapping):
        raise UsageError(
            f"group_bins.{field}={bins!r}: name each bin, as in {{young: '[0,35)', old: '[35,inf)'}}, or say how many "
            "of the largest values to keep, as in 10"
        )
    holds = {name: _test_of(content, f"group_bins.{field}.{name}") for name, content in bins.items()}
    bin_of: dict[str, tuple[str, ...]] = {}
    for value in dict.fromkeys(value for entry in known for value in entry):
        bin_of[value] = tuple(name for name, test in holds.items() if test(value))
        if len(bin_of[value]) > 1:
            raise UsageError(
                f"group_bins.{field}: {value!r} is in {' and in '.join(bin_of[value])}; let bins not overlap"
            )
    return [tuple(name for value in entry for name in bin_of[value]) for entry in known], (*bins,)


def _largest(values: Values, count: int) -> tuple[Values, tuple[str, ...]]:
    """The `count` values that most ids have, ties by name, first; every other value becomes OTHER."""
    held = Counter(value for entry in values for value in entry)
    kept = sorted(held, key=lambda value: (-held[value], value))[:count]
    names = dict.fromkeys([*kept, OTHER] if len(held) > len(kept) else kept)
    return [tuple(dict.fromkeys(value if value in kept else OTHER for value in entry)) for entry in values], (*names,)


_INTERVAL = re.compile(r"([\[(])\s*([^,]+),\s*([^,]+)([\])])")


def _test_of(content: str | Sequence[Any], key: str) -> Callable[[str], bool]:
    if isinstance(content, (list, tuple)):
        codes = {str(code) for code in content}
        return codes.__contains__
    return within(str(content), key)


def within(content: str, key: str) -> Callable[[str], bool]:
    """A test of numbers written as text against an interval such as "[18,35)"; `key` names the setting."""
    found = _INTERVAL.fullmatch(content.strip())
    try:
        low, high = (float(found.group(2)), float(found.group(3))) if found else (1.0, 0.0)
    except ValueError:
        low, high = 1.0, 0.0
    if not found or low > high:
        raise UsageError(f"{key}={content!r}: an interval as in '[18,35)', or a list of codes")
    closed_low, closed_high = found.group(1) == "[", found.group(4) == "]"

    def holds(value: str) -> bool:
        try:
            number = float(value)
        except ValueError as error:
            raise UsageError(f"{key}: {value!r} is no number, yet the bin is an interval") from error
        return low < number < high or (closed_low and number == low) or (closed_high and number == high)

    return holds


def product(parts: Sequence[Groups]) -> Groups:
    """Intersections, as in gender*age: an id is in (F, young) if it is in F and in young.

    Every combination is a group, empty ones too: a combination nobody has must be seen as such.
    """
    names = tuple("*".join(combination) for combination in cartesian(*(part.names for part in parts)))
    membership = parts[0].membership
    for part in parts[1:]:
        membership = (membership[:, :, None] & part.membership[:, None, :]).reshape(len(membership), -1)
    return Groups(parts[0].kind, "*".join(part.field for part in parts), names, membership)


@dataclass(frozen=True)
class PairGroups:
    """Groups of (user, item) pairs: by the user, by the item, or by both, as ITFR's gender*genre.

    A pair is in group g if its user is in column u and its item in column i of the g-th product; a side that does not
    matter has one column that holds every id.
    """

    field: str
    names: tuple[str, ...]
    user: npt.NDArray[np.bool_]  # [U, Gu]
    item: npt.NDArray[np.bool_]  # [I, Gi]
    columns: npt.NDArray[np.int64]  # [G] places of the groups among the Gu * Gi products
    absent: tuple[str, ...] = ()  # groups left out because no training pair is in them

    def counts(self, users: npt.NDArray[np.int64], items: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Pairs in each group, [G]."""
        shape = len(self.user), len(self.item)
        pairs = csr_matrix((np.ones(len(users), np.int64), (users, items)), shape=shape)
        cells = self.user.T.astype(np.int64) @ (pairs @ self.item.astype(np.int64))  # [Gu, Gi]
        return cells.reshape(-1)[self.columns]

    def present(self, users: npt.NDArray[np.int64], items: npt.NDArray[np.int64]) -> PairGroups:
        """Only the groups with a pair; the others are kept by name in `absent`."""
        found = self.counts(users, items) > 0
        names = tuple(name for name, here in zip(self.names, found, strict=True) if here)
        absent = tuple(name for name, here in zip(self.names, found, strict=True) if not here)
        return replace(self, names=names, columns=self.columns[found], absent=self.absent + absent)


def of_pairs(field: str, parts: Sequence[Groups], users: int, items: int) -> PairGroups:
    """User and item groupings crossed into groups of pairs; names are user*item.

    >>> gender = by_value("user", "gender", [(), ("F",), ("M",)])
    >>> genre = by_value("item", "genre", [(), ("a",), ("b",), ("a", "b")])
    >>> crossed = of_pairs("gender*genre", [gender, genre], 3, 4)
    >>> crossed.names
    ('F*a', 'F*b', 'M*a', 'M*b')
    >>> crossed.counts(np.array([1, 1, 2]), np.array([1, 3, 3])).tolist()
    [2, 1, 1, 1]
    """
    sides = [[part for part in parts if part.kind == kind] for kind in ("user", "item")]
    crossed = [product(side) if side else None for side in sides]
    tables = [
        np.ones((size, 1), dtype=bool) if side is None else side.membership
        for side, size in zip(crossed, (users, items), strict=True)
    ]
    names = tuple("*".join(pair) for pair in cartesian(*(side.names for side in crossed if side is not None)))
    return PairGroups(field, names, tables[0], tables[1], np.arange(len(names)))


def _natural(name: str) -> tuple[int, float, str]:
    """Numbers in numeric order before words: 1, 18, 25, not 1, 18, 2."""
    try:
        return (0, float(name), name)
    except ValueError:
        return (1, 0.0, name)
