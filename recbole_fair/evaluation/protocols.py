"""How a model is judged under each protocol: by lists over all items or candidates, or by answers to pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from recbole_fair.evaluation.answered import AnswerCollector, AnswerEvaluator
from recbole_fair.evaluation.ranked import FullCollector, KeepingEvaluator
from recbole_fair.groups.membership import Groups
from recbole_fair.host import Collector


@dataclass(frozen=True)
class Protocol:
    """One way to judge: what is collected from a model, and the evaluator that makes figures of it."""

    collector: Callable[[Any, Sequence[Groups]], Collector]
    evaluator: Callable[[Any, Sequence[Groups], Sequence[Groups]], KeepingEvaluator]


PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        "full": Protocol(FullCollector, KeepingEvaluator),
        "candidates": Protocol(FullCollector, KeepingEvaluator),
        "labeled": Protocol(AnswerCollector, AnswerEvaluator),
    }
)
