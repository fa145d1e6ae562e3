"""What is judged under each protocol: the loader of a part, and the digest of what it asks beyond the split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from recbole_fair.data import candidates, labeled
from recbole_fair.host import Dataset, FullSortEvalDataLoader, Sampler


@dataclass(frozen=True)
class Judged:
    """What one protocol judges of a part: `loader` gives it, `digest` tells two runs apart that the split does not."""

    loader: Callable[[Any, Mapping[str, Dataset], str, Sampler], FullSortEvalDataLoader]
    digest: Callable[[list[Any]], str | None]


def _full_loader(config: Any, parts: Mapping[str, Dataset], phase: str, history: Sampler) -> FullSortEvalDataLoader:
    return FullSortEvalDataLoader(config, parts[phase], history.set_phase(phase), shuffle=False)


def _nothing(_: list[Any]) -> None:
    """Full ranking asks nothing beyond the split."""


JUDGED: Mapping[str, Judged] = MappingProxyType(
    {
        "full": Judged(_full_loader, _nothing),
        "candidates": Judged(candidates.candidate_loader, candidates.digest),
        "labeled": Judged(labeled.labeled_loader, labeled.digest),
    }
)
