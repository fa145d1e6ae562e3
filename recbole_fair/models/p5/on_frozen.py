"""Rows on a frozen P5: a counterfactually-fair prompt (CFP), a mixture of them, and Erase, the control.

The base's weights are read from its run and never change. CFP attaches a trained prefix to every attention; Erase
sends the encoder's states through LEACE's affine map (models/erase.py) before the decoder reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recbole_fair import storage
from recbole_fair.data.inputs import inputs_of
from recbole_fair.data.subsets import held_back
from recbole_fair.errors import UsageError
from recbole_fair.host import ModelType
from recbole_fair.language.prefixes import KeyValues, Prefixes
from recbole_fair.models.erase import Eraser, leace
from recbole_fair.models.frozen import load_frozen, weights_of
from recbole_fair.models.p5.bases import sensitive
from recbole_fair.models.p5.cfp import PrefixPrompt
from recbole_fair.models.p5.loader import PromptLoader
from recbole_fair.models.p5.mixture import PromptMixture
from recbole_fair.models.p5.model import P5
from recbole_fair.models.p5.prompts import PromptBatch
from recbole_fair.settings.yamls import read_mapping

# What the run and its base must share, or the base's weights would mean something else here.
_SHARED = """
    dataset split_seed eval_args base_llm tiny_width tiny_layers tiny_heads p5_prompts user_token item_token
    max_history max_length
""".split()  # noqa: SIM905
_BASE_PARTS = ("language", "whole_words")


class OnFrozenP5(P5):
    """A P5 with the weights of the base run, which are not trained."""

    trains_in_parallel = False  # CFP has steps and an adversary of its own, Erase nothing to train

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        folders = inputs_of(dataset).bases
        if "" not in folders:
            raise UsageError(f"{config.name}: stands on a finished P5; give base=auto or the folder of its run")
        self.base = folders[""]
        _check_same(config, self.base)
        for part in _BASE_PARTS:
            load_frozen(self.get_submodule(part), self.base, part)

    def train(self, mode: bool = True) -> OnFrozenP5:
        """The frozen part stays as it is judged, without dropout."""
        super().train(mode)
        self.language.eval()
        return self


class PromptedP5(OnFrozenP5):
    """A P5 under a prompt that hides attributes; `prompt` is what is trained, `key_values` what it says now."""

    prompt: nn.Module

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.hidden = tuple(sensitive(config))
        prompts = inputs_of(dataset).prompts
        assert prompts is not None  # Wording.of has refused that
        self.attributes = prompts.attributes

    def values_of(self, attribute: str) -> list[str]:
        """The words for an attribute's values, as `attribute_words` has them."""
        own = self.attributes[attribute]
        return [own.worded(value, 0) for value in own.values]

    @classmethod
    def train_loader(cls, config: Any, part: Any) -> PromptLoader:
        """An epoch is at most `rounds` batches of Algorithm 1."""
        return PromptLoader(config, part, most=int(config["rounds"]))

    @contextmanager
    def hiding(self, attributes: Sequence[str]) -> Iterator[None]:
        """Hide these attributes inside the block."""
        before, self.hidden = self.hidden, tuple(attributes)
        try:
            yield
        finally:
            self.hidden = before


class CFP(PromptedP5):
    """The prompt of one attribute."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        if len(self.hidden) > 1:
            raise UsageError(
                f"sensitive_attribute={list(self.hidden)}: CFP hides one attribute; several are hidden by CFP-Mixture"
            )
        self.prompt = _prompt(config, self.prefixes)

    def key_values(self) -> KeyValues:
        """Of its only prompt."""
        values: KeyValues = self.prompt()
        return values


class CFPMixture(PromptedP5):
    """One attention layer over the finished prompts of single attributes; hides any set of them."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        folders = inputs_of(dataset).bases
        singles = {name: self._single(name, folders[name], config["hold_labels"]) for name in self.hidden}
        self.prompt = PromptMixture(singles, int(config["prefix_length"]))

    def key_values(self) -> KeyValues:
        """Mixed of the chosen attributes' prompts."""
        values: KeyValues = self.prompt(self.hidden)
        return values

    @torch.no_grad()
    def _single(self, attribute: str, folder: Path, mine: float) -> KeyValues:
        """The keys and values of a finished CFP run on the same base."""
        config = read_mapping(folder / "config.yaml")
        if config.get("model") != "CFP" or config.get("sensitive_attribute") not in (attribute, [attribute]):
            raise UsageError(f"bases: {attribute}: {folder} is no CFP run that hides {attribute}")
        if config.get("hold_labels", 0.0) != mine:
            raise UsageError(
                f"bases: {attribute}: {folder} has another hold_labels than {mine}, so it saw other labels"
            )
        beneath = storage.read_json(folder / "result.json").get("base")
        if beneath is None or weights_of(Path(beneath)) != weights_of(self.base):
            raise UsageError(f"bases: {attribute}: {folder} was trained on another P5 than {self.base}")
        prompt = _prompt(config, self.prefixes)
        load_frozen(prompt, folder, "prompt")
        values: KeyValues = prompt.eval()()
        return values


