"""ITFR: intersectional two-sided fairness (Wang et al., WWW 2024): sharpness-aware group losses, collaborative weights.

Symbols: L_g the loss of group g, r = `sharpness_radius`, h = `group_step`, c = `loss_power`, w_g the weight.

    sharpness     e_g = r grad L_g / || grad L_g ||,  L'_g = L_g(theta + e_g), s_g = grad L'_g: two passes a group
    direction     sum_g w_g s_g
    similarity    S_ij = cos(s_i, the gradient of j summed over the epoch before), S_ii = 1; S = I in the first epoch
    balance       M_ij = S_ij sqrt(L'_i) sqrt(the loss of j in the epoch before), M_ii = L'_i
                  b_i = L'_i^c / sum;  w <- w exp(h M b), normalised, at least 1e-5
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recbole_fair.strategies.base import Batch, GroupStrategy, TrainingView, group_means, weights_among
from recbole_fair.strategies.gradients import flat_gradient, moved, parts_of, refuse_too_many_groups


class ITFR(GroupStrategy):
    """Descend on a weighted sum of the groups' losses, each at its own worst point nearby.

    The paper's setting is a product of both sides, `fair_group: gender*genre`; any grouping works. It keeps four
    vectors as long as the parameters for each group.

    Where we differ: the released code updates the weights only in batches that hold every group, which with 18 genres
    is hardly any; here the groups present are updated among themselves (equal where all are). Its third part, cosine
    scores over a temperature, is what AlphaRec, Linear and `rec_loss: infonce` do anyway; the scores of other models
    are left as they are. What of the host's loss is no sample's (regulariser, contrast of views) is not perturbed.
    """

    SMALLEST = 1e-5

    def __init__(self, view: TrainingView) -> None:
        super().__init__(view)
        self.radius, self.step = float(self.config["sharpness_radius"]), float(self.config["group_step"])
        self.power = float(self.config["loss_power"])
        groups = len(self.names)
        self.weights = torch.full((groups,), 1.0 / groups, device=self.device)  # [G]
        self.former_losses = torch.zeros(groups, device=self.device)  # [G] mean L' of the epoch before
        self.losses, self.sizes = torch.zeros_like(self.former_losses), torch.zeros_like(self.former_losses)

    def prepare(self, model: nn.Module) -> None:
        """Take over the loss, and make room for each group's gradients."""
        super().prepare(model)
        refuse_too_many_groups(len(self.names), self.parameters, self.device, "Choose coarser groups", each=4)
        width = sum(parameter.numel() for parameter in self.parameters)
        self.gradients = torch.zeros(len(self.names), width, device=self.device)  # [G, P] sum of this epoch
        self.former_gradients: Tensor | None = None  # [G, P] sum of the epoch before

    def backward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """All passes of one batch, over the same draws; gradients are left for the host's optimiser."""
        before = _generators(self.device)
        logged = super().backward(model, batch)  # what is no group's; `objective` takes the groups' own gradients
        after = _generators(self.device)
        present = self.present.nonzero().flatten().tolist()
        sharp = torch.zeros_like(self.ascent)  # [G, P]
        sharp_losses = torch.zeros_like(self.weights)
        for group in present:
            _restore(before, self.device)
            sharp_losses[group], sharp[group] = self.at_worst_point(model, batch, group)
        _restore(after, self.device)
        self.update(sharp_losses, sharp)
        weights = weights_among(self.weights.log(), self.present)
        self.add_to_gradients(self.share * weights @ sharp)
        return {"loss": logged["loss"] + self.share * (weights @ sharp_losses)}

    def objective(self, samples: Tensor, membership: Tensor) -> Tensor:
        """The part of no group, which is minimised plainly; beside it, each group's gradient at the present point."""
        means, self.present = group_means(samples, membership)
        self.sizes_here = membership.sum(0)
        grouped = membership.sum(1) > 0
        self.share = self.mix * self.kept.scale * grouped.float().mean()  # of the groups in the host's loss
        self.ascent = torch.stack(
            [
                flat_gradient(mean, self.parameters) if here else torch.zeros_like(self.gradients[0])
                for mean, here in zip(means, self.present.tolist(), strict=True)
            ]
        )  # [G, P]
        return torch.where(grouped, 0.0, samples).mean()

    def at_worst_point(self, model: nn.Module, batch: Batch, group: int) -> tuple[Tensor, Tensor]:
        """L'_g and its gradient s_g [P], at theta + r g / ||g||; theta is put back exactly."""
        direction = self.ascent[group]
        towards, length = parts_of(direction, self.parameters), self.radius / float(direction.norm().clamp(min=1e-12))
        with moved(self.parameters, towards, length):
            samples = self.samples_of(model, batch)
            means, _ = group_means(samples.losses, self.membership(samples))
            gradient = flat_gradient(means[group], self.parameters)
        return means[group].detach(), gradient

    def add_to_gradients(self, vector: Tensor) -> None:
        """Add a vector [P] to what the first pass left in `.grad`."""
        for parameter, part in zip(self.parameters, parts_of(vector, self.parameters), strict=True):
            parameter.grad = part.clone() if parameter.grad is None else parameter.grad + part

    @torch.no_grad()
    def update(self, sharp_losses: Tensor, sharp: Tensor) -> None:
        """The weights of the groups present, and the sums of this epoch."""
        here = self.present
        exponent = self.step * self.balance(sharp_losses[here], sharp[here], here)
        grown = self.weights.log()
        grown[here] += exponent - exponent.mean()
        self.weights = grown.softmax(0).clamp(min=self.SMALLEST)
        self.gradients += self.sizes_here.unsqueeze(1) * self.ascent
        self.losses += self.sizes_here * sharp_losses
        self.sizes += self.sizes_here

    def balance(self, losses: Tensor, sharp: Tensor, here: Tensor) -> Tensor:
        """The product M b over the groups present, [H]."""
        root = losses.clamp(min=0).sqrt()
        if self.former_gradients is None:
            matrix = torch.diag(losses)
        else:
            unit, former = nn.functional.normalize(sharp), nn.functional.normalize(self.former_gradients[here])
            matrix = (unit @ former.T) * root.unsqueeze(1) * self.former_losses[here].clamp(min=0).sqrt()
            matrix.diagonal().copy_(losses)
        share = losses.clamp(min=0).pow(self.power)
        return matrix @ (share / share.sum().clamp(min=1e-30))

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """The sums of this epoch become the former ones."""
        self.former_gradients, self.gradients = self.gradients, torch.zeros_like(self.gradients)
        self.former_losses = self.losses / self.sizes.clamp(min=1e-30)
        self.losses, self.sizes = torch.zeros_like(self.losses), torch.zeros_like(self.sizes)
        return {f"weight[{name}]": weight for name, weight in zip(self.names, self.weights.tolist(), strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """Between epochs: the weights, and what the last epoch left."""
        return {
            "weights": self.weights,
            "former_losses": self.former_losses,
            "former_gradients": self.former_gradients,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take `state_dict` back."""
        self.weights, self.former_losses = state["weights"].to(self.device), state["former_losses"].to(self.device)
        former = state["former_gradients"]
        self.former_gradients = None if former is None else former.to(self.device)


def _generators(device: torch.device) -> list[Tensor]:
    """States of the generators that a model draws dropout and negatives from."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _restore(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)
