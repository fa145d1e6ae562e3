"""The one door to PEFT: small trainable parts put into a frozen language model, counted, saved and loaded.

Every function that adds one returns a PeftModel whose only trainable parameters are the new ones; the base stays in
place inside it, bit for bit. An adapter's folder is PEFT's own (adapter_config.json, adapter_model.safetensors), so
PEFT reads it too; we read the tensors alone and compare the description with the adapter that stands in the model:
a description is never followed, it could name files or code.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import (
    LoraConfig,
    PeftConfig,
    PeftModel,
    PromptEncoderConfig,
    PromptTuningConfig,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from peft.tuners.lora import Linear as LoraLinear
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from recbole_fair.errors import UsageError
from recbole_fair.storage import read_json, read_tensors, write_json, write_tensors

__all__ = [
    "Counts",
    "LoraLinear",
    "base_digest",
    "check_frozen",
    "counts",
    "load_adapter",
    "lora",
    "only_layers_of",
    "p_tuning",
    "prompt_tuning",
    "quiet",
    "save_adapter",
]

_WEIGHTS, _DESCRIPTION = "adapter_model.safetensors", "adapter_config.json"
# What must agree between an adapter's description and the adapter that its tensors are loaded into.
_DECISIVE = ("peft_type", "r", "lora_alpha", "use_rslora", "num_virtual_tokens", "encoder_hidden_size")


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
    full_precision: bool = True,
) -> PeftModel:
    """Add low-rank updates, scaled by alpha / rank, to the linear layers whose names end with one of `targets`.

    `layer` makes another kind of LoRA layer in place of PEFT's own, with the same arguments. `full_precision` keeps
    the new parameters in float32 where the base is in half precision.
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
    return _wrapped(model, config, full_precision)


def prompt_tuning(model: nn.Module, *, tokens: int) -> PeftModel:
    """Put `tokens` trained vectors before every input (Lester et al. 2021); a T5 gets them in both stacks."""
    return _wrapped(model, PromptTuningConfig(task_type=_task(model), num_virtual_tokens=tokens))


def p_tuning(model: nn.Module, *, tokens: int, hidden: int) -> PeftModel:
    """Put `tokens` vectors made by a small trained network before every input (Liu et al. 2021)."""
    config = PromptEncoderConfig(task_type=_task(model), num_virtual_tokens=tokens, encoder_hidden_size=hidden)
    return _wrapped(model, config)


def _task(model: nn.Module) -> str:
    return "SEQ_2_SEQ_LM" if getattr(model.config, "is_encoder_decoder", False) else "CAUSAL_LM"


def _wrapped(model: Any, config: PeftConfig, full_precision: bool = True) -> PeftModel:
    _check_bare(model)
    with quiet():
        adapted = get_peft_model(model, config, autocast_adapter_dtype=full_precision)
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


@dataclass(frozen=True)
class Counts:
    """How many numbers are trained, and how many the model has without them."""

    trained: int
    base: int

    @property
    def share(self) -> float:
        """The trained numbers over those of the base, as in CL-MoE's Table 4."""
        return self.trained / self.base


def counts(model: PeftModel) -> Counts:
    """Count the trained parameters and those of the base; a tied matrix counts once.

    >>> Counts(trained=1, base=8).share
    0.125
    """
    adapter = _adapter_names(model)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return Counts(trained, sum(value.numel() for name, value in model.named_parameters() if name not in adapter))


def base_digest(model: PeftModel) -> str:
    """Compute the sha256 of all numbers of the base inside an adapted model, whatever adapter stands in it."""
    total = hashlib.sha256()
    for name, parameter in sorted(model.get_base_model().named_parameters()):
        if ".lora_" not in name:
            value = parameter.detach().cpu().contiguous()
            total.update(f"{name.replace('.base_layer', '')} {value.dtype} {tuple(value.shape)}\n".encode())
            total.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def save_adapter(model: PeftModel, folder: Path, *, base: str, version: str) -> None:
    """Write the adapter's folder: its tensors, PEFT's description, and of which base (name and version) it is."""
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    write_tensors(folder / _WEIGHTS, state, {"base": base, "version": version})
    write_json(folder / _DESCRIPTION, _description(model, base, version))


def _description(model: PeftModel, base: str, version: str) -> dict[str, Any]:
    values: dict[str, Any] = model.active_peft_config.to_dict()
    values |= {"base_model_name_or_path": base, "revision": version, "inference_mode": True}
    # Sets have no order and enumerations no JSON: PEFT stores lists and words.
    plain = {key: sorted(value) if isinstance(value, set) else value for key, value in values.items()}
    return {key: getattr(value, "value", value) for key, value in sorted(plain.items()) if not key.startswith("_")}


def load_adapter(model: PeftModel, folder: Path, *, base: str, version: str) -> None:
    """Read an adapter's tensors into `model`; one of another base, kind or size is refused.

    Of p-tuning PEFT stores the vectors that its network made, which is all that inference needs; the network itself is
    in the run's checkpoint alone, so such a folder is not read back.
    """
    if model.active_peft_config.peft_type == "P_TUNING":
        raise UsageError(f"{folder}: a p-tuning folder holds its vectors, not the network; load the run's checkpoint")
    stored, about = read_tensors(folder / _WEIGHTS)
    if (about.get("base"), about.get("version")) != (base, version):
        raise UsageError(
            f"{folder}: this adapter was trained on {about.get('base')!r} (version {about.get('version')}), not on "
            f"{base!r} (version {version}); name that base, or train anew"
        )
    _check_description(model, folder)
    expected = get_peft_model_state_dict(model, save_embedding_layers=False)
    _check_tensors(folder / _WEIGHTS, stored, expected)
    set_peft_model_state_dict(model, stored)


def _check_description(model: PeftModel, folder: Path) -> None:
    ours, stored = _description(model, "", ""), read_json(folder / _DESCRIPTION)
    for key in _DECISIVE:
        if ours.get(key) != stored.get(key):
            raise UsageError(
                f"{folder / _DESCRIPTION}: {key} is {stored.get(key)!r}, this run asks for {ours.get(key)!r}; "
                "use the settings of the run that saved it"
            )


def _check_tensors(path: Path, stored: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    if different := sorted(stored.keys() ^ expected.keys()):
        raise UsageError(f"{path}: not the tensors of this adapter ({different[0]} stands on one side only)")
    for name, value in expected.items():
        if stored[name].shape != value.shape:
            raise UsageError(f"{path}: {name} is {list(stored[name].shape)}, this adapter's {list(value.shape)}")


def only_layers_of(model: PeftModel, kind: type[LoraLayer]) -> list[Any]:
    """List the LoRA layers of a model in their order; another kind among them is refused."""
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    for name, layer in layers:
        if not isinstance(layer, kind):
            raise UsageError(f"{name} became a {type(layer).__name__}, not a {kind.__name__}: not a plain linear layer")
    return [layer for _, layer in layers]
