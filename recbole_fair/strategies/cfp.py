"""Algorithm 1 of UP5: a prompt on a frozen P5 learns to recommend and to be unreadable, adversaries learn to read.

    L_K = L_rec - lambda sum over k in K of L_dis^k             (Eq. 4, for a mixture Eq. 5)

Every batch makes the updates of models/p5/cfp.py's `Schedule`. K is a random non-empty set of the attributes, drawn for
each batch; for a single prompt it is the one attribute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from recbole_fair.errors import TrainingError, UsageError
from recbole_fair.models.adversary import UNKNOWN, Adversary, balanced_rows, left_out, random_subset
from recbole_fair.models.p5.cfp import Schedule, Step
from recbole_fair.models.p5.loader import Examples
from recbole_fair.models.p5.on_frozen import PromptedP5
from recbole_fair.models.p5.probing import ProbingPrompt
from recbole_fair.strategies.base import Strategy, TrainingView


class CounterfactualPrompt(Strategy):
    """Owns the prompt's optimiser and the adversaries: a batch is many updates, and the host makes one."""

    def __init__(self, view: TrainingView) -> None:
        super().__init__(view)
        if self.config["lr_schedule"] != "constant" or self.config["warmup"]:
            raise UsageError("lr_schedule, warmup: CFP's rate falls by its own schedule; set decay=false to keep it")
        if self.config["learner"] != "adamw" or self.config["module_rates"]:
            raise UsageError("learner, module_rates: CFP's prompt has one rate and learns by adamw")
        self.classes: Mapping[str, Tensor] = {
            name: classes.to(self.device) for name, classes in view.attributes.items()
        }
        self.place = str(self.config["discriminate"])
        self.asks = self.config["discriminator"] == "soft_prompt"  # by a prompt of its own, not by a state
        self.schedule = Schedule(
            joint=int(self.config["joint_steps"]),
            recommend=int(self.config["recommend_steps"]),
            discriminate=int(self.config["discriminate_steps"]),
            every=int(self.config["discriminate_every"]),
            strength=float(self.config["adversary_weight"]),
        )
        self.batch = 0

    def prepare(self, model: nn.Module) -> None:
        """Adversaries of the width of the model's states, and an optimiser of its prompt."""
        assert isinstance(model, PromptedP5)
        rate = float(self.config["adversary_learning_rate"])
        self.adversaries: dict[str, Adversary | ProbingPrompt] = {
            name: ProbingPrompt(model, model.values_of(name), learning_rate=rate)
            if self.asks
            else Adversary(model.width, int(classes.max()) + 1, learning_rate=rate, device=self.device)
            for name, classes in self.classes.items()
        }
        self.rate, decay = float(self.config["learning_rate"]), float(self.config["weight_decay"] or 0)
        self.optimizer = torch.optim.AdamW(model.prompt.parameters(), lr=self.rate, weight_decay=decay)

    def start(self, batches: int) -> None:
        """The rate falls to 0 over all batches of all epochs."""
        if self.config["decay"]:
            self.schedule = replace(self.schedule, batches=int(self.config["epochs"]) * batches)

    def backward(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """All updates of a batch; no gradient is left for the host's optimiser."""
        assert isinstance(model, PromptedP5)
        chosen = random_subset(tuple(self.classes))
        logged: dict[str, list[Tensor]] = {}
        with model.hiding(chosen):
            for step in self.schedule.steps(self.batch):
                update = self._improve if step.trains_prompt else self._attack
                for name, value in update(model, batch, chosen, step).items():
                    logged.setdefault(name, []).append(value)
        self.batch += 1
        self.optimizer.zero_grad(set_to_none=True)
        return {name: torch.stack(values).mean() for name, values in logged.items()}

    def _improve(self, model: PromptedP5, batch: Examples, chosen: Sequence[str], step: Step) -> dict[str, Tensor]:
        """One update of the prompt, the adversaries fixed."""
        self.optimizer.zero_grad()
        with model.steered():
            states = model.encode(batch.prompts)
            recommendation = model.writing_loss(states, batch)
            if step.strength:
                read = self._readable(self._shown(model, states, batch), batch.users, chosen)
            else:
                read = torch.zeros_like(recommendation)
            loss = recommendation - step.strength * read
        loss.backward()  # type: ignore[no-untyped-call]
        if not torch.isfinite(loss):
            raise TrainingError(f"the loss of a {step.kind} update is {loss.item()}")
        if bound := self.config["clip_grad_norm"]:
            clip_grad_norm_(model.prompt.parameters(), **bound)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * step.rate
        self.optimizer.step()
        logged = {"loss": loss.detach(), "recommendation": recommendation.detach()}
        return {**logged, "adversary": read.detach()} if step.strength else logged

    def _shown(self, model: PromptedP5, states: Tensor, batch: Examples) -> Any:
        """What adversaries read of a batch: states, or the prompts themselves, which a probing prompt asks behind."""
        return batch.prompts if self.asks else model.state_at(self.place, states, batch.prompts)

    def _readable(self, shown: Any, users: Tensor, chosen: Sequence[str]) -> Tensor:
        """Sum of L_dis over the chosen attributes, each over class-balanced rows of the batch."""
        losses = [torch.zeros((), device=users.device)]
        for name in chosen:
            if (rows := self._rows(name, users)) is not None:
                losses.append(self.adversaries[name].loss(shown[rows], self.classes[name][users[rows]]))
        return torch.stack(losses).sum()

    def _attack(self, model: PromptedP5, batch: Examples, chosen: Sequence[str], _: Step) -> dict[str, Tensor]:
        """One update of each chosen adversary, the prompt fixed."""
        with torch.no_grad(), model.steered():
            shown = self._shown(model, model.encode(batch.prompts), batch)
        for name in chosen:
            if (rows := self._rows(name, batch.users)) is not None:
                self.adversaries[name].attack(shown[rows], self.classes[name][batch.users[rows]])
        return {}

    def _rows(self, name: str, users: Tensor) -> Tensor | None:
        """As many rows as the batch has, classes balanced; None where no user of the batch has a label."""
        classes = self.classes[name][users]
        return balanced_rows(classes, len(users)) if bool((classes != UNKNOWN).any()) else None

    def notes(self) -> list[str]:
        """Users that no adversary sees."""
        return [f"{self.config.name}: {note}" for note in left_out(self.classes)]

    def state_dict(self) -> dict[str, Any]:
        """The adversaries, the prompt's optimiser and the batches made; the prompt is the model's."""
        adversaries = {f"adversary{number}": one.state_dict() for number, one in enumerate(self.adversaries.values())}
        return {**adversaries, "optimizer": self.optimizer.state_dict(), "batch": self.batch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take `state_dict` back."""
        for number, one in enumerate(self.adversaries.values()):
            one.load_state_dict(state[f"adversary{number}"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.batch = int(state["batch"])
