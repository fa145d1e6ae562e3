"""What a row of a language-model family stands on: the folder of its language model, and the weights of a base run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recbole_fair import storage
from recbole_fair.errors import UsageError
from recbole_fair.language import tiny
from recbole_fair.language.checkpoints import ModelFolder, find

TINY = "tiny"
_WEIGHTS = "language_model."  # what the parameters of the language model are called in a base's checkpoint
# What decides the prompts of a base, beside the keys that every base takes over (`base: true` in keys.yaml): marked
# there, they would change the hash of every base.
_OF_PROMPTS = ("likes", "targets_per_user", "item_text", "user_groups")


def tiny_base(config: Any, row: str, keys: Iterable[str] = ()) -> dict[str, Any]:
    """The base of a family's rows: a tiny model knows nothing before `row` has trained it, a pre-trained one is it."""
    if config["base_llm"] != TINY:
        return {}
    return {"": {"model": row, **{key: config[key] for key in (*_OF_PROMPTS, *keys) if config[key] is not None}}}


def language_folder(config: Any, kind: tiny.TinyKind, texts: Iterable[str]) -> ModelFolder:
    """The folder of `base_llm`; a tiny one is made from these texts, which are the same for a base and its rows."""
    cache = Path(config["cache_dir"]).expanduser() if config["cache_dir"] else storage.default_cache()
    if config["base_llm"] != TINY:
        return find(config["base_llm"], config["llm_revision"], cache=cache)
    sizes = {name: int(config[f"tiny_{name}"]) for name in ("width", "layers", "heads", "vocabulary")}
    return tiny.cached(cache, kind, texts, seed=int(config["seed"]), **sizes)


def load_base(model: nn.Module, folder: Path) -> None:
    """Put the trained weights of a base run into its language model; another shape, name or digest is refused."""
    about = storage.read_json(folder / "model.json")
    tensors, _ = storage.read_tensors(folder / "model.safetensors", str(about.get("sha256")))
    state = {name.removeprefix(_WEIGHTS): value for name, value in tensors.items() if name.startswith(_WEIGHTS)}
    parameters = dict(model.named_parameters())
    if wrong := sorted(name for name in {*state, *parameters} if not _same_shape(name, state, parameters)):
        raise UsageError(f"base={folder}: its language model is of another size or kind ({wrong[0]}); make it again")
    with torch.no_grad():
        for name, value in state.items():
            parameters[name].copy_(value)


def _same_shape(name: str, state: dict[str, Tensor], parameters: dict[str, nn.Parameter]) -> bool:
    return name in state and name in parameters and state[name].shape == parameters[name].shape
