"""What CFP's Algorithm 1 costs over prefix tuning without an adversary: one step of each kind, and a whole schedule.

    python benchmarks/cfp_step.py [--pairs=9] [--threads=2] [--width=64] [--layers=1]

Random T5, 256 right-padded prompts of 30-60 tokens, items of one token, prefixes of 5 positions; a gender of two
classes. Plain is `recommend`: L_rec alone. Pairs are interleaved in one process. Beside the ratio of the medians stands
the schedule's share of each kind, of the row's own setting (5 + 2 + 5 updates a batch) and of the paper's (T = 10,
every 20th batch).
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from time import process_time
from typing import Any

import torch
from torch import Tensor, nn
from transformers import T5Config, T5ForConditionalGeneration

from recbole_fair.language.prefixes import Prefixes
from recbole_fair.models.adversary import Adversary, balanced_rows
from recbole_fair.models.p5.backbone import EncoderDecoder
from recbole_fair.models.p5.cfp import PrefixPrompt, Schedule
from recbole_fair.models.p5.prompts import PromptBatch

ROWS, LONGEST, VOCABULARY = 256, 60, 2000
SCHEDULES = {"ours": Schedule(5, 2, 5, 1), "paper": Schedule(10, 10, 10, 20)}


class Setting:
    """A frozen T5, a prompt, an adversary and one batch; the three kinds of updates are its methods."""

    def __init__(self, width: int, layers: int) -> None:
        config = T5Config(
            d_model=width, d_kv=width // 2, d_ff=4 * width, num_layers=layers, num_heads=2, vocab_size=VOCABULARY,
            decoder_start_token_id=0, dropout_rate=0.0,
        )  # fmt: skip
        self.model: Any = T5ForConditionalGeneration(config).eval().requires_grad_(False)
        self.backbone, self.prefixes = EncoderDecoder(self.model), Prefixes(self.model)
        self.prompt = PrefixPrompt(self.prefixes.shapes, 5, width=64, hidden=128)
        self.optimizer = torch.optim.AdamW(self.prompt.parameters(), lr=0.01)
        self.adversary = Adversary(width, 2, learning_rate=1e-3)
        lengths = torch.randint(30, LONGEST + 1, (ROWS,))
        mask = (torch.arange(LONGEST) < lengths[:, None]).long()
        user = torch.zeros_like(mask, dtype=torch.bool)
        user[:, :3] = True
        tokens = torch.randint(20, VOCABULARY, mask.shape)
        self.batch = PromptBatch(tokens, torch.zeros_like(tokens), mask, user)
        self.labels, self.classes = torch.randint(20, VOCABULARY, (ROWS, 1)), torch.randint(0, 2, (ROWS,))

    def _pass(self, with_state: bool) -> tuple[Tensor, Tensor | None]:
        embedded = self.model.get_input_embeddings()(self.batch.tokens)
        states = self.backbone.encode(embedded, self.batch.mask)
        logits = self.backbone.written(states, self.batch.mask, self.labels)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), self.labels.flatten())
        return loss, self.backbone.state_at("user", states, self.batch) if with_state else None

    def _improve(self, weight: float) -> None:
        self.optimizer.zero_grad()
        with self.prefixes.attached(self.prompt()):
            loss, state = self._pass(weight > 0)
            if state is not None:
                rows = balanced_rows(self.classes, ROWS)
                loss = loss - weight * self.adversary.loss(state[rows], self.classes[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def recommend(self) -> None:
        """Prefix tuning: L_rec alone."""
        self._improve(0.0)

    def joint(self) -> None:
        """L_rec - lambda L_dis."""
        self._improve(2.0)

    @torch.no_grad()
    def _state(self) -> Tensor:
        with self.prefixes.attached(self.prompt()):
            states = self.backbone.encode(self.model.get_input_embeddings()(self.batch.tokens), self.batch.mask)
        return self.backbone.state_at("user", states, self.batch)

    def discriminate(self) -> None:
        """One step of the adversary."""
        rows = balanced_rows(self.classes, ROWS)
        self.adversary.attack(self._state()[rows], self.classes[rows])


def seconds(step: Callable[[], None]) -> float:
    """Of the processor, which other work on the machine disturbs less."""
    start = process_time()
    step()
    return process_time() - start


def main() -> None:
    """Time the three kinds in turn, then say what a schedule is made of."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("pairs", 9), ("threads", 2), ("width", 64), ("layers", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    setting = Setting(given.width, given.layers)
    steps = {"recommend": setting.recommend, "joint": setting.joint, "discriminate": setting.discriminate}
    taken: dict[str, list[float]] = {kind: [] for kind in steps}
    for number in range(given.pairs + 1):
        for kind in list(steps) if number % 2 else reversed(list(steps)):
            taken[kind].append(seconds(steps[kind]))
    cost = {kind: statistics.median(times[1:]) for kind, times in taken.items()}
    for kind, value in cost.items():
        ratios = [one / plain for one, plain in zip(taken[kind][1:], taken["recommend"][1:], strict=True)]
        print(f"{kind:13} {1e3 * value:7.1f} ms, {value / cost['recommend']:.2f} x prefix tuning "
              f"({min(ratios):.2f}-{max(ratios):.2f})", flush=True)  # fmt: skip
    for name, schedule in SCHEDULES.items():
        made = [step.kind for batch in range(schedule.every) for step in schedule.steps(batch)]
        whole = sum(cost[kind] for kind in made)
        shares = ", ".join(f"{kind} {made.count(kind) * cost[kind] / whole:.0%}" for kind in steps)
        print(f"schedule of {name}: {len(made)} updates in {schedule.every} batch(es); of its time {shares}; "
              f"{whole / len(made) / cost['recommend']:.2f} x as many of prefix tuning", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
