"""What language models that answer pairs by Yes or No share: texts, base, and what a run says of its prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from recbole_fair.data.inputs import inputs_of
from recbole_fair.errors import UsageError
from recbole_fair.groups.variants import OWN, Variant
from recbole_fair.host import GeneralRecommender, InputType, ModelType
from recbole_fair.language.answer_words import answer_tokens
from recbole_fair.language.checkpoints import ModelFolder
from recbole_fair.models.frozen import load_frozen
from recbole_fair.models.llm.pairs import PairBatches, PairPrompts, TrainingPairs
from recbole_fair.models.llm.prompts import CutCount, PromptEncoder, read_template
from recbole_fair.models.llm.scoring import AnswerTokens


class Answering(GeneralRecommender):
    """A recommender whose score of a pair is the probability that a language model answers Yes.

    A subclass gives `answer` and `encode_training`.
    """

    input_type = InputType.POINTWISE
    reads_prompts = True
    scores_new_users = True
    trains_in_parallel = True  # its loss reads the rows of all ranks (parallel.py)
    adapters: ClassVar[tuple[str, ...]]  # the values of `adapter` that it takes

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        inputs = inputs_of(dataset)
        assert inputs.prompts is not None, "the runner gives prompts to a model that reads them"
        self.inputs, self.base_folder = inputs.prompts, inputs.bases.get("")
        self.adapter: str = config["adapter"]
        if self.adapter not in self.adapters:
            raise UsageError(f"adapter={self.adapter}: {config.name} takes {', '.join(self.adapters)}")
        self.template = read_template(config["prompt_template"])

    def _language(self, config: Any, folder: ModelFolder, kind: Any) -> Any:
        """The language model with the weights of its base run; only a row without adapter trains it."""
        model: Any = folder.model(kind, device="cpu", dtype=config["llm_dtype"], attention=config["llm_attention"])
        if self.base_folder is not None:
            load_frozen(model, Path(self.base_folder), "language_model")
        return model.requires_grad_(self.adapter == "none")

    def _read_texts(self, config: Any, folder: ModelFolder, ending: int = 0) -> None:
        """The tokenizer: prompts, which leave room for an `ending` of so many tokens, and the two answers."""
        self.tokenizer: Any = folder.tokenizer()
        encoder = PromptEncoder(
            self.tokenizer, self.template, budget=int(config["max_prompt_tokens"]) - ending, chat=config["chat"],
            item_type=config["item_type"],
        )  # fmt: skip
        self.prompts = PairPrompts(config, self.inputs, encoder)
        space = "" if encoder.chat else " "
        words = f"{space}{self.template.yes}", f"{space}{self.template.no}"
        self.answers = AnswerTokens(*answer_tokens(self.tokenizer, *words))

    def answer(self, users: Tensor, items: Tensor, variant: Variant) -> Tensor:
        """The probability of Yes of each pair [P]."""
        raise NotImplementedError

    def rank(self, users: Tensor, candidates: Tensor) -> Tensor:
        """Scores [B, C] of candidates under each user's own values."""
        return self.rank_under(users, candidates, OWN)

    def rank_under(self, users: Tensor, candidates: Tensor, variant: Variant) -> Tensor:
        """Scores [B, C] of candidates by the probability of Yes."""
        real = candidates > 0
        owners = users.unsqueeze(1).expand_as(candidates)[real]
        scores = torch.zeros(candidates.shape)
        scores[real] = self.answer(owners, candidates[real], variant)
        return scores

    # --- what it says of its prompts

    @property
    def wordings(self) -> int:
        """How many ways there are to word the attributes."""
        return self.prompts.wordings

    @property
    def wording(self) -> int:
        """Which of them prompts use."""
        return self.prompts.wording

    @wording.setter
    def wording(self, wording: int) -> None:
        self.prompts.wording = wording

    def encode_training(self, pairs: Any) -> None:
        """Encode the prompts of training pairs, each once a run."""
        raise NotImplementedError

    def training_counts(self, pairs: TrainingPairs) -> dict[str, int]:
        """How many pairs are learnt from, with how many planted labels, and what was left out and cut for it."""
        self.encode_training(pairs)
        return {
            "training": len(pairs),
            "training_left_out": len(self.inputs.timelines.learnt()) - len(np.unique(pairs.rows)),
            "planted_flips": int(pairs.flipped.sum()),
            **_of_cuts("training", self.prompts.cut["training"]),
        }

    def count_anew(self) -> None:
        """An evaluation begins: forget the counts of the one before."""
        self.prompts.cut["judged"] = CutCount()

    def judged_counts(self) -> dict[str, int]:
        """What the latest evaluation asked, over all variants."""
        return _of_cuts("judged", self.prompts.cut["judged"])

    def of_groups(self) -> dict[tuple[str, str], dict[str, float]]:
        """By grouping and group, what groups.csv shows of them beside the figures."""
        return {}


class NotTrained(Answering):
    """A row that answers by its base as it is, by RecBole's convention for models without training."""

    type = ModelType.TRADITIONAL
    trains_in_parallel = False

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.fake_loss = nn.Parameter(torch.zeros(1))

    def calculate_loss(self, _: Any) -> Any:
        """Nothing to learn."""
        return self.fake_loss.sum()

    @classmethod
    def train_loader(cls, _: Any, part: Any) -> PairBatches[Any]:
        """One batch, which nobody reads."""
        row, no = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=bool)
        return PairBatches(part, TrainingPairs(row, row, no, no), 1, 0)

    def training_counts(self, _: Any) -> dict[str, int]:
        """Nothing is learnt."""
        return {}


def _of_cuts(what: str, cut: CutCount) -> dict[str, int]:
    return {
        f"{what}_prompts": cut.prompts,
        f"{what}_shortened": cut.shortened,
        f"{what}_items_cut": cut.items,
        f"{what}_without_history": cut.without_history,
    }
