"""What a model is given beside RecBole's own data set: item vectors, what prompts may say, its bases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from recbole_fair.data.prompts import PromptInputs


@dataclass
class Inputs:
    """Hangs as `inputs` on the data set that RecBole hands to a model's constructor."""

    item_vectors: npt.NDArray[np.float32] | None = None  # [I, W], row 0 (padding) zero
    prompts: PromptInputs | None = None  # for models that declare `reads_prompts`
    bases: Mapping[str, Path] = field(default_factory=dict)  # by name; the only base of most runs is called ""
    # For models that declare `reads_scores`: what each named base says of users [B], [B, I].
    scores: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)


def inputs_of(dataset: Any) -> Inputs:
    """The inputs of a data set; empty ones where a model is built outside a run."""
    inputs: Inputs = getattr(dataset, "inputs", None) or Inputs()
    return inputs
