"""What a row of a language-model family stands on: the base that it asks for, and the folder of its language model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from recbole_fair import storage
from recbole_fair.errors import UsageError
from recbole_fair.language import tiny
from recbole_fair.language.checkpoints import ModelFolder, find

TINY = "tiny"
# What decides the prompts of a base, beside the keys that every base takes over (`base: true` in keys.yaml): marked
# there, they would change the hash of every base.
_OF_PROMPTS = ("likes", "targets_per_user", "item_text", "user_groups")


def tiny_base(config: Any, row: str, keys: Iterable[str] = ()) -> dict[str, Any]:
    """The base of a family's rows: a tiny model knows nothing before `row` has trained it, a pre-trained one is it."""
    if config["base_llm"] != TINY:
        return {}
    return {"": {"model": row, **{key: config[key] for key in (*_OF_PROMPTS, *keys) if config[key] is not None}}}


def language_folder(config: Any, kind: tiny.TinyKind, texts: Iterable[str], names: Sequence[str] = ()) -> ModelFolder:
    """The folder of `base_llm`; a tiny one is made from these texts, which are the same for a base and its rows.

    `names` are the items' where they are no titles (`item_words: tokens`): only a tiny one gets tokens of its own.
    """
    cache = storage.cache_folder(config["cache_dir"])
    if config["base_llm"] != TINY:
        if names:
            raise UsageError(f"item_words=tokens: {config['base_llm']} has no tokens for items; take titles")
        return find(config["base_llm"], config["llm_revision"], cache=cache)
    sizes = {name: int(config[f"tiny_{name}"]) for name in ("width", "layers", "heads", "vocabulary")}
    return tiny.cached(cache, kind, texts, seed=int(config["seed"]), names=list(names), **sizes)
