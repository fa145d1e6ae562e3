"""Answers of a model to labeled pairs: collected, and judged against a threshold chosen on validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_fair.data.labeled import LabeledLoader
from recbole_fair.errors import UsageError
from recbole_fair.evaluation.asking import Prompted
from recbole_fair.evaluation.ranked import KeepingEvaluator, refuse_nonsense
from recbole_fair.groups.membership import Groups
from recbole_fair.groups.named import names_of
from recbole_fair.groups.variants import KINDS, NONE, OWN, Variant
from recbole_fair.host import Collector, DataStruct
from recbole_fair.metrics.answer_table import READ_STEREOTYPES, AnswerTable, choose_threshold
from recbole_fair.metrics.declared import variants
from recbole_fair.metrics.formulas import IntArray
from recbole_fair.metrics.metric import AS_USED, GIVEN, variants_of
from recbole_fair.metrics.stereotypes import STEREOTYPES, Histories, histories


class AnswerCollector(Collector):
    """Keeps the scores of the judged pairs; `loader` is what is being judged (set by the trainer)."""

    loader: LabeledLoader
    prompted: Prompted | None = None  # the answers of a model that was asked for the pairs themselves

    def __init__(self, config: Any, _: Sequence[Groups] = ()) -> None:
        super().__init__(config)
        self.batches: list[tuple[Tensor, Tensor, Tensor]] = []

    def eval_batch_collect(
        self, scores_tensor: Tensor, interaction: Any, positive_u: Tensor, positive_i: Tensor
    ) -> None:
        """Scores [B, I] of a batch of users, whose pairs are (row, item)."""
        scores = scores_tensor[positive_u, positive_i]
        refuse_nonsense(scores.abs())  # -inf keeps an item out of a list, but is no answer
        self.batches.append((interaction[self.config["USER_ID_FIELD"]].cpu()[positive_u], positive_i, scores.cpu()))

    def get_data_struct(self) -> DataStruct:
        """Pairs, labels and scores of this evaluation."""
        collected = DataStruct()
        scores: Any
        if self.prompted is not None:
            users, items, scores, again = self.prompted
            self.prompted = None
            if again is not None:
                collected.set("pair.again", again)
        else:
            users, items, scores = (torch.cat(parts).numpy() for parts in zip(*self.batches, strict=True))
            self.batches = []
        labels = [self.loader.labels[pair] for pair in zip(users.tolist(), items.tolist(), strict=True)]
        for name, value in (("user", users), ("item", items), ("label", np.array(labels)), ("score", scores)):
            collected.set(f"pair.{name}", value)
        collected.set("phase", self.loader.phase)
        return collected


# Share of either answer below which a model has collapsed, and how far it may move from its base's (docs/metrics.md).
_LEAST_YES, _FARTHEST = 0.1, 0.2


class AnswerEvaluator(KeepingEvaluator):
    """The host's evaluator over answers; the threshold comes from the latest validation."""

    threshold: float = float("nan")
    histories: Histories | None = None

    def learn(self, users: IntArray, items: IntArray, item_count: int) -> None:
        """Stereotypes from the training interactions, where a metric asks for them."""
        asked = any(read.figure in READ_STEREOTYPES for metric in self.declared for read in metric.figures)
        users_by = [groups for groups in self.asked.groups.values() if groups.kind == "user"]
        if asked and not users_by:
            raise UsageError("metrics: SF compares groups of users; name one with user_groups=gender")
        if asked:
            self.histories = histories(self.config, users_by[0], users, items, item_count)
            if STEREOTYPES in self.asked.groups:
                raise UsageError(f"{STEREOTYPES!r}: groups of items by stereotype have this name; rename the field")
            self.asked.groups[STEREOTYPES] = self.histories.items

    def _table(self, judged: DataStruct) -> Any:
        """`pair.score` holds scores [P], or those of each variant that a model with prompts was asked with."""
        collected, labels = judged.get("pair.score"), judged.get("pair.label")
        prompts = isinstance(collected, Mapping)
        by_variant = collected if prompts else {NONE: collected}
        answered = {variant: scores.astype(float) for variant, scores in by_variant.items()}
        scores = answered.get(OWN, answered[NONE])  # one threshold serves all variants
        if judged.get("phase") == "valid" or not isinstance(self.config["yes_threshold"], str):
            self.threshold = choose_threshold(self.config["yes_threshold"], scores, labels)
        if isnan(self.threshold):
            raise UsageError("eval_protocol=labeled: judge validation first; the threshold of a Yes is chosen there")
        users, rows = np.unique(judged.get("pair.user"), return_inverse=True)
        return AnswerTable(
            users=users, rows=rows, items=judged.get("pair.item"), labels=labels, scores=answered,
            threshold=self.threshold, groups=self.asked.groups, histories=self.histories, prompts=prompts,
            again=judged.get("pair.again") if "pair.again" in judged else None,
            stored=self.asked.stored(READ_STEREOTYPES), kind=self.kind,
        )  # fmt: skip

    @property
    def variants(self) -> list[Variant]:
        """The variants of a prompt that the metrics need, and the one without attributes."""
        by_users = [groups for groups in self.asked.groups.values() if groups.kind == "user"]
        of_kind = (
            variants_of(GIVEN, self.histories.groups) if self.histories and self.kind not in ("", KINDS[0]) else ()
        )
        return sorted({NONE, *variants(self.declared, by_users), *of_kind})

    @property
    def kind(self) -> str:
        """The kind of prompts that SF is read at: the one that the run trains on, of several the first."""
        return next(iter(names_of(self.config, "stereotype_prompt")), "")

    def collapse(self, base: Mapping[str, float | None]) -> str | None:
        """Nearly always the same answer, or far more or fewer Yes than the base: fairness figures then say nothing."""
        share = float(self.table.terms("yes_share", prompt=AS_USED).value()[0])
        said, before = f"collapsed: {share:.1%} of the answers are Yes", base.get("yes_share")
        if not _LEAST_YES <= share <= 1 - _LEAST_YES:
            return f"{said}, so GD, Rate and their kin say nothing of fairness"
        if before is not None and abs(share - before) > _FARTHEST:
            return f"{said}, {before:.1%} of its base's, so its fairness is not to be compared with the base's"
        return None
