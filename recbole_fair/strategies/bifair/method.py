"""BiFair: item vectors and projector trained in turn under a loss that balances item groups (Zhang et al. 2025).

    inner level   theta <- theta - eta * grad_theta L(theta, Z)                                    (Algorithm 1, line 4)
    outer level   Z <- Z - eta * grad_Z L(theta - xi * grad_theta L(theta, Z), Z)                  (Eq. 5-7, line 10)

Symbols: Z the language model's item vectors, theta the projector, l_n the mean loss of group n in a batch, w_n what
the gradient of group n is multiplied by. Users' vectors are means of Z, so a step on Z moves them too.

What L is, is the key `weights` (balancing.py):

    entropy       the groups' shares plus gain * Eq. (10)'s coefficients, the descent of -H(softmax(l)). The row BiFair.
    frank_wolfe   sum_n w_n l_n, w from Algorithm 2. The row BiFair-Alg2.
    lp            sum_n w_n l_n, w from the linear programme of Eq. (10).

Where the paper is open (docs/methods.md): w is solved once a batch, from the gradients at (theta, Z), and held for
every auxiliary gradient of the outer level; both levels see the same batch; xi is the inner learning rate, though
the inner optimiser is Adam. An outer step costs about three inner ones, so `outer_every` batches share one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recbole_fair.errors import TrainingError
from recbole_fair.strategies.base import Batch, GroupStrategy, TrainingView, keep_sample_losses
from recbole_fair.strategies.bifair.balancing import Balance, Balanced, by_entropy, by_solver, shares_for
from recbole_fair.strategies.bifair.hypergradient import hypergradient
from recbole_fair.strategies.bifair.refining import refine
from recbole_fair.strategies.gradients import angle, refuse_too_many_groups, trained
from recbole_fair.strategies.running import RunningMean


class BiFair(GroupStrategy):
    """Both levels in every `outer_every`-th batch, the inner level alone in the others."""

    def __init__(self, view: TrainingView) -> None:
        super().__init__(view)
        config = self.config
        self.running = RunningMean(len(self.names), float(config["loss_smoothing"]), self.device)
        self.shares = str(config["shares"])  # auto until the first epoch has shown which
        self.balance = self.chosen_balance()
        self.xi = float(config["learning_rate"] if config["xi"] is None else config["xi"])
        self.outer_rate, self.outer_every = float(config["outer_lr"]), int(config["outer_every"])
        self.log = EpochLog(self.names)
        self.batches = 0

    def chosen_balance(self) -> Balance:
        """As `weights` and the present shares ask for."""
        if self.config["weights"] != "entropy":
            return by_solver(self.config, self.mix)
        return by_entropy(self.view, self.running, self.shares)

    def prepare(self, model: nn.Module) -> None:
        """Take Z out of the model's hands and give it an optimiser of its own (section 4.3.3)."""
        self.vectors, self.encoded = refine(model)
        self.kept = keep_sample_losses(model, lambda samples: samples.losses, self.view.ids)
        self.parameters = trained(model)
        # Fused: else a step would allocate two more arrays of the size of Z.
        self.optimizer = torch.optim.AdamW(
            [self.vectors], self.outer_rate, betas=(0.9, 0.999), weight_decay=0.1, fused=True
        )
        self.refuse_what_does_not_fit(self.parameters)

    def refuse_what_does_not_fit(self, targets: Sequence[Tensor]) -> None:
        """Weights from a solver need a gradient of every group by what is trained."""
        config, groups = self.config, self.view.groups
        if config["weights"] == "entropy":
            return
        if config["gram"] == "vectors":
            nodes = len(groups.user) + len(groups.item)
            targets = [torch.empty(nodes, int(config["embedding_size"]), device="meta")]
        remedy = "Set weights=entropy, which needs no gradient per group, or choose coarser groups"
        refuse_too_many_groups(len(self.names), targets, self.device, remedy, beside=1)

    def backward(self, model: Any, batch: Batch) -> dict[str, Tensor]:
        """The inner gradient into theta, to be stepped by the model's optimiser; the outer step on Z at once."""
        rows = model.draw(batch)
        balanced = self.balanced(model, rows, self.parameters)
        self.leave(balanced.gradients)
        self.batches += 1
        if self.batches % self.outer_every == 0:
            self.step_vectors(self.outer_gradient(model, rows, balanced))
        return {"loss": balanced.loss}

    def leave(self, gradients: Sequence[Tensor]) -> None:
        """Give theta its gradients, for the model's optimiser to step and the trainer to check."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient

    def balanced(self, model: Any, rows: Sequence[Tensor], targets: Sequence[Tensor]) -> Balanced:
        """The drawn rows, balanced for a step on `targets`."""
        balanced = self.balance(model, rows, self.view.membership(*rows[:2]), targets)
        self.log.batch(balanced)
        return balanced

    def outer_gradient(self, model: Any, rows: Sequence[Tensor], balanced: Balanced) -> Tensor:
        """Eq. (5)-(7) under the weights of this batch."""

        def loss() -> Tensor:
            return balanced.objective(model.pair_losses(rows, *model.unit_vectors()))

        how = self.xi, float(self.config["epsilon"]), self.config["implicit"]
        outer = hypergradient(loss, self.parameters, self.vectors, balanced.gradients, *how)
        self.log.angles.append(angle(balanced.gradients, outer.by_parameters))
        return outer.by_vectors

    def step_vectors(self, gradient: Tensor) -> None:
        """Let Z's own optimiser make one step."""
        if not torch.isfinite(gradient).all():
            raise TrainingError("the gradient of the item vectors is not finite")
        self.vectors.grad = gradient
        self.optimizer.step()
        self.vectors.grad = None

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Figures of the epoch; the rate of Z falls; after the first epoch, of plain training, `auto` is decided."""
        self.decay((epoch + 1) / self.config["epochs"])
        figures = {**self.log.figures(), "item vectors moved": distance(self.vectors, self.encoded)}
        if self.config["shares"] == "auto":
            self.take_shares(shares_for(self.view.group_counts, self.running.values.cpu()))
            figures["inverse shares"] = float(self.shares == "inverse")
        return figures

    def take_shares(self, shares: str) -> None:
        """Settle on natural or inverse shares, if `auto` has not been settled yet."""
        if self.shares == "auto":
            self.shares = shares
            self.balance = self.chosen_balance()

    def notes(self) -> list[str]:
        """Also that a mixture holds less of Eq. (11) than its share."""
        as_printed = self.config["weights"] == "frank_wolfe" and self.config["direction"] == "groups"
        if not as_printed or self.mix == 1:
            return super().notes()
        text = "Eq. (11) drops a weight, so the groups have less than that share; direction=renormalised gives it back"
        return [*super().notes(), f"fair_weight={self.mix:g}: {text}"]

    def notes_after(self) -> list[str]:
        """Whether the epoch that was selected has item vectors that no step has moved yet."""
        if not torch.equal(self.vectors, self.encoded):
            return []
        return ["the weights that are judged have the encoder's item vectors: they were not trained in that epoch"]

    def decay(self, done: float) -> None:
        """Polynomial decay of exponent 0.9 (section 4.3.3), by the share of epochs done."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.outer_rate * (1 - min(max(done, 0.0), 1.0)) ** 0.9

    def state_dict(self) -> dict[str, Any]:
        """Z's optimiser, the count of batches and the running losses; Z itself is stored with the model."""
        return {
            "optimizer": self.optimizer.state_dict(), "batches": self.batches, "running": self.running.values,
            "shares": self.shares,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take `state_dict` back."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.batches = state["batches"]
        self.running.load(state["running"])
        self.take_shares(state["shares"])


@torch.no_grad()
def distance(one: Tensor, other: Tensor, rows: int = 4096) -> float:
    """Frobenius norm of a difference, a few rows at a time: the matrices may be all that fits into memory."""
    parts = zip(torch.split(one, rows), torch.split(other, rows), strict=True)
    return sum(float((a - b).double().square().sum()) for a, b in parts) ** 0.5


class EpochLog:
    """Means over an epoch's batches; begins anew when its figures are read.

    absent[g]      batches without group g
    group loss[g]  its mean loss, weight[g] the sum of its rows' weights, over the batches that had it
    angle          degrees between the inner level's gradient by theta and the outer level's, one step ahead
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.begin()

    def begin(self) -> None:
        """Forget the batches so far."""
        self.batches = 0
        self.sums: Tensor | None = None  # [3, G]: batches with the group, its losses, its weights
        self.angles: list[float] = []

    def batch(self, balanced: Balanced) -> None:
        """Take note of a batch, without waiting for the device."""
        parts = [part * balanced.present for part in (balanced.group_losses, balanced.weights)]
        seen = torch.stack([balanced.present.to(parts[0]), *parts])
        self.sums = seen if self.sums is None else self.sums + seen
        self.batches += 1

    def figures(self) -> dict[str, float]:
        """Mean loss and weight of each group where it was present, and how often it was absent."""
        figures: dict[str, float] = {}
        if self.sums is not None:
            for name, (present, loss, weight) in zip(self.names, self.sums.T.tolist(), strict=True):
                figures[f"absent[{name}]"] = self.batches - present
                if present:
                    figures |= {f"group loss[{name}]": loss / present, f"weight[{name}]": weight / present}
        if self.angles:
            figures["angle"] = sum(self.angles) / len(self.angles)
        self.begin()
        return figures
