"""What a tiny tokenizer is trained on: prompts of its base's template, each with an answer.

All training interactions, however few a row learns from: a row of fewer prompts then speaks its base's tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from recbole_fair.data.identity import PHASES
from recbole_fair.data.prompts import PromptInputs
from recbole_fair.groups.variants import OWN
from recbole_fair.models.llm.pairs import training_pairs
from recbole_fair.models.llm.prompts import Rated, read_template, select_history, write

_MOST_TEXTS = 5000  # a tiny tokenizer has learnt its 2,000 tokens long before


def of_pairs(config: Any, inputs: PromptInputs) -> Iterator[str]:
    """The base's training prompts with either answer, and every word for an attribute, of which rows may add some."""
    template, lines = read_template(config["base_template"]), inputs.timelines
    pairs = training_pairs(config.replaced(max_train_prompts=None), inputs)
    for user, row in zip(pairs.users.tolist(), pairs.rows.tolist(), strict=True):
        before = lines.before(user, row)
        chosen = before[select_history(lines.liked[before], config["history"], int(config["history_length"]))]
        history = [Rated(inputs.titles[lines.items[place]], bool(lines.liked[place])) for place in chosen]
        words = [word for _, word in inputs.clause(user, OWN)]
        text = write(template, history, inputs.targets[lines.items[row]], words, config["item_type"])
        yield from (f"{text}{template.output} {answer}" for answer in (template.yes, template.no))
    yield from _attribute_words(inputs)


def of_items(config: Any, inputs: PromptInputs) -> Iterator[str]:
    """For each item of the training part a short prompt with either answer."""
    template, lines, words = read_template(config["base_template"]), inputs.timelines, _attribute_words(inputs)
    items = np.unique(lines.items[lines.phases == PHASES.index("train")])
    for place, item in enumerate(items[:: math.ceil(len(items) / _MOST_TEXTS)].tolist()):
        title, target, liked = inputs.titles[item], inputs.targets[item], place % 2 == 0
        text = write(template, [Rated(title, liked)], target, [words[place % len(words)]] if words else [])
        yield f"{template.input}{text}{template.output} {template.yes if liked else template.no}"


def _attribute_words(inputs: PromptInputs) -> list[str]:
    return [word for one in inputs.attributes.values() for wording in one.wordings for word in wording]
