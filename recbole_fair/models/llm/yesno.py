"""A language model that answers whether a user likes an item: CF-Diff, CL-MoE and the other rows of their tables.

One class for all of them; a row's yaml chooses prompt, adapter, copies of a sample, distance and curriculum:

    L = mean over instances of curriculum( CE(copies) + diff_weight * || h^{A_i, B} - h^B || )      Eq. (4)-(19)

Symbols: h the last layer's state at the answer position, A_i a value of the sensitive attributes, B the rest of the
prompt, CE the cross-entropy between the two answer tokens alone. Papers: CL-MoE and CF-Diff (docs/methods.md says where
they leave a choice, and what is chosen).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recbole_fair import parallel
from recbole_fair.data.inputs import inputs_of
from recbole_fair.errors import UsageError
from recbole_fair.groups.variants import NONE, OWN, Variant
from recbole_fair.language.adapters import lora
from recbole_fair.metrics.formulas import BoolArray, IntArray
from recbole_fair.models import losses
from recbole_fair.models.llm import tokenizer_texts
from recbole_fair.models.llm.answering import Answering, NotTrained
from recbole_fair.models.llm.augment import Layout, Recipe
from recbole_fair.models.llm.base import language_folder, tiny_base
from recbole_fair.models.llm.cf_diff import combined, difference, instance_means
from recbole_fair.models.llm.curriculum import Curriculum
from recbole_fair.models.llm.experts import Involved, checkpoint_activations, mixture_of_experts
from recbole_fair.models.llm.pairs import PairBatches, TrainingPairs, training_pairs
from recbole_fair.models.llm.prompts import last_answer
from recbole_fair.models.llm.scoring import PairScorer, answer_states, evaluating, logits_of_states, pad, unwrapped
from recbole_fair.models.llm.virtual_tokens import check_room, position_limit


def base_of_rows(config: Any) -> dict[str, Any]:
    """What the rows stand on; bases.py asks for it."""
    return tiny_base(config, "YesNo-Base")


class YesNo(Answering):
    """Answering, trained on counterfactual copies of each sample (CF-Diff, CL-MoE)."""

    adapters = ("none", "frozen", "lora", "experts")

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.inference = config["inference"]
        texts = tokenizer_texts.of_pairs(config, self.inputs)
        folder = language_folder(config, "causal", texts, self.inputs.item_tokens)
        self._read_texts(config, folder)
        self.language_model, self.involved = self._adapted(config, self._language(config, folder, "causal"))
        limit = position_limit(unwrapped(self.language_model).config)
        check_room(limit, int(config["max_prompt_tokens"]), int(config["cot_tokens"] or 0), "cot_tokens")
        self.recipe = self._recipe(config)
        self.curriculum = (
            Curriculum(float(config["curriculum_lambda"]), float(config["curriculum_delta"]))
            if config["curriculum"]
            else None
        )
        self.weights = {"answer_weight": float(config["answer_weight"]), "diff_weight": float(config["diff_weight"])}
        self.distance = {"distance": config["distance"], "detach_plain": bool(config["detach_plain"])}
        self.scorer = PairScorer(self.language_model, self.answers, max_tokens=int(config["score_tokens"]))
        self._token_ids: dict[int, list[list[int]]] = {}

    # --- how it is built

    def _adapted(self, config: Any, model: Any) -> tuple[nn.Module, Involved | None]:
        """The language model with the adapter that the row trains, and what an attribute router is told."""
        involved = None
        sizes: dict[str, Any] = {
            "rank": int(config["lora_r"]), "alpha": int(config["lora_alpha"]), "dropout": float(config["lora_dropout"]),
        }  # fmt: skip
        if self.adapter == "lora":
            model = lora(model, targets=config["lora_targets"], **sizes)
        elif self.adapter == "experts":
            model, involved = mixture_of_experts(
                model, experts=int(config["num_experts"]), router=config["router"],
                attributes=len(self.inputs.sensitive), targets=config["lora_targets"], **sizes,
            )  # fmt: skip
        if config["activation_checkpointing"] and self.adapter in ("lora", "experts"):
            checkpoint_activations(model, involved)
        return model, involved

    def _recipe(self, config: Any) -> Recipe:
        """Which copies of a sample are trained on."""
        names = self.inputs.sensitive
        if not names:
            raise UsageError("sensitive_attribute: name what prompts say of a user, as in sensitive_attribute=gender")
        values = {name: self.inputs.attributes[name].values for name in names}
        auxiliary = list(names) if config["auxiliary"] == "all" else list(config["auxiliary"] or ())
        if len(names) == 1:
            auxiliary = []  # the sample itself names one
        elif strange := [name for name in auxiliary if name not in names]:
            raise UsageError(
                f"auxiliary: {strange[0]} is none of sensitive_attribute={list(names)}; name those that get samples of"
                f" their own, as in auxiliary=[{names[0]}]"
            )
        return Recipe.of(
            values, counterfactual=bool(config["counterfactual"]), plain=bool(config["difference"]),
            auxiliary=auxiliary,
        )  # fmt: skip

    @classmethod
    def train_loader(cls, config: Any, part: Any) -> PairBatches[TrainingPairs]:
        """Batches of training pairs; prompts are made of them in the model, which has the tokenizer."""
        pairs = training_pairs(config, inputs_of(part).prompts)  # type: ignore[arg-type]
        return PairBatches(part, pairs, int(config["train_batch_size"]), int(config["seed"]))

    # --- how it is trained

    def calculate_loss(self, batch: TrainingPairs) -> Tensor:
        """Eq. (7), weighed by the curriculum, averaged over the instances of the batch."""
        layout = self.recipe.layout(len(batch))
        logits, *states = self._read(batch.some(parallel.share(len(batch))))
        sample, instance = (torch.from_numpy(ids).to(logits.device) for ids in (layout.sample, layout.instance))
        labels = torch.from_numpy(~batch.labels).long().to(logits.device)[sample]  # Yes is 0, No is 1
        answers = losses.cross_entropy(logits, labels)
        count = layout.samples * layout.instances
        apart = None
        if states:
            copies, plain = states
            apart = instance_means(difference(copies, plain, sample, **self.distance), instance, count)
        each = combined(instance_means(answers, instance, count), apart, **self.weights)
        if self.curriculum is None:
            return each.mean()
        weighed: Tensor = self.curriculum(each)
        if self.training:
            self.curriculum.update(weighed.mean())
        return weighed.mean()

    def _read(self, own: TrainingPairs) -> list[Tensor]:
        """The logits [C, 2] of all ranks' copies; where states are compared also theirs [C, d] and the plain [S, d]."""
        layout = self.recipe.layout(len(own))
        states = self._states(own, layout)
        copies, plain = states[: len(layout.sample)], states[len(layout.sample) :]
        logits = logits_of_states(self.language_model, copies, self.answers)
        return [parallel.gathered(rows) for rows in ([logits, copies, plain] if layout.plain else [logits])]

    def _states(self, batch: TrainingPairs, layout: Layout) -> Tensor:
        """The states [rows, d] of the batch's prompts at their answer positions."""
        by_sample = [self._prompts_of(int(user), int(row)) for user, row in zip(batch.users, batch.rows, strict=True)]
        rows = [by_sample[sample][copy] for sample, copy in zip(layout.sample, layout.copy, strict=True)]
        rows += [prompts[-1] for prompts in by_sample] if layout.plain else []
        padded = pad(rows, self.device)
        if self.involved is None:
            return answer_states(self.language_model, padded)
        indicators = torch.from_numpy(layout.indicators(self.inputs.sensitive)).to(self.device)
        with self.involved.using(indicators):
            return answer_states(self.language_model, padded)

    def _prompts_of(self, user: int, row: int) -> list[list[int]]:
        """The prompts of every copy of a sample, the one without attributes last; encoded once a run."""
        if row not in self._token_ids:
            copies = [copy for instance in self.recipe.instances for copy in instance]
            words = [self.prompts.words(user, copy.variant, copy.attributes) for copy in copies]
            self._token_ids[row] = self.prompts.training(user, row, [*words, ()])
        return self._token_ids[row]

    def encode_training(self, pairs: TrainingPairs) -> None:
        """Encode the prompts of training pairs, each once a run."""
        for user, row in zip(pairs.users.tolist(), pairs.rows.tolist(), strict=True):
            self._prompts_of(user, row)

    # --- how it is asked

    def answer(self, users: Tensor, items: Tensor, variant: Variant) -> Tensor:
        """The probability of Yes of each pair [P]; Blind leaves the clause out, Averaged takes the mean over values."""
        if variant == NONE or self.inference == "blind":
            return self._scores(users.numpy(), items.numpy(), NONE)
        if self.inference == "averaged":
            values = {name: self.inputs.attributes[name].values for name in self.inputs.sensitive}
            copies = Recipe.of(values, plain=False).instances[0]
            return torch.stack([self._scores(users.numpy(), items.numpy(), copy.variant) for copy in copies]).mean(0)
        return self._scores(users.numpy(), items.numpy(), variant)

    def repeats(self, users: IntArray, variant: Variant) -> tuple[Variant, BoolArray]:
        """Blind asks every variant as NONE and Averaged as OWN; else a user's own value is given under OWN too."""
        everyone, nobody = np.ones(len(users), dtype=bool), np.zeros(len(users), dtype=bool)
        if self.inference == "blind":
            return NONE, everyone
        if variant in (NONE, OWN):
            return variant, nobody
        if self.inference == "averaged":
            return OWN, everyone
        given = variant.sets()
        if not given.keys() <= set(self.inputs.sensitive):
            return OWN, nobody
        own = [self.inputs.attributes[name].of_user[users] for name in given]
        asked = [self.inputs.attributes[name].values.index(value) for name, value in given.items()]
        return OWN, np.all([mine == value for mine, value in zip(own, asked, strict=True)], axis=0)

    def _scores(self, users: IntArray, items: IntArray, variant: Variant) -> Tensor:
        prompts = self.prompts.judged(users, items, variant)
        if self.involved is None:
            return self.scorer.scores(prompts, users.tolist())
        named = self.prompts.names(variant)
        row = torch.tensor([[float(name in named) for name in self.inputs.sensitive]], device=self.device)
        involved = self.involved
        return self.scorer.scores(prompts, users.tolist(), lambda rows: involved.using(row.expand(len(rows), -1)))


