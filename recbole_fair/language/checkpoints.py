"""A language model by its name: found on this machine or the hub, checked, and loaded from one folder.

Every name is first resolved to a folder on this disk, and only that folder is read. So one module decides what is
downloaded (safetensors and text files, never pickles or code), an unreachable hub is noticed once and within seconds
instead of being retried file by file, and log and cache keys can name what was really used.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_fair import storage
from recbole_fair.errors import UsageError
from recbole_fair.language import hub, minilm, sentence_modules
from recbole_fair.language.packaged import ALL, MINILM, SMOLLM2
from recbole_fair.language.refusals import refusals
from recbole_fair.language.weights import SHARDS, WEIGHTS, digest, has_weights
from recbole_fair.storage import RECORD_BYTES, read_text

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from recbole_fair.language.loading import ModelKind


@dataclass(frozen=True)
class ModelFolder:
    """A model's folder on this disk, its name, its origin, and its commit if the hub gave one."""

    name: str
    folder: Path
    source: str
    commit: str = ""

    @cached_property
    def version(self) -> str:
        """What tells this copy from another of the same name: the hub's commit, else a digest of its files."""
        return self.commit or f"sha256:{digest(self.folder)}"

    @cached_property
    def model_type(self) -> str:
        """The architecture that config.json names, such as qwen2; empty if it names none."""
        path = self.folder / "config.json"
        if not path.is_file():
            return ""
        with refusals(str(path)):
            return str(json.loads(read_text(path, RECORD_BYTES)).get("model_type", ""))

    @cached_property
    def modules(self) -> list[dict[str, str]]:
        """The sentence-transformers modules in their order; empty for a plain language model."""
        return sentence_modules.read_modules(self.folder)

    def config(self) -> Any:
        """The model's configuration, read without its weights."""
        from recbole_fair.language.loading import load_config

        return load_config(self)

    def tokenizer(self, *, parse_special: bool = False) -> PreTrainedTokenizerBase:
        """The model's tokenizer, which by default reads "<eos>" in a text as five ordinary characters.

        Prompts hold titles, and a title must not end a prompt. Special tokens are put between texts by their ids.
        `parse_special` is the library's own default.
        """
        from recbole_fair.language.loading import load_tokenizer

        return load_tokenizer(self, parse_special)

    def model(self, kind: ModelKind, *, device: str, dtype: str, attention: str | None = None) -> PreTrainedModel:
        """The model in evaluation mode: with its output layer ("causal", "seq2seq") or without ("backbone").

        `dtype` is "auto" (as stored) or the name of a torch type, `attention` a name that transformers knows or that
        was registered there. What does not fit into the free memory is refused before it is read.
        """
        from recbole_fair.language.loading import load_model

        return load_model(self, kind, device, dtype, attention)

    def sentence_transformer(self, *, device: str, dtype: str) -> SentenceTransformer:
        """The sentence-transformers model in evaluation mode, with its own pooling."""
        from recbole_fair.language.loading import load_sentence_transformer

        return load_sentence_transformer(self, device, dtype)


def find(name: str, revision: str | None = None, *, cache: Path | None = None) -> ModelFolder:
    """Find a model: a local folder, the hub's cache, the pip package of its weights, then the hub.

    A package goes before the hub because asking the hub costs a network; an explicit `revision` can only be answered
    by the hub or its cache. What must be converted first is kept in `cache`, by default the user's cache folder.
    """
    folder = _local_folder(name)
    if folder is not None:
        return _checked(ModelFolder(folder.resolve().name, folder, source=f"local folder {folder}"))
    repository = next((model.repository for model in ALL if model.name == name), name)
    _refuse_baichuan(repository, "baichuan" if repository.startswith("baichuan-inc/") else "")
    if (snapshot := hub.cached(repository, revision)) is not None:
        return _checked(_snapshot(repository, snapshot, "hub cache"))
    packaged = None if revision else _from_package(repository, cache or storage.cache_folder())
    return _checked(packaged or _snapshot(repository, hub.download(repository, revision), "hub"))


def _local_folder(name: str) -> Path | None:
    try:
        folder = Path(name).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError):  # too long for a path; the home of an unknown user
        return None


def _from_package(repository: str, cache: Path) -> ModelFolder | None:
    if repository == MINILM.repository and (folder := minilm.packaged_folder()) is not None:
        return ModelFolder(MINILM.name, folder, minilm.SOURCE)
    if repository == SMOLLM2.repository:
        from recbole_fair.language import smollm2

        if (folder := smollm2.converted_folder(cache)) is not None:
            return ModelFolder(SMOLLM2.name, folder, smollm2.SOURCE)
    return None


def _snapshot(repository: str, folder: Path, origin: str) -> ModelFolder:
    """The hub's cache names a snapshot's folder by its commit."""
    return ModelFolder(repository, folder, source=f"{origin}, {repository}@{folder.name[:12]}", commit=folder.name)


def _checked(model: ModelFolder) -> ModelFolder:
    """Refuse a folder that is no model, or that could only be read by unpickling or by running its code."""
    _refuse_baichuan(model.name, model.model_type)
    holders = [model.folder / module["path"] for module in model.modules if sentence_modules.has_weights(module)]
    for folder in holders or [model.folder]:
        if not has_weights(folder):
            raise UsageError(
                f"model {model.name!r}: {folder} holds no complete safetensors weights ({WEIGHTS}, or "
                f"{SHARDS} and its shards). Other formats run code when read: convert with save_pretrained()"
            )
    return model


def _refuse_baichuan(name: str, model_type: str) -> None:
    """Baichuan is in the papers and on the hub, but only as code of its own, which broke with transformers 4.34."""
    if model_type == "baichuan":
        raise UsageError(
            f"model {name!r}: transformers has no class for Baichuan, and code that comes with a model is never run; "
            "choose a model whose class transformers has, for example Qwen/Qwen2-7B-Instruct"
        )