class Erase(OnFrozenP5):
    """LEACE between encoder and decoder, fitted on the states of labelled users; nothing is trained.

    erase: user | all. The map is fitted on the mean over these tokens and applied to each of them: it is affine, so the
    mean of the mapped states is the mapped mean.
    """

    type = ModelType.TRADITIONAL  # for the host: one epoch
    mean: Tensor
    away: Tensor

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        if self.backbone.kind == "causal":
            raise UsageError(
                f"base_llm={config['base_llm']!r}: Erase stands behind an encoder, and this model has none"
            )
        self.erased = config["erase"]
        self.classes = self._classes(config, dataset)  # [U, A]
        self.unused = nn.Parameter(torch.zeros(1))  # the host's optimiser needs one parameter
        self.register_buffer("mean", torch.zeros(self.width, dtype=torch.float64))
        self.register_buffer("away", torch.zeros(self.width, self.width, dtype=torch.float64))

    @classmethod
    def train_loader(cls, config: Any, part: Any) -> PromptLoader:
        """One batch, of which only the moment is used: it is when the map is fitted."""
        return PromptLoader(config, part, most=1)

    def encode(self, prompts: PromptBatch) -> Tensor:
        """The encoder's states, those at the chosen tokens without the attribute."""
        states = super().encode(prompts)
        erased: Tensor = Eraser(self.mean, self.away)(states)
        chosen = prompts.user if self.erased == "user" else prompts.mask.bool()
        return torch.where(chosen.unsqueeze(2), erased, states)

    def calculate_loss(self, batch: Any) -> Tensor:
        """Fits the map; the loss is 0."""
        self.fit()
        return self.unused.sum() * 0.0

    @torch.no_grad()
    def fit(self) -> None:
        """LEACE on the states of the labelled users, each from its training history."""
        self.away.zero_()
        users = np.flatnonzero((self.classes >= 0).all(axis=1)).tolist()
        states = self.states_of(users, "valid", self.erased)
        eraser = leace(states, torch.from_numpy(self.classes[users]).to(states.device))
        self.mean.copy_(eraser.mean)
        self.away.copy_(eraser.away)

    def _classes(self, config: Any, dataset: Any) -> Any:
        prompts = inputs_of(dataset).prompts
        assert prompts is not None  # Wording.of has refused that
        classes = np.stack([prompts.attributes[name].of_user for name in sensitive(config)], axis=1)
        classes[0] = -1  # nobody
        classes[held_back(config, len(classes))] = -1
        return classes


def _prompt(config: Any, prefixes: Prefixes) -> PrefixPrompt:
    return PrefixPrompt(
        prefixes.shapes,
        int(config["prefix_length"]),
        width=int(config["prefix_width"]),
        hidden=int(config["prefix_hidden"]),
        dropout=float(config["prefix_dropout"]),
    )


def _check_same(config: Any, base: Path) -> None:
    """Refuse a base that was asked in another way than this run asks it."""
    theirs = read_mapping(base / "config.yaml")
    for key in _SHARED:
        if theirs.get(key) != config.effective[key]:
            raise UsageError(
                f"base={base}: has {key}={theirs.get(key)!r}, this run {config.effective[key]!r}; set {key} to the"
                " base's, or take base=auto"
            )
