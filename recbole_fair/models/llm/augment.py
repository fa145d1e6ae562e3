"""Counterfactual copies of training samples: which prompts a method trains on, and which of them belong together.

A sample is a user, a target and its label. A method turns it into one or more *instances*, each of which names certain
sensitive attributes: the sample itself names all of them; auxiliary instances (CL-MoE, section 4.2) name one. An
instance has one copy for each combination of values of what it names (Eq. 4-5: its own values and all others), or just
the copy with the user's own. All instances of a sample share one attribute-free prompt, so it is run once a sample.

    Recipe.of({"gender": ["F", "M"], "age": ["young", "old"]}, auxiliary=["gender"])
        instance 0: gender*age = F*young, F*old, M*young, M*old      names (gender, age)
        instance 1: gender = F, M                                    names (gender,)

Nothing here knows of texts or tensors: a layout says which row of a batch is which copy of which sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from recbole_fair.errors import UsageError
from recbole_fair.groups.variants import OWN, Variant
from recbole_fair.metrics.formulas import IntArray


@dataclass(frozen=True, order=True)
class Copy:
    """One prompt of a sample: which sensitive attributes it names, and with whose values."""

    attributes: tuple[str, ...]
    variant: Variant


@dataclass(frozen=True)
class Recipe:
    """The copies of every sample, by instance, and whether its attribute-free prompt is run beside them."""

    instances: tuple[tuple[Copy, ...], ...]
    plain: bool

    @classmethod
    def of(
        cls,
        values: Mapping[str, Sequence[str]],
        *,
        counterfactual: bool = True,
        plain: bool = True,
        auxiliary: Sequence[str] = (),
    ) -> Recipe:
        """Make the recipe of a method from the sensitive attributes and their values.

        | rows | counterfactual | plain | auxiliary |
        | --- | --- | --- | --- |
        | Ins-Tuning | no | no | |
        | CF | yes | no | |
        | Diff | no | yes | |
        | CF-Diff, MoE-GA, CL-MoE-GA | yes | yes | |
        | MoE, CL-MoE | yes | yes | every attribute (`auxiliary: all`) |
        | -A (without age), -G (without gender) | yes | yes | the other one |

        With one attribute the sample itself is a single-attribute instance, and auxiliary ones are refused.
        """
        if not values:
            raise UsageError("sensitive_attribute: none is named, so there is nothing to copy")
        for name, words in values.items():
            if counterfactual and len(set(words)) < 2:
                raise UsageError(f"sensitive_attribute {name!r} has one value, so no counterfactual; leave it out")
        unknown = [name for name in auxiliary if name not in values]
        if unknown or (auxiliary and len(values) == 1) or len(set(auxiliary)) < len(auxiliary):
            raise UsageError(f"auxiliary: {list(auxiliary)} must be some of several attributes, here {list(values)}")
        named = [tuple(values), *((name,) for name in auxiliary)]
        return cls(tuple(_copies(names, values, counterfactual) for names in named), plain)

    def layout(self, samples: int) -> Layout:
        """Lay out a batch: all copies of the first sample, of the second, and so on; attribute-free prompts last."""
        copies = [copy for instance in self.instances for copy in instance]
        of_copy = np.repeat(np.arange(len(self.instances)), [len(instance) for instance in self.instances])
        starts = np.arange(samples) * len(self.instances)
        return Layout(
            samples=samples,
            instances=len(self.instances),
            copies=tuple(copies),
            sample=np.repeat(np.arange(samples), len(copies)),
            copy=np.tile(np.arange(len(copies)), samples),
            instance=(starts[:, None] + of_copy).reshape(-1),
            plain=self.plain,
        )


def _copies(names: tuple[str, ...], values: Mapping[str, Sequence[str]], counterfactual: bool) -> tuple[Copy, ...]:
    if not counterfactual:
        return (Copy(names, OWN),)
    combinations = product(*(dict.fromkeys(values[name]) for name in names))
    return tuple(Copy(names, Variant("*".join(names), "*".join(combination))) for combination in combinations)


@dataclass(frozen=True)
class Layout:
    """Which row of a batch is which copy of which sample.

    Rows 0 to C - 1 are the copies. Where `plain`, the attribute-free prompt of sample s is row C + s.
    """

    samples: int
    instances: int  # a sample
    copies: tuple[Copy, ...]  # of a sample
    sample: IntArray  # [C], whose copy a row is
    copy: IntArray  # [C], which of `copies` it is
    instance: IntArray  # [C], which of the batch's samples * instances instances it belongs to
    plain: bool

    def indicators(self, attributes: Sequence[str]) -> IntArray:
        """Which attributes each row's prompt names, [rows, attributes] of 0 and 1: an attribute router's input."""
        named = np.array([[name in copy.attributes for name in attributes] for copy in self.copies], np.int64)
        return np.vstack([named[self.copy], np.zeros((self.samples * self.plain, len(attributes)), np.int64)])
