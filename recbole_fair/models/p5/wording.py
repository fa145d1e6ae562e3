"""How the users and items of a data set are written for a language model: tokenizer, names, templates.

Item and user tokens are no words of the tokenizer: their ids follow the model's own vocabulary, and the model gets as
many rows more in its embedding. So a model from the hub and a tiny one are treated alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from recbole_fair import storage
from recbole_fair.data.identity import PHASES
from recbole_fair.data.inputs import inputs_of
from recbole_fair.data.prompts import Timelines
from recbole_fair.errors import UsageError
from recbole_fair.language import checkpoints, tiny
from recbole_fair.language.checkpoints import ModelFolder
from recbole_fair.language.loading import ModelKind
from recbole_fair.metrics.formulas import IntArray
from recbole_fair.models.p5.indexing import Names, Words, sequential_numbers
from recbole_fair.models.p5.prompts import Prompter, Template, read_templates

TASKS = ("sequential", "direct")
_TINY: dict[str, tiny.TinyKind] = {"tiny": "seq2seq", "tiny-causal": "causal"}
_TRAIN = PHASES.index("train")


class Wording:
    """The names, words and templates of one run; the same configuration and data give the same."""

    def __init__(self, config: Any, timelines: Timelines, users: int, items: int) -> None:
        self.timelines, self.users, self.items = timelines, users, items
        self.templates = read_templates(config["p5_prompts"])
        self.names = Names(
            sequential_numbers(self.learned_histories(), items),
            users="token" if config["user_token"] else "digits",
            items="token" if config["item_token"] else "digits",
        )
        self.folder = _folder(config, self.templates)
        self.kind = _kind(self.folder)
        self.own_tokens = int(self.folder.config().vocab_size)  # the model's, before users and items
        self.new_tokens = {token: self.own_tokens + place for place, token in enumerate(self.names.new_tokens(users))}
        tokenizer: Any = self.folder.tokenizer()
        end = (int(tokenizer.eos_token_id),)
        self.pad = end[0] if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)  # LLaMA has none
        self._encode = tokenizer.encode
        # Ids of one token each are equally long, and none is the beginning of another.
        self.words = Words(self._tokens, unknown=tokenizer.unk_token_id, end=() if self.names.items == "token" else end)
        self.prompter = Prompter(
            self.words, self.names, longest=config["max_length"], most_history=config["max_history"], end=end
        )

    @classmethod
    def of(cls, config: Any, dataset: Any) -> Wording:
        """The wording of the data set that RecBole hands to a model."""
        prompts = inputs_of(dataset).prompts
        if prompts is None:
            raise UsageError("P5 is made of what prompts may say; build it in a run, which brings that")
        return cls(config, prompts.timelines, dataset.user_num, dataset.item_num)

    def learned_histories(self) -> list[list[int]]:
        """The training items of every user in their order; nobody's (user 0) are none."""
        lines = self.timelines
        rows = [np.arange(*lines.rows(user).indices(len(lines.items))) for user in range(self.users)]
        return [lines.items[own[lines.phases[own] == _TRAIN]].tolist() for own in rows]

    def learned(self) -> csr_matrix:
        """Training interactions [U, I], 1 where there is one."""
        histories = self.learned_histories()
        users = np.repeat(np.arange(self.users), [len(history) for history in histories])
        items = np.concatenate([np.asarray(history, dtype=np.int64) for history in histories])
        matrix = csr_matrix((np.ones(len(users)), (users, items)), shape=(self.users, self.items))
        matrix.data[:] = 1.0  # an item met twice is met
        return matrix

    def item_tokens(self) -> IntArray:
        """The token [I - 1] of each item from 1 on, where items are one token each."""
        return np.array([self.words.tokens(self.names.item(item))[0] for item in range(1, self.items)])

    def first_template(self, task: str) -> Template:
        """The template by which users are judged."""
        return self.of_task(task)[0]

    def of_task(self, task: str) -> tuple[Template, ...]:
        """The templates of a task; a task without any is refused."""
        if task not in self.templates:
            raise UsageError(f"p5_prompts: has no templates of the kind {task}; it has {', '.join(self.templates)}")
        return self.templates[task]

    def _tokens(self, word: str) -> list[int]:
        if word in self.new_tokens:
            return [self.new_tokens[word]]
        tokens: list[int] = self._encode(f" {word}", add_special_tokens=False)
        return tokens


def tasks_of(config: Any) -> list[str]:
    """The kinds of prompts to learn from; anything but sequential and direct is refused."""
    named = config["p5_tasks"]
    tasks = [named] if isinstance(named, str) else list(named)
    if not tasks or set(tasks) - set(TASKS):
        raise UsageError(f"p5_tasks={named!r}: name one or both of {', '.join(TASKS)}")
    return tasks


def _kind(folder: ModelFolder) -> ModelKind:
    """seq2seq or causal, as the model's configuration says."""
    config = folder.config()
    if config.is_encoder_decoder and folder.model_type != "t5":
        raise UsageError(f"base_llm={folder.name!r}: is a {folder.model_type}; with an encoder P5 takes a t5 alone")
    return "seq2seq" if config.is_encoder_decoder else "causal"


def _folder(config: Any, templates: dict[str, tuple[Template, ...]]) -> ModelFolder:
    """The model named by `base_llm`; tiny ones have random weights, and a tokenizer that spells numbers in digits."""
    if config["base_llm"] not in _TINY:
        return checkpoints.find(config["base_llm"])
    cache = storage.cache_folder(config["cache_dir"])
    # No number is among the texts, so no two digits become one token.
    texts = [" ".join(template.words) for kind in sorted(templates) for template in templates[kind]]
    return tiny.cached(
        cache,
        _TINY[config["base_llm"]],
        [*texts, " user"],
        seed=int(config["seed"]),
        width=int(config["tiny_width"]),
        layers=int(config["tiny_layers"]),
        heads=int(config["tiny_heads"]),
        vocabulary=600,
        positions=int(config["max_length"]),
    )
