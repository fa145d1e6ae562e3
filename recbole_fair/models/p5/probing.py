"""Asking a frozen P5 in words for an attribute of a user (UP5, appendix A): by a question, or by a learned prompt.

    L = - sum over j of log P(y_j | y_<j, x, p)             y: the words of the user's value, then the end      (Eq. 6)

Answers are constrained to the attribute's values: their exact log-likelihoods (ranking.py), normalised over the values,
are what an AUC is taken of. A model's own prompt (CFP) stays before what is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from recbole_fair.errors import UsageError
from recbole_fair.metrics.formulas import FloatArray, IntArray
from recbole_fair.models.adversary import UNKNOWN, balanced_rows, frozen
from recbole_fair.models.p5.cfp import PrefixPrompt
from recbole_fair.models.p5.prompts import Example, PromptBatch, collate, read_templates, slices
from recbole_fair.models.p5.ranking import Trie, log_likelihood

if TYPE_CHECKING:
    from recbole_fair.models.p5.model import P5

# Of a probing prompt. The paper says its prompts come from networks of two and three layers, and no more.
_LENGTH, _WIDTH, _HIDDEN, _STEPS, _BATCH, _RATE = 5, 64, 128, 200, 64, 0.01
_EXAMPLES = 64  # tried in a prompt; as many of them as fit are used

# Whose values are learned from, their classes, who is asked, a seed: probabilities [T, C].
Attacker = Callable[[str, Sequence[str], IntArray, IntArray, IntArray, int], FloatArray]


class ValueWords:
    """The values of an attribute as what may be written."""

    def __init__(self, model: P5, values: Sequence[str]) -> None:
        self.trie = Trie([(), *map(model.wording.prompter.answer, values)], model.backbone.start)

    def log_likelihood(self, model: P5, prompts: PromptBatch) -> Tensor:
        """Log P(value | prompt) [B, C], under whatever is attached."""
        device = prompts.tokens.device
        values = torch.arange(1, len(self.trie.sequences), device=device).expand(len(prompts), -1)
        return log_likelihood(model.language, self.trie.to(device), values, model.encode(prompts), prompts.mask)


class ProbingPrompt:
    """A soft prompt that learns to ask one model for one attribute; it has the two roles of an `Adversary`.

    Encoder and decoder prompts are those of CFP (A.2: by networks of two and three layers), put behind the model's own.
    """

    def __init__(self, model: P5, values: Sequence[str], *, learning_rate: float = _RATE) -> None:
        if len(values) < 2:
            raise UsageError(f"soft_prompt: asks which of at least two values a user has; there is {list(values)}")
        self.model, self.answers = model, ValueWords(model, values)
        device = model.whole_words.weight.device
        self.prompt = PrefixPrompt(model.prefixes.shapes, _LENGTH, width=_WIDTH, hidden=_HIDDEN, dropout=0.0).to(device)
        self.optimizer = torch.optim.AdamW(self.prompt.parameters(), lr=learning_rate)

    def read(self, prompts: PromptBatch) -> Tensor:
        """Log P(value | prompt) [B, C]."""
        with self.model.steered(self.prompt()):
            return self.answers.log_likelihood(self.model, prompts)

    def attack(self, prompts: PromptBatch, classes: Tensor) -> float:
        """One step of the probing prompt towards the classes, the model fixed; the loss before it."""
        self.optimizer.zero_grad()
        with frozen(self.model):
            loss = self._loss(prompts, classes)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return float(loss.detach())

    def loss(self, prompts: PromptBatch, classes: Tensor) -> Tensor:
        """Eq. 6 for whoever steers the model; the probing prompt gets no gradient."""
        with frozen(self.prompt):
            return self._loss(prompts, classes)

    def _loss(self, prompts: PromptBatch, classes: Tensor) -> Tensor:
        labelled = classes != UNKNOWN
        chosen = self.read(prompts).gather(1, classes.clamp(min=0)[:, None]).squeeze(1)
        return -torch.where(labelled, chosen, 0.0).sum() / labelled.sum().clamp(min=1)

    def state_dict(self) -> dict[str, Any]:
        """Prompt and optimiser."""
        return {"prompt": self.prompt.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take `state_dict` back."""
        self.prompt.load_state_dict(state["prompt"])
        self.optimizer.load_state_dict(state["optimizer"])


# --- attackers of the probe, which sees users by their prompts before the test part


def attackers(model: P5) -> Mapping[str, Attacker]:
    """A soft prompt; a question, with the user's items or not, behind examples or not."""
    asked = {
        f"{first}{last}": partial(_question, model, f"question{last}", bool(first == "examples"))
        for first in ("question", "examples")
        for last in ("", "_history")
    }
    return MappingProxyType({"soft_prompt": partial(_soft_prompt, model), **asked})


def _soft_prompt(
    model: P5, _: str, values: Sequence[str], seen: IntArray, classes: IntArray, asked: IntArray, seed: int
) -> FloatArray:
    """Learned on class-balanced users, by 200 steps of 64; global random state is left as it was."""
    labels = torch.from_numpy(classes).to(model.whole_words.weight.device)
    prompts = model.prompts_of(seen.tolist(), "test")
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(seed)
        prompt = ProbingPrompt(model, values)
        for _step in range(_STEPS):
            rows = balanced_rows(labels, _BATCH)
            prompt.attack(prompts[rows], labels[rows])
    return _probabilities(prompt.read, (model.prompts_of(asked[rows].tolist(), "test") for rows in slices(len(asked))))


def _question(
    model: P5, kind: str, with_examples: bool, attribute: str, values: Sequence[str], seen: IntArray,
    classes: IntArray, asked: IntArray, seed: int,
) -> FloatArray:  # fmt: skip
    """Nothing is learned: examples are users of the training folds, drawn anew for each user that is asked about."""
    template, rng, answers = (
        read_templates("p5-questions")[kind][0],
        np.random.default_rng(seed),
        ValueWords(model, values),
    )

    def prompt(user: int) -> Any:
        chosen = rng.permutation(len(seen))[: _EXAMPLES if with_examples else 0]
        examples = [
            Example(int(seen[row]), model.known_items(int(seen[row])), f"{values[classes[row]]} .") for row in chosen
        ]
        return model.wording.prompter.question(template, attribute, examples, Example(user, model.known_items(user)))

    def read(prompts: PromptBatch) -> Tensor:
        with model.steered():
            return answers.log_likelihood(model, prompts)

    device = model.whole_words.weight.device
    batches = (
        collate([prompt(user) for user in asked[rows].tolist()], model.wording.pad).to(device)
        for rows in slices(len(asked))
    )
    return _probabilities(read, batches)


@torch.no_grad()
def _probabilities(read: Callable[[PromptBatch], Tensor], batches: Iterator[PromptBatch]) -> FloatArray:
    return torch.cat([read(prompts).softmax(dim=1) for prompts in batches]).double().cpu().numpy()
