"""Tokenizers and models, loaded from a checked folder. Nothing here downloads, and no model's own code is run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from recbole_fair.errors import UsageError
from recbole_fair.language.refusals import refusals
from recbole_fair.language.special_tokens import keep_out_of_text
from recbole_fair.language.weights import count_parameters
from recbole_fair.screen import bars_wanted

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from recbole_fair.language.checkpoints import ModelFolder

ModelKind = Literal["causal", "seq2seq", "backbone"]
_CLASSES = {"causal": "AutoModelForCausalLM", "seq2seq": "AutoModelForSeq2SeqLM", "backbone": "AutoModel"}
_GIBIBYTE = 2**30


def load_tokenizer(model: ModelFolder, parse_special: bool) -> PreTrainedTokenizerBase:
    """The tokenizer that belongs to a model; see `ModelFolder.tokenizer`."""
    from transformers import AutoTokenizer

    options: dict[str, Any] = {} if parse_special else {"split_special_tokens": True}
    with refusals(model.name):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            str(model.folder), trust_remote_code=False, local_files_only=True, **options
        )
    if not parse_special:
        keep_out_of_text(tokenizer, model.name)
    return tokenizer


def load_config(model: ModelFolder) -> Any:
    """A model's configuration, which costs no weights."""
    from transformers import CONFIG_MAPPING, AutoConfig

    if model.model_type and model.model_type not in CONFIG_MAPPING:
        raise UsageError(
            f"model {model.name!r} cannot be loaded: transformers has no class for {model.model_type!r}, and code that "
            "comes with a model is never run; choose a model whose class transformers has"
        )
    with refusals(model.name):
        return AutoConfig.from_pretrained(str(model.folder), trust_remote_code=False, local_files_only=True)


def load_model(model: ModelFolder, kind: ModelKind, device: str, dtype: str, attention: str | None) -> PreTrainedModel:
    """A language model in evaluation mode; see `ModelFolder.model`."""
    import transformers

    config = load_config(model)
    _check_kind(model, kind, config)
    _check_attention(attention)
    _check_memory(model, _dtype_name(dtype, config), device)
    options = {} if attention is None else {"attn_implementation": attention}
    with refusals(model.name), bars_where_wanted():
        loaded, report = getattr(transformers, _CLASSES[kind]).from_pretrained(
            str(model.folder),
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    # transformers fills what a file lacks with random numbers and goes on.
    if report["missing_keys"]:
        raise UsageError(f"model {model.name!r}: the weights in {model.folder} lack {min(report['missing_keys'])!r}")
    placed: PreTrainedModel = loaded.to(device).eval()
    return placed


def load_sentence_transformer(model: ModelFolder, device: str, dtype: str) -> SentenceTransformer:
    """A sentence-transformers model, in evaluation mode."""
    from sentence_transformers import SentenceTransformer

    with refusals(model.name), bars_where_wanted():
        return SentenceTransformer(
            str(model.folder),
            device=device,
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True, "dtype": dtype},
        ).eval()


@contextmanager
def bars_where_wanted() -> Iterator[None]:
    """Hide transformers' progress bars where nobody wants any."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging  # its switches carry no annotations
    hidden = not bars_wanted() and logging.is_progress_bar_enabled()
    if hidden:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if hidden:
            logging.enable_progress_bar()


def _check_kind(model: ModelFolder, kind: ModelKind, config: Any) -> None:
    if kind not in _CLASSES:
        raise UsageError(f"kind={kind!r}: choose {', '.join(_CLASSES)}")
    if kind != "backbone" and bool(config.is_encoder_decoder) != (kind == "seq2seq"):
        is_a = "an encoder-decoder" if config.is_encoder_decoder else "a decoder without an encoder"
        needed = "an encoder-decoder such as T5" if kind == "seq2seq" else "a causal model such as Qwen2"
        raise UsageError(f"model {model.name!r} is {is_a} ({config.model_type}); name {needed}")


def _check_attention(attention: str | None) -> None:
    """Refuse what transformers would fetch code from the hub for, or complain about at the first forward pass."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
    from transformers.utils.import_utils import is_flash_attn_2_available, is_flash_attn_3_available

    names = {"eager", *ALL_ATTENTION_FUNCTIONS.valid_keys()}
    if attention is not None and attention not in names:
        raise UsageError(f"attention={attention!r}: choose one of {', '.join(sorted(names))}")
    packages = {"flash_attention_2": is_flash_attn_2_available, "flash_attention_3": is_flash_attn_3_available}
    if attention in packages and not packages[attention]():
        raise UsageError(
            f"attention={attention!r}: needs a CUDA device and the package flash-attn; install it, or choose sdpa"
        )


def _check_memory(model: ModelFolder, dtype: str, device: str) -> None:
    from recbole_fair.language.memory import fits, free_bytes, needed_bytes

    parameters = count_parameters(model.folder)
    if not fits(parameters, dtype, device):
        raise UsageError(
            f"model {model.name!r}: its {parameters:,} parameters in {dtype} take "
            f"{needed_bytes(parameters, dtype) / _GIBIBYTE:.1f} GiB, {device} has {free_bytes(device) / _GIBIBYTE:.1f} "
            "GiB free; choose a smaller model, a narrower dtype (bfloat16) or another device"
        )


def _dtype_name(dtype: str, config: Any) -> str:
    """The name of the torch type that "auto" stands for; a name that is no floating type is refused."""
    import torch

    stated = getattr(config, "dtype", None) or torch.float32
    name = str(stated).removeprefix("torch.") if dtype == "auto" else dtype
    named = getattr(torch, name, None)
    if not isinstance(named, torch.dtype) or not named.is_floating_point:
        raise UsageError(f"dtype={dtype!r}: choose auto, float32, bfloat16 or float16")
    return name
