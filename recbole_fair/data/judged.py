"""What is judged under each protocol: the loader of a part, and the digest of what it asks beyond the split."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from recbole_fair.data import candidates, labeled
from recbole_fair.host import Dataset, FullSortEvalDataLoader, Sampler


@dataclass(frozen=True)
class Judged:
    """What one protocol judges of a part: `loader` gives it, `asked` what it asks beyond the split."""

    loader: Callable[[Any, Mapping[str, Dataset], str, Sampler], FullSortEvalDataLoader]
    asked: Callable[[Any], Iterable[tuple[int, ...]]] | None = None

    def digest(self, loaders: Iterable[Any]) -> str | None:
        """Equal for two runs exactly if they are asked the same; None where the split says all."""
        if self.asked is None:
            return None
        value = hashlib.sha256()
        for loader in loaders:
            value.update(np.array(list(self.asked(loader)), dtype=np.int64).tobytes())
        return value.hexdigest()[:16]


def _full_loader(config: Any, parts: Mapping[str, Dataset], phase: str, history: Sampler) -> FullSortEvalDataLoader:
    return FullSortEvalDataLoader(config, parts[phase], history.set_phase(phase), shuffle=False)


JUDGED: Mapping[str, Judged] = MappingProxyType(
    {
        "full": Judged(_full_loader),
        "candidates": Judged(candidates.candidate_loader, candidates.CandidateLoader.pairs),
        "labeled": Judged(labeled.labeled_loader, labeled.asked),
    }
)
