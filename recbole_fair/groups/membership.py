"""Who belongs to which group: popularity, any field, bins of a field, products of fields.

Pure functions over arrays. Ids are RecBole's: row 0 is padding and belongs to no group. Unknown values belong to no
group either; they are counted and reported, never dropped in silence (docs/methods.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product as cartesian

import numpy as np
import numpy.typing as npt

from recbole_fair.errors import UsageError

Values = Sequence[tuple[str, ...]]  # one entry an id: its raw values, empty where unknown


def number_text(value: float) -> str:
    """A number as a value of a field: 18.0 is the code 18; other numbers keep all their digits."""
    return str(int(value)) if value.is_integer() else repr(value)


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
    by_count = _most_met_first(counts, tokens)
    head_size = max(1, int(share * len(by_count) + _BINARY))
    membership = np.zeros((len(counts), 2), dtype=bool)
    membership[by_count[:head_size], 0] = True
    membership[by_count[head_size:], 1] = True
    return Groups("item", "pop", ("popular", "rest"), membership)


_BINARY = 1e-9  # .29 * 100 is 28.999... in binary


def _most_met_first(counts: npt.NDArray[np.int64], tokens: Sequence[str]) -> npt.NDArray[np.int64]:
    """The items with a training interaction, ties by raw id."""
    seen = np.flatnonzero(counts > 0).tolist()
    return np.array(sorted(seen, key=lambda item: (-int(counts[item]), str(tokens[item]))), dtype=np.int64)


def head_mid_tail(counts: npt.NDArray[np.int64], tokens: Sequence[str], head: float = 0.2, tail: float = 0.2) -> Groups:
    """The fewest items with the share `head` of all training interactions, the rarest with up to `tail`, and between.

    .8 and .2 are the rule of 80 and 20, under which nothing is between; an empty group is none. Ties and items that
    training does not hold as in `popularity`.

    >>> head_mid_tail(np.array([0, 2, 5, 2, 1]), ["[PAD]", "a", "b", "c", "d"], 0.5, 0.3).membership.T.tolist()
    [[False, False, True, False, False], [False, True, False, False, False], [False, False, False, True, True]]
    """
    by_count = _most_met_first(counts, tokens)
    sizes = counts[by_count]
    total, reached = int(sizes.sum()), sizes.cumsum()
    in_head = reached - sizes < (head - _BINARY) * total
    in_tail = ~in_head & (total - reached + sizes <= (tail + _BINARY) * total)
    membership = np.zeros((len(counts), 3), dtype=bool)
    membership[by_count] = np.column_stack([in_head, ~in_head & ~in_tail, in_tail])
    present = membership.any(axis=0)
    names = tuple(name for name, here in zip(("head", "mid", "tail"), present, strict=True) if here)
    return Groups("item", "tail3", names, membership[:, present])


def cold(counts: npt.NDArray[np.int64], most: int = 0) -> Groups:
    """Items with at most so many training interactions, and the others.

    >>> cold(np.array([0, 0, 4])).membership.tolist()
    [[False, False], [True, False], [False, True]]
    """
    membership = np.column_stack([counts <= most, counts > most])
    membership[0] = False
    return Groups("item", "cold", ("cold", "warm"), membership)


def thirds(field: str, values: npt.NDArray[np.float64]) -> Groups:
    """Users by terciles of a number [U]: those up to the first one, up to the second, above; nan is in none.

    Users of one number stay together, so thirds may differ in size, and one may be empty.

    >>> thirds("activity", np.array([np.nan, 1, 2, 2, 9])).membership.T.tolist()
    [[False, True, True, True, False], [False, False, False, False, False], [False, False, False, False, True]]
    """
    membership = np.zeros((len(values), 3), dtype=bool)
    has = np.flatnonzero(~np.isnan(values))
    if len(has):
        ends = np.quantile(values[has], [1 / 3, 2 / 3], method="inverted_cdf")
        membership[has, np.searchsorted(ends, values[has])] = True
    return Groups("user", field, ("low", "middle", "high"), membership)


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
    ignored = set(map(str, unknown))
    places: dict[tuple[str, ...], int] = {}
    entry_of = np.fromiter((places.setdefault(entry, len(places)) for entry in values), np.int64, len(values))
    known = [[value for value in entry if value not in ignored][: 1 if multi == "first" else None] for entry in places]
    names = tuple(names) or tuple(sorted({value for entry in known for value in entry}, key=_natural))
    rows = [[name in entry for name in names] for entry in known]
    membership = np.array(rows, dtype=bool).reshape(len(known), len(names))
    return Groups(kind, field, names, membership[entry_of])


def product(parts: Sequence[Groups]) -> Groups:
    """Intersections, as in gender*age: an id is in (F, young) if it is in F and in young.

    Every combination is a group, empty ones too: a combination nobody has must be seen as such.
    """
    names = crossed_names([part.names for part in parts], "*".join(part.field for part in parts))
    membership = parts[0].membership
    for part in parts[1:]:
        membership = (membership[:, :, None] & part.membership[:, None, :]).reshape(len(membership), -1)
    return Groups(parts[0].kind, "*".join(part.field for part in parts), names, membership)


def crossed_names(parts: Sequence[Sequence[str]], field: str) -> tuple[str, ...]:
    """Names of all combinations, joined by `*`; refused where two would share a name.

    >>> crossed_names([["F", "M"], ["young", "old"]], "gender*age")
    ('F*young', 'F*old', 'M*young', 'M*old')
    """
    combinations: dict[str, tuple[str, ...]] = {}
    for combination in cartesian(*parts):
        other = combinations.setdefault("*".join(combination), combination)
        if other != combination:
            raise UsageError(
                f"{field}: {' and '.join(other)}, and {' and '.join(combination)} would both be the group"
                f" {'*'.join(other)!r}; give these values other names with group_bins"
            )
    return tuple(combinations)


def _natural(name: str) -> tuple[int, float, str]:
    """Numbers in numeric order before words: 1, 18, 25, not 1, 18, 2."""
    try:
        return (0, float(name), name)
    except ValueError:
        return (1, 0.0, name)
