"""CF-Diff's loss (CL-MoE's Eq. 4-7): the copies of a sample answer right, and their states are as without attributes.

    L_diff,j = mean over values A_i of || h_j^{A_i, B} - h_j^B ||_2          Eq. (4)-(6)
    L_j      = answer_weight * L_LLM,j + diff_weight * L_diff,j              Eq. (7), both weights 1 there

h is the last layer's state at the answer position. Copies and attribute-free states come as aligned rows, so the caller
decides which h^B is meant: live, detached, or that of the untuned base. Losses stay one value an instance, as the
curriculum weighs instances; the mean over them is Eq. (6) and (7).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from recbole_fair.errors import UsageError


def spread_of(plain: Tensor) -> Tensor:
    """Compute how far attribute-free states [S, d] lie apart: the root of their mean squared distance from their mean.

    The gradient is kept, so that contracting all states gains nothing.
    """
    states = plain.float()
    centred = states - states.sum(0) / len(states)
    squared = centred.square().sum() / len(states)
    if len(states) < 2 or not squared > 0:
        raise UsageError(
            f"distance: spread needs two samples that differ in a batch, here {len(states)} without a difference; "
            "raise the batch size or take distance: raw"
        )
    return squared.sqrt()


def difference(
    copies: Tensor,
    plain: Tensor,
    of_copy: Tensor,
    *,
    distance: Literal["spread", "raw"] = "spread",
    detach_plain: bool = False,
) -> Tensor:
    """Eq. (4): the Euclidean distance of each copy [C, d] from the state of its sample `of_copy` among `plain` [S, d].

    `spread` (ours) divides it: else a model can lower the distance by contracting all states, up to one answer for
    everybody, and with weights above about .1 it does (two attributes: .05). `detach_plain` holds h^B fixed.
    """
    target = plain.detach() if detach_plain else plain
    # Equal rows have distance 0, where the norm's slope is not defined; vector_norm takes 0.
    raw = torch.linalg.vector_norm(copies.float() - target[of_copy].float(), dim=-1)
    return raw / spread_of(target) if distance == "spread" else raw


def instance_means(values: Tensor, instance: Tensor, instances: int) -> Tensor:
    """Average the values of each instance's copies: [C] to [instances], Eq. (6)'s 1 / |G|."""
    sums = values.new_zeros(instances).index_add(0, instance, values)
    return sums / torch.bincount(instance, minlength=instances)


def combined(
    answer: Tensor, difference: Tensor | None, *, answer_weight: float = 1.0, diff_weight: float = 1.0
) -> Tensor:
    """Eq. (7), one value an instance; without a difference (Ins-Tuning, CF) the answers' loss alone."""
    loss = answer_weight * answer
    return loss if difference is None else loss + diff_weight * difference
