"""The table of re-rankers: what each reads, which strengths are tried, and which is taken where nothing chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from types import MappingProxyType

from recbole_fair.errors import UsageError
from recbole_fair.rerank.calibrated import calibrated
from recbole_fair.rerank.candidates import Candidates, IntArray
from recbole_fair.rerank.cpfair import cpfair
from recbole_fair.rerank.fa_ir import fa_ir
from recbole_fair.rerank.fairrec import fairrec
from recbole_fair.rerank.minmax import minmax
from recbole_fair.rerank.mmr import mmr
from recbole_fair.rerank.pmmf import pmmf
from recbole_fair.rerank.taxrank import taxrank
from recbole_fair.rerank.ugf import ugf

_SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_WEIGHTS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Method:
    """A re-ranker: `choose(candidates, strength)` answers the places [U, K] of the new lists; strength 0 changes none.

    FA-IR and MMR say which item comes before which; the others choose sets, listed in the order of the candidates.

    `needs` are names of what it cannot do without: scores (ranks do not suffice), profile, user_groups, relevant.
    """

    choose: Callable[[Candidates, float], IntArray]
    strengths: tuple[float, ...]  # from none on
    default: float
    meaning: str
    needs: tuple[str, ...] = ("scores",)
    most: float = inf  # the largest strength
    groups: bool = True  # whether it is about groups of items

    def check(self, strength: float) -> None:
        """Refuse a strength that its equations have no place for."""
        if not 0 <= strength <= self.most:
            most = "" if self.most == inf else f" to {self.most:g}"
            raise UsageError(f"--strength={strength}: {self.meaning}, from 0{most}")


METHODS: Mapping[str, Method] = MappingProxyType({
    "MinMax": Method(minmax, _WEIGHTS, 0.1, "lambda, the penalty of a group that is ahead of the worst-off one"),
    "CPFair": Method(cpfair, _SHARES, 0.05, "lambda, the weight of both differences", most=0.99),
    "UGF": Method(ugf, (0.0, 0.25, 0.5, 0.75, 1.0), 1.0, "share of the difference between users that must go",
                  ("scores", "user_groups", "relevant"), 1.0, groups=False),
    "FA-IR": Method(fa_ir, _SHARES, 0.3, "p, the share of protected items that a fair list has", (), 0.99),
    "P-MMF": Method(pmmf, _WEIGHTS, 0.1, "lambda, the weight of the worst-off group's exposure"),
    "FairRec": Method(fairrec, (*_SHARES, 1.0), 0.5, "alpha, the guaranteed share of an equal part", (), 1.0),
    "TaxRank": Method(taxrank, (*_WEIGHTS, 10.0), 0.5, "t, the tax rate", most=50.0),  # (1e-6)^-t must be a number
    "Calibrated": Method(calibrated, _SHARES, 0.5, "lambda, the weight of calibration", ("scores", "profile"), 1.0),
    "MMR": Method(mmr, _SHARES, 0.3, "lambda, the weight of variety", most=1.0),
})  # fmt: skip
