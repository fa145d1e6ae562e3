"""The one door to PEFT: small trainable parts put into a frozen language model.

Every function that adds one returns a PeftModel whose only trainable parameters are the new ones; the base stays in
place inside it, bit for bit. What was trained is kept in the run's own safetensors, never in a folder of PEFT's: its
description could name files or code.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from peft import LoraConfig, PeftConfig, PeftModel, PromptEncoderConfig, PromptTuningConfig, get_peft_model
from peft.tuners.lora import Linear as LoraLinear
from peft.tuners.lora import LoraLayer
from torch import nn

from recbole_fair.errors import UsageError

__all__ = [
    "LoraLinear",
    "check_frozen",
    "lora",
    "only_layers_of",
    "p_tuning",
    "prompt_tuning",
    "quiet",
]


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out the two warnings that PEFT 0.21 causes by itself; any other one, ours included, is shown.

    It reads a name that transformers 5 calls outdated, and when it saves it looks for the base's vocabulary size.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`is_gradient_checkpointing` is deprecated", FutureWarning)
        warnings.filterwarnings("ignore", r"Could not find a config file in ", UserWarning)
        yield


def lora(
    model: nn.Module,
    *,
    rank: int,
    alpha: int,
    dropout: float = 0.0,
    targets: Sequence[str],
    layer: Callable[..., LoraLinear] | None = None,
) -> PeftModel:
    """Add low-rank updates, scaled by alpha / rank, to the linear layers whose names end with one of `targets`.

    `layer` makes another kind of LoRA layer in place of PEFT's own, with the same arguments. The new parameters are in
    float32 also where the base is in half precision.
    """
    _check_bare(model)
    linear = {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    missing = sorted(set(targets) - linear)
    if missing or not targets:
        raise UsageError(
            f"lora_targets {list(targets)}: the model has no linear layer {missing}; it has {sorted(linear)}"
        )
    config = LoraConfig(
        task_type=_task(model), r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(targets)
    )
    if layer is not None:
        config._register_custom_module({nn.Linear: layer})  # type: ignore[dict-item]
    return _wrapped(model, config)


def prompt_tuning(model: nn.Module, *, tokens: int) -> PeftModel:
    """Put `tokens` trained vectors before every input (Lester et al. 2021); a T5 gets them in both stacks."""
    return _wrapped(model, PromptTuningConfig(task_type=_task(model), num_virtual_tokens=tokens))


def p_tuning(model: nn.Module, *, tokens: int, hidden: int) -> PeftModel:
    """Put `tokens` vectors made by a small trained network before every input (Liu et al. 2021)."""
    config = PromptEncoderConfig(task_type=_task(model), num_virtual_tokens=tokens, encoder_hidden_size=hidden)
    return _wrapped(model, config)


def _task(model: nn.Module) -> str:
    return "SEQ_2_SEQ_LM" if getattr(model.config, "is_encoder_decoder", False) else "CAUSAL_LM"


def _wrapped(model: Any, config: PeftConfig) -> PeftModel:
    _check_bare(model)
    with quiet():
        adapted = get_peft_model(model, config)
    assert isinstance(adapted, PeftModel)
    check_frozen(adapted)
    return adapted


def _check_bare(model: nn.Module) -> None:
    if hasattr(model, "peft_config"):
        raise UsageError("this model has an adapter already; load the base anew and give it one")


def check_frozen(model: PeftModel) -> None:
    """Refuse a model in which a parameter of the base would be trained, or none of the adapter."""
    adapter = _adapter_names(model)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    if trained - adapter:
        raise UsageError(f"the base is not frozen: {min(trained - adapter)} would be trained; freeze it")
    if not trained:
        raise UsageError("nothing would be trained: the adapter is frozen")


def _adapter_names(model: PeftModel) -> set[str]:
    # The two kinds of adapters used here: low-rank layers inside the model, prompts beside it.
    return {
        name
        for name, _ in model.named_parameters()
        if ".lora_" in name or name.startswith(("prompt_encoder.", "prompt_embeddings."))
    }


def only_layers_of(model: PeftModel, kind: type[LoraLayer]) -> list[Any]:
    """List the LoRA layers of a model in their order; another kind among them is refused."""
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    for name, layer in layers:
        if not isinstance(layer, kind):
            raise UsageError(f"{name} became a {type(layer).__name__}, not a {kind.__name__}: not a plain linear layer")
    return [layer for _, layer in layers]
