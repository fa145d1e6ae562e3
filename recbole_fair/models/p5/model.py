"""P5 (Geng et al. 2022): recommendation as writing the next item's id, by a T5 or a decoder-only language model.

    L_rec = - log P(tokens of the item | prompt), a mean over the target tokens of a batch

Lists are ranked by the exact log-likelihood of every candidate's id (ranking.py). The prompts are of the sequential
task (the user's latest items) or the direct one (the candidates); judged by `judged_task`, under the first template.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from recbole_fair import parallel
from recbole_fair.errors import UsageError
from recbole_fair.host import GeneralRecommender, InputType
from recbole_fair.language.prefixes import KeyValues, Prefixes, joined
from recbole_fair.metrics.formulas import IntArray
from recbole_fair.models.p5 import probing
from recbole_fair.models.p5.backbone import PLACES, backbone_of
from recbole_fair.models.p5.indexing import WholeWordEmbedding, interaction_vectors
from recbole_fair.models.p5.loader import IGNORED, Examples, PromptLoader
from recbole_fair.models.p5.prompts import Prompt, PromptBatch, collate, slices
from recbole_fair.models.p5.ranking import Trie, log_likelihood
from recbole_fair.models.p5.wording import Wording


class P5(GeneralRecommender):
    """A language model with whole-word embeddings; `language` and `whole_words` are all that is trained."""

    input_type = InputType.POINTWISE
    reads_prompts = True
    trains_in_parallel = True  # its loss reads the rows of all ranks (parallel.py)
    reads_titles = False  # items are numbers

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.wording = Wording.of(config, dataset)
        self.judged_task, self.order_seed = config["judged_task"], int(config["split_seed"])
        self.place = config["state_place"]
        self.language: Any = self._language(config)
        self.backbone = backbone_of(self.language)
        self.width = self.backbone.width
        self.whole_words = WholeWordEmbedding(self.width)
        self.trie = Trie(self.wording.words.items(self.wording.names), self.backbone.start)

    @classmethod
    def train_loader(cls, config: Any, part: Any) -> PromptLoader:
        """Its own batches."""
        return PromptLoader(config, part)

    # --- the parts of one pass

    @cached_property
    def prefixes(self) -> Prefixes:
        """The attentions, to which prompts can be attached."""
        return Prefixes(self.language)

    def key_values(self) -> KeyValues:
        """The prompt of a row on a frozen P5; P5 itself has none."""
        return {}

    def steered(self, question: KeyValues = MappingProxyType({})) -> AbstractContextManager[None]:
        """What surrounds every pass of the language model: the row's prompt, and behind it a probing prompt's."""
        attached = joined(self.key_values(), question)
        return self.prefixes.attached(attached) if attached else nullcontext()

    def encode(self, prompts: PromptBatch) -> Tensor:
        """What is known of each prompt [B, S, D]: a T5's last encoder states."""
        embedded = self.language.get_input_embeddings()(prompts.tokens) + self.whole_words(prompts.words)
        return self.backbone.encode(embedded, prompts.mask)

    def writing_loss(self, states: Tensor, batch: Examples) -> Tensor:
        """L_rec of a batch, given what is known of its prompts."""
        return self._token_losses(states, batch).sum() / (batch.labels != IGNORED).sum()

    def _token_losses(self, states: Tensor, batch: Examples) -> Tensor:
        """The loss of each token that is to be written, [B, T]; 0 past the end."""
        logits = self.backbone.written(states, batch.prompts.mask, batch.labels)
        each = nn.functional.cross_entropy(
            logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED, reduction="none"
        )
        return each.view_as(batch.labels)

    def state_at(self, place: str, states: Tensor, prompts: PromptBatch) -> Tensor:
        """A state [B, D] for each prompt: of the user's tokens, of all, or the one that decides on the item."""
        return self.backbone.state_at(place, states, prompts)

    # --- what RecBole, the evaluation and the probe ask

    def calculate_loss(self, batch: Examples) -> Tensor:
        """L_rec."""
        own = batch[torch.from_numpy(parallel.share(len(batch)))]
        with self.steered():
            losses = parallel.gathered(self._token_losses(self.encode(own.prompts), own))
        return losses.sum() / (batch.labels != IGNORED).sum()

    def rank(self, users: Tensor, candidates: Tensor) -> Tensor:
        """Log-likelihoods [B, C] of each user's candidates [B, C]; item 0 fills rows up.

        The history is what every model knows before the part that is judged: the part of the candidates that the user
        has met. Candidates that it never met are judged as in the test part.
        """
        device = self.whole_words.weight.device
        pairs = zip(users.tolist(), candidates.tolist(), strict=True)
        prompts = [self._judged_prompt(user, [item for item in row if item]) for user, row in pairs]
        self.trie.to(device)
        scores = [
            self._likelihoods(collate(prompts[rows], self.wording.pad).to(device), candidates[rows].to(device))
            for rows in slices(len(prompts))
        ]
        return torch.cat(scores)

    def user_states(self, batch: Any) -> Tensor:
        """States [B, D] at `state_place`, each from the history before the test part."""
        return self._states_at(self.place, batch)

    @property
    def other_states(self) -> Mapping[str, Callable[[Any], Tensor]]:
        """The same at the other places, which the probe reports beside."""
        return {place: partial(self._states_at, place) for place in PLACES if place != self.place}

    def _states_at(self, place: str, batch: Any) -> Tensor:
        return self.states_of(batch[self.USER_ID].tolist(), "test", place)

    def states_of(self, users: list[int], phase: str, place: str) -> Tensor:
        """States [B, D] of users, from the sequential prompt of what is known before a part."""
        states = []
        with self.steered():
            for rows in slices(len(users)):
                asked = self.prompts_of(users[rows], phase)
                states.append(self.state_at(place, self.encode(asked), asked))
        return torch.cat(states)

    def prompts_of(self, users: list[int], phase: str) -> PromptBatch:
        """Sequential prompts of what is known of users before a part."""
        prompts = [self._sequential(user, self._known(user, phase)) for user in users]
        return collate(prompts, self.wording.pad).to(self.whole_words.weight.device)

    def known_items(self, user: int) -> list[int]:
        """What is known of a user before the test part."""
        items: list[int] = self._known(user, "test").tolist()
        return items

    @property
    def prompt_attackers(self) -> Mapping[str, probing.Attacker]:
        """Attackers of the probe that ask in words (probing.py)."""
        return probing.attackers(self)

    def predict(self, interaction: Any) -> Tensor:
        """Scores of the given pairs."""
        return self.rank(interaction[self.USER_ID], interaction[self.ITEM_ID].unsqueeze(1)).squeeze(1)

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items, [B * I], from the history before the test part."""
        if self.judged_task == "direct":
            raise UsageError("judged_task=direct: lists its candidates in the prompt; not all items can be ranked")
        device, users = self.whole_words.weight.device, interaction[self.USER_ID].tolist()
        self.trie.to(device)
        scores = []
        for rows in slices(len(users)):
            prompts = [self._sequential(user, self._known(user, "test")) for user in users[rows]]
            items = torch.arange(self.n_items, device=device).expand(len(prompts), -1)
            scores.append(self._likelihoods(collate(prompts, self.wording.pad).to(device), items))
        return torch.cat(scores).view(-1)

    def _likelihoods(self, prompts: PromptBatch, candidates: Tensor) -> Tensor:
        with self.steered():
            return log_likelihood(self.language, self.trie, candidates, self.encode(prompts), prompts.mask)

    # --- prompts of users who are judged

    def _judged_prompt(self, user: int, candidates: list[int]) -> Prompt:
        if self.judged_task == "direct":
            template = self.wording.first_template("direct")
            return self.wording.prompter.direct(template, user, candidates, seed=self.order_seed)
        return self._sequential(user, self._known_before_judged(user, candidates))

    def _sequential(self, user: int, history: IntArray) -> Prompt:
        return self.wording.prompter.sequential(self.wording.first_template("sequential"), user, history.tolist())

    def _known_before_judged(self, user: int, candidates: list[int]) -> IntArray:
        lines = self.wording.timelines
        return self._known(user, lines.part_of(user, lines.judged_row(user, candidates)))

    def _known(self, user: int, phase: str) -> IntArray:
        lines = self.wording.timelines
        return lines.items[lines.known_before(user, phase)]

    # --- the language model

    def _language(self, config: Any) -> Any:
        """A row more for every new token; `item_init: svd` starts items where training users put them."""
        language: Any = self.wording.folder.model(self.wording.kind, device="cpu", dtype="float32")
        _set_dropout(language, float(config["dropout_prob"]))
        first, new = self.wording.own_tokens, len(self.wording.new_tokens)
        table = language.get_input_embeddings().weight
        scale = float(table.detach().std())
        if new:
            language.resize_token_embeddings(first + new, mean_resizing=False)
            table = language.get_input_embeddings().weight
            nn.init.normal_(table.data[first:], std=scale)
        if config["item_init"] == "svd":
            if self.wording.names.items != "token":
                raise UsageError("item_init=svd: gives every item's token a vector; set item_token=true")
            _, vectors = interaction_vectors(self.wording.learned(), table.shape[1], scale=scale)
            table.data[self.wording.item_tokens()] = vectors[1:]
        return language


def _set_dropout(model: nn.Module, share: float) -> None:
    """T5 keeps the share in its layers and, for attention, as a number."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = share
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = share  # type: ignore[assignment]
