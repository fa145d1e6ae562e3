"""Training prompts of P5: for every training interaction with a history, what came before it and then its item.

An epoch passes over all prompts in a seeded order, or over its first `most` batches; each prompt gets a task and a
template drawn anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_fair.data.subsets import training_prompts
from recbole_fair.errors import UsageError
from recbole_fair.metrics.formulas import IntArray
from recbole_fair.models.p5.prompts import Prompt, PromptBatch, collate
from recbole_fair.models.p5.wording import Wording, tasks_of

IGNORED = -100  # the label of what is not learned: torch's cross-entropy leaves it out


@dataclass(frozen=True)
class Examples:
    """Prompts and the tokens that are to be written."""

    users: Tensor  # [B]
    prompts: PromptBatch
    labels: Tensor  # [B, T], IGNORED past the end

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, rows: Tensor) -> Examples:
        return Examples(self.users[rows], self.prompts[rows], self.labels[rows])

    def to(self, device: torch.device | str) -> Examples:
        """The same on another device."""
        return Examples(self.users.to(device), self.prompts.to(device), self.labels.to(device))


class PromptLoader:
    """Batches of examples; resume keeps its generator."""

    shuffle = True

    def __init__(self, config: Any, part: Any, *, most: int | None = None) -> None:
        self.dataset, self.size = part, int(config["train_batch_size"])
        self.wording, self.tasks = Wording.of(config, part), tasks_of(config)
        self.templates = {task: self.wording.of_task(task) for task in self.tasks}
        self.others = int(config["num_candidates"]) - 1  # beside the target, in a direct prompt
        self.generator = torch.Generator().manual_seed(int(config["seed"]))
        self.histories = self.wording.learned_histories()
        users, places = _prompts(self.histories, first=0 if "direct" in self.tasks else 1)
        chosen = training_prompts(config, len(users))
        if not len(chosen):
            raise UsageError("P5: no user has two training interactions, so a sequential prompt has nothing to show")
        self.users, self.places = users[chosen], places[chosen]
        whole = -(-len(self.users) // self.size)
        self.batches = min(whole, most or whole)

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Examples]:
        order: IntArray = torch.randperm(len(self.users), generator=self.generator).numpy()
        for batch in range(self.batches):
            yield self.examples(order[batch * self.size : (batch + 1) * self.size])

    def examples(self, rows: IntArray) -> Examples:
        """The prompts of these rows, each of a task and a template drawn now."""
        users = self.users[rows]
        prompts = [self._prompt(int(user), int(place)) for user, place in zip(users, self.places[rows], strict=True)]
        targets = [
            self.wording.prompter.target(self.histories[user][place])
            for user, place in zip(users, self.places[rows], strict=True)
        ]
        longest = max(map(len, targets))
        labels = torch.tensor([[*target, *[IGNORED] * (longest - len(target))] for target in targets])
        return Examples(torch.from_numpy(users), collate(prompts, self.wording.pad), labels)

    def _draw(self, count: int) -> int:
        return int(torch.randint(count, (), generator=self.generator))

    def _prompt(self, user: int, place: int) -> Prompt:
        tasks = self.tasks if place else ["direct"]  # before the first interaction there is no sequence
        task = tasks[self._draw(len(tasks))]
        template = self.templates[task][self._draw(len(self.templates[task]))]
        history = self.histories[user]
        if task == "sequential":
            return self.wording.prompter.sequential(template, user, history[:place])
        listed = [history[place], *self._unmet(user)]
        return self.wording.prompter.direct(template, user, listed, seed=self._draw(2**31))

    def _unmet(self, user: int) -> list[int]:
        """Items that the user has not met in training."""
        unmet = np.setdiff1d(np.arange(1, self.wording.items), self.histories[user])
        drawn = torch.randperm(len(unmet), generator=self.generator)[: self.others].numpy()
        return [int(item) for item in unmet[drawn]]


def _prompts(histories: list[list[int]], first: int) -> tuple[IntArray, IntArray]:
    """User and place in the history of every training interaction from place `first` on."""
    users = np.repeat(np.arange(len(histories)), [max(len(history) - first, 0) for history in histories])
    places = [np.arange(first, len(history)) for history in histories if history]
    return users, np.concatenate(places) if places else np.empty(0, dtype=np.int64)
