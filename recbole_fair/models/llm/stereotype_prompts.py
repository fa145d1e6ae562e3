"""Prompts of the MoS family: which training interactions are asked, with which stereotype word, and their token ids.

The stereotypes are those of the first of `user_groups`, the grouping that SF is read over.

    implicit         titles alone
    explicit         the user's own value of the attribute
    counterfactual   another value: the next in the order of the groups
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recbole_fair.data.identity import PHASES
from recbole_fair.data.planted_bias import planted_stereotype
from recbole_fair.data.prompts import Attribute, PromptInputs
from recbole_fair.data.subsets import training_prompts
from recbole_fair.errors import UsageError
from recbole_fair.groups.membership import Groups
from recbole_fair.groups.named import names_of
from recbole_fair.groups.variants import KINDS, carried
from recbole_fair.metrics.formulas import IntArray
from recbole_fair.metrics.stereotypes import Histories, histories
from recbole_fair.models.llm.pairs import TrainingPairs
from recbole_fair.registry import nearest


def kinds_of(config: Any) -> tuple[str, ...]:
    """The kinds of prompts that a run trains on."""
    names = names_of(config, "stereotype_prompt")
    if not names or any(name not in KINDS for name in names):
        wrong = next((name for name in names if name not in KINDS), "")
        raise UsageError(f"stereotype_prompt={wrong!r}: {', '.join(KINDS)}, or a list of these.{nearest(wrong, KINDS)}")
    return tuple(dict.fromkeys(names))


def attribute_of(config: Any, inputs: PromptInputs) -> Attribute:
    """The attribute whose stereotypes are meant."""
    name = next(iter(names_of(config, "user_groups")), "")
    if name not in inputs.attributes:
        raise UsageError(
            f"user_groups: its first grouping {name!r} must be a single user field, as in user_groups=gender:"
            f" {config.name}'s stereotypes are of its values"
        )
    attribute = inputs.attributes[name]
    if len(attribute.values) < 2:
        raise UsageError(f"user_groups={name!r}: has the one value {list(attribute.values)}; stereotypes need two")
    return attribute


def stereotypes_of(config: Any, inputs: PromptInputs) -> Histories:
    """The stereotypes by training interactions, as SF reads them."""
    attribute, lines = attribute_of(config, inputs), inputs.timelines
    membership = attribute.of_user[:, None] == np.arange(len(attribute.values))
    groups = Groups("user", attribute.name, attribute.values, membership)
    rows = np.flatnonzero(lines.phases == PHASES.index("train"))
    return histories(config, groups, lines.users()[rows], lines.items[rows], len(inputs.titles))


@dataclass(frozen=True)
class StereotypePairs(TrainingPairs):
    """Training prompts: each asks about an interaction with one kind of prompt, which carries a value."""

    kinds: IntArray  # [N], places among the run's kinds
    values: IntArray  # [N], the value of the attribute that the prompt carries; -1: none


def asked(config: Any, inputs: PromptInputs) -> StereotypePairs:
    """Every training interaction once under each kind of prompt, with planted labels; `max_train_prompts` of these."""
    kinds, lines = kinds_of(config), inputs.timelines
    attribute = attribute_of(config, inputs)
    rows = np.repeat(lines.learnt(), len(kinds))
    users, kind = lines.users()[rows], np.arange(len(rows)) % len(kinds)
    own = attribute.of_user[users]
    by_kind = np.stack([carried(name, own, len(attribute.values)) for name in kinds])
    values = by_kind[kind, np.arange(len(rows))]
    every = StereotypePairs(users, rows, lines.liked[rows], np.zeros(len(rows), dtype=bool), kind, values)
    return _planted(config, inputs, every).some(training_prompts(config, len(rows)))


def _planted(config: Any, inputs: PromptInputs, prompts: StereotypePairs) -> StereotypePairs:
    """A stereotype planted in the labels by share `planted_stereotype`, the same for a base and its rows."""
    share = float(config["planted_stereotype"])
    if not share:
        return prompts
    if kinds_of(config) == ("implicit",):
        raise UsageError(
            f"planted_stereotype={share:g}: stands between a word and an item, and implicit prompts carry no word; "
            "give stereotype_prompt=explicit or counterfactual"
        )
    items, names = inputs.timelines.items[prompts.rows], attribute_of(config, inputs).values
    member = stereotypes_of(config, inputs).member
    labels = planted_stereotype(
        prompts.labels, prompts.users, items, prompts.values, member, share, int(config["split_seed"]), names
    )
    return replace(prompts, labels=labels, flipped=labels != prompts.labels)
