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
    """One way to judge: what is collected from a model, the evaluator that makes figures of it, and what is written.

    `files` are names of rundir/files.py's WRITERS; `asked_files` are written where `save_recommendations` asks.
    """

    collector: Callable[[Any, Sequence[Groups]], Collector]
    evaluator: Callable[[Any, Sequence[Groups], Sequence[Groups]], KeepingEvaluator]
    files: tuple[str, ...] = ()
    asked_files: tuple[str, ...] = ()


PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        "full": Protocol(FullCollector, KeepingEvaluator, asked_files=("lists",)),
        "candidates": Protocol(FullCollector, KeepingEvaluator, ("candidates",), ("lists",)),
        "labeled": Protocol(AnswerCollector, AnswerEvaluator, ("predictions", "stereotypes")),
    }
)
