"""S-: selective prompts and adapters (Wu et al. 2022) on the frozen base run of SASRec or BERT4Rec.

    L = L_rec - lambda sum over k of L_dis^k(state)         k: every attribute of `sensitive_attribute`, one set

Prompts and adapters (models/selective.py) learn as C-'s filters do, against the same adversaries, but for one set of
attributes: another set is another run.
"""

from __future__ import annotations

from torch import Tensor, nn

from recbole_fair.models.frozen import load_frozen
from recbole_fair.models.selective import make_selective
from recbole_fair.strategies.base import Batch
from recbole_fair.strategies.counterfactual import Counterfactual


class Selective(Counterfactual):
    """The base's weights are read from its run and stay; prompts, adapters and adversaries learn."""

    label = "S-"

    def prepare(self, model: nn.Module) -> None:
        """Freeze the base and put prompts and adapters in, so that the optimiser and checkpoints have them alone."""
        assert self.view.base is not None  # bases.py asks for one
        load_frozen(model, self.view.base)
        make_selective(model, int(self.config["prefix_length"]), int(self.config["adapter_width"]))
        self.make_adversaries(int(self.config["hidden_size"]))

    def backward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """L of all attributes; then their adversaries take their steps on the same states."""
        return self.play(model, batch, tuple(self.classes))
