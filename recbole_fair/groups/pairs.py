"""Groups of interactions: such users with such items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recbole_fair.groups.membership import Groups, crossed_names, product


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

    >>> from recbole_fair.groups.membership import by_value
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
    names = crossed_names([side.names for side in crossed if side is not None], field)
    return PairGroups(field, names, tables[0], tables[1], np.arange(len(names)))
