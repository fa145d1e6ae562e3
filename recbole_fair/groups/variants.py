"""What a prompt says of a user's sensitive attributes.

NONE leaves the clause out, OWN gives the user's own values of all sensitive attributes, Variant("gender", "F") gives
everyone this value and the other sensitive attributes as their own, Variant("gender*age", "F*young") gives several.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recbole_fair.errors import UsageError
from recbole_fair.registry import nearest

_OWN = "actual"
_NONE = "none"


@dataclass(frozen=True, order=True)
class Variant:
    """One way to put sensitive attributes into a prompt; `str` of it stands in predictions.tsv."""

    attribute: str = ""
    value: str = ""

    def __str__(self) -> str:
        if not self.attribute:
            return _NONE
        return f"{self.attribute}={self.value}" if self.value else _OWN

    @classmethod
    def parse(cls, text: str) -> Variant:
        """The variant that `str` wrote.

        >>> Variant.parse("gender=F"), Variant.parse("none") == NONE
        (Variant(attribute='gender', value='F'), True)
        """
        attribute, equals, value = text.partition("=")
        if not equals and text not in {_NONE, _OWN}:
            raise UsageError(f"variant {text!r}: no such variant of a prompt.{nearest(text, [_NONE, _OWN])}")
        return {_NONE: NONE, _OWN: OWN}.get(text) or cls(attribute, value)

    def sets(self) -> dict[str, str]:
        """Which attribute is given which value; a product sets several.

        >>> Variant("gender*age", "F*young").sets()
        {'gender': 'F', 'age': 'young'}
        """
        if not self.value:
            return {}
        return dict(zip(self.attribute.split("*"), self.value.split("*"), strict=True))


NONE = Variant()
OWN = Variant("*")

# How a prompt of MoS speaks of its user: not at all, by the user's own value, or by another one.
KINDS = ("implicit", "explicit", "counterfactual")


def carried(kind: str, own: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Which of `count` values a prompt of a kind gives a user whose own value is `own`; -1 where it gives none.

    >>> [carried(kind, np.array([0, 1, -1]), 2).tolist() for kind in KINDS]
    [[-1, -1, -1], [0, 1, -1], [1, 0, -1]]
    """
    if kind == "implicit":
        return np.full_like(own, -1)
    return own if kind == "explicit" else np.where(own < 0, -1, (own + 1) % count)
