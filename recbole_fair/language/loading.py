"""Tokenizers and models of a checked checkpoint, loaded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from recbole_fair.language.checkpoints import Checkpoint, refusals, resolve

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

from recbole_fair.errors import UsageError


def load_tokenizer(name: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer that belongs to a model."""
    from transformers import AutoTokenizer

    folder = str(resolve(name, revision).folder)
    with refusals(name):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    return tokenizer


def load_causal_lm(name: str, *, revision: str | None = None, device: str, dtype: str) -> PreTrainedModel:
    """A language model with its output layer; `dtype` is "auto" (as stored) or the name of a torch type."""
    from transformers import AutoModelForCausalLM

    return _load(AutoModelForCausalLM, name, revision, device, dtype)


def load_backbone(name: str, *, revision: str | None = None, device: str, dtype: str) -> PreTrainedModel:
    """A language model without its output layer, for who needs only the hidden states."""
    from transformers import AutoModel

    return _load(AutoModel, name, revision, device, dtype)


def load_config(name: str, revision: str | None = None) -> Any:
    """A model's configuration, which costs no weights."""
    from transformers import AutoConfig

    folder = str(resolve(name, revision).folder)
    with refusals(name):
        return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)


def load_sentence_transformer(checkpoint: Checkpoint, *, device: str, dtype: str) -> SentenceTransformer:
    """A sentence-transformers model, in evaluation mode."""
    from sentence_transformers import SentenceTransformer

    with refusals(checkpoint.name), _bars_only_on_a_terminal():
        return SentenceTransformer(
            str(checkpoint.folder),
            device=device,
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True, "dtype": dtype},
        ).eval()


def _load(kind: Any, name: str, revision: str | None, device: str, dtype: str) -> PreTrainedModel:
    folder = str(resolve(name, revision).folder)
    with refusals(name), _bars_only_on_a_terminal():
        model, report = kind.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    # transformers fills what a file lacks with random numbers and goes on.
    if report["missing_keys"]:
        raise UsageError(f"model {name!r}: the weights in {folder} lack {min(report['missing_keys'])!r}")
    loaded: PreTrainedModel = model.to(device).eval()
    return loaded


@contextmanager
def _bars_only_on_a_terminal() -> Iterator[None]:
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging  # its switches carry no annotations
    hidden = not sys.stderr.isatty() and logging.is_progress_bar_enabled()
    if hidden:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if hidden:
            logging.enable_progress_bar()