class Untrained(NotTrained, YesNo):
    """The base as it is, under another prompt or asked in another way."""


class ChainOfThought(Untrained):
    """CoT: the model writes its reasons first, and the last Yes or No of its text is the answer; without one, No."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.new_tokens, self.batch = int(config["cot_tokens"]), int(config["eval_batch_prompts"])
        self.unanswered = 0  # texts without an answer in the evaluation at hand

    def count_anew(self) -> None:
        """An evaluation begins."""
        super().count_anew()
        self.unanswered = 0

    def judged_counts(self) -> dict[str, int]:
        """And how many texts held no answer."""
        return {**super().judged_counts(), "unanswered": self.unanswered}

    def _scores(self, users: IntArray, items: IntArray, variant: Variant) -> Tensor:
        prompts = self.prompts.judged(users, items, variant)
        batches = (prompts[start : start + self.batch] for start in range(0, len(prompts), self.batch))
        return torch.tensor([answer for batch in batches for answer in self._written(batch)])

    def _written(self, prompts: list[list[int]]) -> list[float]:
        """1 for Yes, 0 for No, of texts that are generated greedily; padded on the left, where generation begins."""
        longest = max(map(len, prompts))
        model: Any = self.language_model
        ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts], device=self.device)
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        with evaluating(model):
            texts = model.generate(
                input_ids=ids, attention_mask=mask.to(self.device), max_new_tokens=self.new_tokens, do_sample=False,
                pad_token_id=0, repetition_penalty=1.0,  # a checkpoint's generation_config.json may have another
            )  # fmt: skip
        yes, no = self.template.yes, self.template.no
        answers = [last_answer(self.tokenizer.decode(text[longest:].tolist()), yes, no) for text in texts]
        self.unanswered += sum(answer is None for answer in answers)
        return [float(bool(answer)) for answer in answers]
