"""MoS and the rows it is compared with: a frozen language model that answers Yes or No, and what is tuned beside it.

    L = L_rec + fair_loss_weight L_fair + div_weight L_div                      Eq. (14)

L_rec is the cross-entropy between the two answer tokens. A row's yaml chooses what is tuned (`adapter`), what stands
for L_fair (`fair_loss`) and what the training prompts say of the user (`stereotype_prompt`). Footnote of Table 4:
IFairLRS, UP5 and FaiRLLM replace L_fair in L, so they tune MoS's soft prompt.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recbole_fair import parallel
from recbole_fair.data.inputs import inputs_of
from recbole_fair.errors import UsageError
from recbole_fair.groups.variants import NONE, OWN, Variant, carried
from recbole_fair.language import adapters
from recbole_fair.metrics.formulas import BoolArray, IntArray
from recbole_fair.models import losses
from recbole_fair.models.llm import fair_losses, tokenizer_texts
from recbole_fair.models.llm.answering import Answering, NotTrained
from recbole_fair.models.llm.base import language_folder, tiny_base
from recbole_fair.models.llm.pairs import PairBatches
from recbole_fair.models.llm.scoring import SharedPrefix, batches, check_head, pad, unwrapped
from recbole_fair.models.llm.soft_prompt import ExpertShares, MixtureOfStereotypes, SoftPrompt, masked_mean
from recbole_fair.models.llm.stereotype_prompts import (
    StereotypePairs,
    asked,
    attribute_of,
    kinds_of,
    stereotypes_of,
)
from recbole_fair.models.llm.virtual_tokens import (
    Embedded,
    check_room,
    logits_after,
    position_limit,
    prepend,
    states_of,
)

_TARGETS = {"seq2seq": ("q", "v"), "causal": ("q_proj", "v_proj")}  # of LoRA, as TALLRec has it


def base_of_rows(config: Any) -> dict[str, Any]:
    """What the rows stand on; bases.py asks for it. The stereotypes decide the labels that are planted."""
    return tiny_base(config, "MoS-Base", ("wording", "sf_z", "sf_d"))


class MoS(Answering):
    """Answering, with something tuned beside a frozen model (MoS and its baselines)."""

    adapters = ("none", "frozen", "mos", "prompt_tuning", "p_tuning", "lora")

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.attribute = attribute_of(config, self.inputs)
        texts = tokenizer_texts.of_items(config, self.inputs)
        folder = language_folder(config, config["backbone"], texts, self.inputs.item_tokens)
        self.language_model = self._adapted(config, self._language(config, folder, config["backbone"]))
        encodes = self.bare.config.is_encoder_decoder
        self._read_texts(config, folder, ending=int(encodes))
        if not encodes:
            check_head(self.bare, self.answers)
        self.ending = [self.tokenizer.eos_token_id] if encodes else []  # as T5 was trained
        self.words = self._router_words(int(config["wording"]))
        self._token_ids: dict[tuple[int, Variant], list[int]] = {}
        self.mixture = _mixture(config, self.bare) if self.adapter == "mos" else None
        self.shares = ExpertShares(self.attribute.values, int(config["num_experts"]))
        limit = position_limit(self.bare.config)
        check_room(limit, int(config["max_prompt_tokens"]), self._virtual(config), "virtual_tokens")
        self._prepare_losses(config)
        self.score_tokens = int(config["score_tokens"])

    # --- how it is built

    def _router_words(self, wording: int) -> list[list[int]]:
        """The token ids of each value's words, which the router reads."""
        words = [f" {self.attribute.worded(value, wording)}" for value in self.attribute.values]
        return [self.tokenizer.encode(word, add_special_tokens=False, split_special_tokens=True) for word in words]

    def _adapted(self, config: Any, model: Any) -> nn.Module:
        """The language model with PEFT's part in it, for the rows that have one."""
        tokens = int(config["virtual_tokens"])
        if self.adapter == "prompt_tuning":
            return adapters.prompt_tuning(model, tokens=tokens)
        if self.adapter == "p_tuning":
            return adapters.p_tuning(model, tokens=tokens, hidden=int(config["p_tuning_hidden"]))
        if self.adapter == "lora":
            return adapters.lora(
                model, rank=int(config["lora_r"]), alpha=int(config["lora_alpha"]),
                dropout=float(config["lora_dropout"]), targets=config["lora_targets"] or _TARGETS[config["backbone"]],
            )  # fmt: skip
        return model

    @property
    def bare(self) -> Any:
        """The language model itself, inside PEFT's wrapper where there is one."""
        return unwrapped(self.language_model)

    def _virtual(self, config: Any) -> int:
        return int(config["virtual_tokens"]) if self.adapter in ("mos", "prompt_tuning", "p_tuning") else 0

    def _prepare_losses(self, config: Any) -> None:
        """The stereotypes that L_fair reads, its running sums, and the weights of IFairLRS."""
        self.fair_loss, self.fair_weight = config["fair_loss"], float(config["fair_loss_weight"])
        self.div, self.div_weight = (config["div"], float(config["div_margin"])), float(config["div_weight"])
        self.measure = config["fairllm"]
        self.histories = stereotypes_of(config, self.inputs)
        self.kind = kinds_of(config)[0]
        if self.fair_loss == "up5" and not config.choice.model.trained_by:
            raise UsageError(f"fair_loss=up5: needs an adversary, which {config.name} lacks; take model=UP5-Loss")
        if self.fair_loss != "up5" and config.choice.model.trained_by:
            raise UsageError(f"fair_loss={self.fair_loss}: {config.name} has its adversary for L_fair; take model=MoS")
        if self.fair_loss == "sf":
            groups, kinds = len(self.histories.groups.names), len(kinds_of(config))
            self.running = fair_losses.RunningSF(groups, kinds, float(config["sf_decay"]))
        if self.fair_loss == "ifairlrs":
            self.item_weights = self._ifairlrs_weights(asked(config, self.inputs))

    def _ifairlrs_weights(self, prompts: StereotypePairs) -> Tensor:
        """IFairLRS's weight of each item's group, [I], over the run's training prompts; groups are the stereotypes."""
        lines = self.inputs.timelines
        targets = lines.items[prompts.rows]
        shown = [self.prompts.shown(int(user), int(row)) for user, row in zip(prompts.users, prompts.rows, strict=True)]
        history = lines.items[np.concatenate(shown)]
        if not len(history):
            raise UsageError("fair_loss=ifairlrs: no training prompt has a history to weigh by; raise history_length")
        weights = np.ones(self.n_items)
        weights[targets] = fair_losses.ifairlrs_weights(history, targets, self.histories.member)
        return torch.from_numpy(weights).float()

    @classmethod
    def train_loader(cls, config: Any, part: Any) -> PairBatches[Any]:
        """Batches of training prompts; the model, which has the tokenizer, writes them."""
        inputs = inputs_of(part).prompts
        assert inputs is not None, "the runner gives prompts to a model that reads them"
        return PairBatches(part, asked(config, inputs), int(config["train_batch_size"]), int(config["seed"]))

    # --- how it is trained

    def train(self, mode: bool = True) -> MoS:
        """What is frozen stays as it is judged, without dropout; LoRA's own dropout is the row's."""
        super().train(mode)
        if self.adapter != "none":
            self.bare.eval()
            for name, module in self.bare.named_modules():
                if "lora_dropout" in name:
                    module.train(mode)
        return self

    def calculate_loss(self, batch: StereotypePairs) -> dict[str, Tensor]:
        """The parts of Eq. (14)."""
        logits = self._answered(batch, batch.values)
        answers = torch.from_numpy(~batch.labels).long().to(logits.device)  # Yes is 0, No is 1
        each = losses.cross_entropy(logits, answers)
        parts = {"rec": self._recommending(each, batch)}
        if self.fair_loss in ("sf", "fairllm"):
            yes = logits.softmax(-1)[:, 0]
            fair = self._sf(yes, batch) if self.fair_loss == "sf" else self._fairllm(batch)
            parts["fair"] = self.fair_weight * fair
        if self.mixture is not None and self.div_weight:
            parts["div"] = self.div_weight * parallel.once(self.mixture.diversity(*self.div))
        return parts

    def _recommending(self, each: Tensor, batch: StereotypePairs) -> Tensor:
        if self.fair_loss != "ifairlrs":
            return each.mean()
        items = torch.from_numpy(self.inputs.timelines.items[batch.rows])
        return fair_losses.ifairlrs(each, self.item_weights[items].to(each.device))

    def _sf(self, yes: Tensor, batch: StereotypePairs) -> Tensor:
        """|SF| over running sums (Eq. 12)."""
        terms = self.histories.pair_terms(batch.users, self.inputs.timelines.items[batch.rows])
        above, below = (torch.from_numpy(part).to(yes) for part in terms)
        fair: Tensor = self.running(yes, above, below, torch.from_numpy(batch.kinds).to(yes.device))
        return fair

    def _fairllm(self, batch: StereotypePairs) -> Tensor:
        """The disparity of the answers to the batch's pairs with each value of the attribute, against none."""
        values = range(-1, len(self.attribute.values))
        neutral, *given = [self._yes(batch, np.full(len(batch), value)) for value in values]
        return fair_losses.fairllm(neutral, torch.stack(given), self.measure)

    def _yes(self, batch: StereotypePairs, values: IntArray) -> Tensor:
        return self._answered(batch, values).softmax(-1)[:, 0]

    def _answered(self, batch: StereotypePairs, values: IntArray) -> Tensor:
        """The logits [B, 2] of a batch's prompts, each carrying the value in its place; a rank reads its share."""
        own = parallel.share(len(batch))
        return parallel.gathered(self._logits(self._embedded(self._written(batch.some(own), values[own]))))

    def attacked(self, batch: StereotypePairs) -> tuple[Tensor, Tensor]:
        """What UP5's adversary reads: mean states [B, d] of the prompts, and the users' own values [B], -1 unknown."""
        read = self._embedded(self._written(batch, batch.values))
        states = states_of(self.bare)(*read)
        own = torch.from_numpy(self.attribute.of_user[batch.users])
        return masked_mean(states, read.mask), own.to(states.device)

    @property
    def attacked_shape(self) -> tuple[int, int]:
        """The width of such a state, and how many values the attribute has."""
        return self.bare.get_input_embeddings().weight.shape[1], len(self.attribute.values)

    def _written(self, batch: StereotypePairs, values: IntArray) -> list[list[int]]:
        """The prompts of a batch, each carrying the value in its place; encoded once a run."""
        places = zip(batch.users.tolist(), batch.rows.tolist(), values.tolist(), strict=True)
        return [self._prompt(user, row, self.variant(value)) for user, row, value in places]

    def variant(self, value: int) -> Variant:
        """The variant of a prompt that carries a value of the attribute."""
        return NONE if value < 0 else Variant(self.attribute.name, self.attribute.values[value])

    def _prompt(self, user: int, row: int, variant: Variant) -> list[int]:
        if (row, variant) not in self._token_ids:
            (self._token_ids[row, variant],) = self.prompts.training(user, row, [self.prompts.words(user, variant)])
        return self._token_ids[row, variant]

    def encode_training(self, pairs: StereotypePairs) -> None:
        """Encode the prompts of training pairs, each once a run."""
        self._written(pairs, pairs.values)

    # --- what the language model reads

    def _embedded(self, prompts: list[list[int]]) -> Embedded:
        """The prompts' token embeddings, behind the virtual tokens of the rows that have some (Eq. 10)."""
        padded = pad([[*prompt, *self.ending] for prompt in prompts], self.device)
        embeddings = self.bare.get_input_embeddings()(padded.ids)
        if self.mixture is not None:
            return prepend(self.soft_prompt(embeddings, padded.mask).tokens, embeddings, padded.mask)
        if self.adapter in ("prompt_tuning", "p_tuning"):
            return prepend(self._tuned_tokens(), embeddings, padded.mask)
        return Embedded(embeddings, padded.mask)

    def soft_prompt(self, embeddings: Tensor, mask: Tensor) -> SoftPrompt:
        """MoS's soft prompts; the stereotypes' words reach its router alone."""
        assert self.mixture is not None, f"adapter={self.adapter} has no experts"
        table = self.bare.get_input_embeddings()
        words = [table(torch.tensor(word, device=self.device)) for word in self.words]
        soft: SoftPrompt = self.mixture(embeddings, mask, words, states_of(self.bare))
        if not self.training:
            self.shares.add(soft.chosen)
        return soft

    def _tuned_tokens(self) -> Tensor:
        """PEFT's virtual tokens [k, d]: a T5's encoder reads the first half, the other is there for its decoder."""
        model: Any = self.language_model
        tokens: Tensor = model.get_prompt(1)[0]
        return tokens[: model.active_peft_config.num_virtual_tokens]

    def _logits(self, read: Embedded) -> Tensor:
        return logits_after(self.bare, read, self.answers).float()

    # --- how it is asked

    def in_use(self, users: IntArray) -> IntArray:
        """Which value of the attribute the prompts of users [P] carry under OWN: as the run's first kind has it."""
        return carried(self.kind, self.attribute.of_user[users], len(self.attribute.values))

    def repeats(self, users: IntArray, variant: Variant) -> tuple[Variant, BoolArray]:
        """OWN asks as the run's prompts do: of whom nothing is told as NONE, of others as their value given to all."""
        values = self.in_use(users)
        if variant == OWN:
            return NONE, values < 0
        if variant.attribute != self.attribute.name:
            return OWN, np.zeros(len(users), dtype=bool)
        return OWN, values == self.attribute.values.index(variant.value)

    @torch.no_grad()
    def answer(self, users: Tensor, items: Tensor, variant: Variant) -> Tensor:
        """The probability of Yes of each pair [P]; under OWN its prompt is of the kind that the run trains on."""
        if variant != OWN:
            return self._answer(users, items, variant)
        values = torch.from_numpy(self.in_use(users.cpu().numpy()))
        scores = torch.empty(len(users))
        for value in sorted(set(values.tolist())):
            told = values == value
            scores[told] = self._answer(users[told], items[told], self.variant(value))
        return scores

    def _answer(self, users: Tensor, items: Tensor, variant: Variant) -> Tensor:
        prompts = self.prompts.judged(users.cpu().numpy(), items.cpu().numpy(), variant)
        scores = torch.empty(len(prompts))
        for parts in batches(prompts, [SharedPrefix((place,), 0) for place in range(len(prompts))], self.score_tokens):
            places = [part.rows[0] for part in parts]
            logits = self._logits(self._embedded([prompts[place] for place in places]))
            scores[places] = logits.softmax(-1)[:, 0].cpu()
        return scores

    def count_anew(self) -> None:
        """An evaluation begins."""
        super().count_anew()
        self.shares = ExpertShares(self.attribute.values, self.shares.counts.shape[1])

    def of_groups(self) -> dict[tuple[str, str], dict[str, float]]:
        """How often the prompts with each group's word met each expert in the latest evaluation."""
        if self.mixture is None or not self.shares.counts.any():
            return {}
        return {
            (self.attribute.name, group): {f"expert_{n}": share for n, share in enumerate(shares, 1)}
            for group, shares in self.shares.by_group().items()
        }


class Blind(NotTrained, MoS):
    """MoS-Blind, a control: the base as it is, whose prompts never name a group; nothing is trained."""

    def in_use(self, users: IntArray) -> IntArray:
        """No value, whatever the run's kind of prompts."""
        return np.full(len(users), -1)

    def repeats(self, users: IntArray, variant: Variant) -> tuple[Variant, BoolArray]:
        """Every variant is NONE, for everyone."""
        return NONE, np.ones(len(users), dtype=bool)

    def answer(self, users: Tensor, items: Tensor, _: Variant) -> Tensor:
        """The probability of Yes of each pair [P], whatever the variant."""
        return super().answer(users, items, NONE)


def _mixture(config: Any, model: Any) -> MixtureOfStereotypes:
    """Router, reweighting and experts, which begin at words of the language model."""
    table = model.get_input_embeddings().weight
    mixture = MixtureOfStereotypes(
        table.shape[1], int(config["num_experts"]), int(config["virtual_tokens"]), expert=config["expert"],
        rank=int(config["expert_rank"]), routing=config["routing"], router_gradient=config["router_gradient"],
        router_input=config["router_input"], reweighting=bool(config["reweighting"]),
    )  # fmt: skip
    mixture.start_at_words(table)
    return mixture
