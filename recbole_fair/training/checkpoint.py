"""What a run keeps of its model, and how states become tensors and plain values; nothing is pickled.

`model.safetensors` + `model.json`: trained parameters and changed buffers of the best epoch, strict to load. The
trainer writes the last finished epoch to `resume.safetensors`, flattened by this module.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_fair import storage
from recbole_fair.errors import UsageError
from recbole_fair.training import arrays

_WEIGHTS, _FACTS, _FORMAT = "model.safetensors", "model.json", 1


# --- the model


def initial_buffers(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Persistent buffers before training; those equal to these later need not be stored."""
    persistent = model.state_dict().keys() - trained(model)
    return {name: value.detach().clone() for name, value in model.named_buffers() if name in persistent}


def trained(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What training is there to change: parameters, and buffers that a strategy has made trainable (BiFair's Z)."""
    tensors = (*model.named_parameters(), *model.named_buffers())
    return {name: value for name, value in tensors if value.requires_grad}


def model_state(model: torch.nn.Module, buffers: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What was trained, other buffers that training changed, and the arrays of closed-form models."""
    state = trained(model)
    for name, buffer in model.named_buffers():
        if name in buffers and not torch.equal(buffer, buffers[name]):
            state[name] = buffer
    for name, value in arrays.owned_by(model).items():
        state.update(arrays.packed(name, value))
    return state


def load_model_state(model: torch.nn.Module, state: dict[str, torch.Tensor], source: Path) -> None:
    """Put `model_state` back; a missing, unexpected or misshapen tensor, or one that is not finite, is refused."""
    targets = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    stored = {name for name in state if not name.startswith(arrays.PREFIX)}
    if missing := sorted(trained(model).keys() - stored):
        raise UsageError(f"{source}: lacks {missing[0]!r} (and {len(missing) - 1} more); it is of another model")
    for name in sorted(stored):
        _check_fits(name, state[name], targets.get(name), source)
    for name in sorted(stored):
        targets[name].data.copy_(state[name])
    arrays.restore(model, {name: value for name, value in state.items() if name not in stored}, source)


def _check_fits(name: str, stored: torch.Tensor, target: torch.Tensor | None, source: Path) -> None:
    if target is None or (target.shape, target.dtype) != (stored.shape, stored.dtype):
        what = f"{tuple(stored.shape)} {stored.dtype}"
        raise UsageError(f"{source}: {name!r} {what} does not fit this model; other model, data set or settings")
    if not torch.isfinite(stored).all():
        raise UsageError(f"{source}: {name!r} holds numbers that are not finite; restore the file or run again")


# --- what else goes on after a kill

# What RecBole's models count in plain attributes while they train: the annealing step of the auto-encoders, the losses
# by diffusion step, the shuffled users of LINE. A model of your own names such attributes in `resumed_attributes`.
_COUNTED = {
    "MultiVAE": ("update",),
    "MacridVAE": ("update",),
    "DiffRec": ("Lt_history", "Lt_count"),
    "LDiffRec": ("update_count", "update_count_vae"),
    "LINE": ("random_list", "random_pr"),
}


def plain_state(model: torch.nn.Module) -> dict[str, Any]:
    """Numbers, arrays and tensors that the model changes in training and keeps as plain attributes."""
    names = [name for row in type(model).__mro__ for name in _COUNTED.get(row.__name__, ())]
    names += getattr(model, "resumed_attributes", ())
    return {name: getattr(model, name) for name in names if hasattr(model, name)}


def load_plain_state(model: torch.nn.Module, state: dict[str, Any]) -> None:
    """Put `plain_state` back; a value of another kind than the model's own is refused."""
    own = plain_state(model)
    for name, value in state.items():
        if name not in own or _form(value) != _form(own[name]):
            raise UsageError(f"resume point: {name!r} does not fit this model")
        setattr(model, name, value.to(own[name].device) if isinstance(value, torch.Tensor) else value)


def _form(value: Any) -> tuple[Any, ...]:
    """Type, and the shape of an array."""
    return type(value), tuple(getattr(value, "shape", ())), str(getattr(value, "dtype", ""))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """Refuse moments of another shape than their parameter's; Adafactor's are a row and a column of it."""
    for parameter, moments in optimizer.state.items():
        whole = tuple(parameter.shape)
        factors = {whole[:-1], (*whole[:-2], *whole[-1:])} if "exp_avg_sq_row" in moments else set()
        shapes = {tuple(value.shape) for value in moments.values() if isinstance(value, torch.Tensor) and value.dim()}
        if shapes - {whole, *factors}:
            raise ValueError(f"moments of shapes {sorted(shapes)} for a parameter {tuple(parameter.shape)}")


def random_state() -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """State of every generator a run draws from, as tensors and JSON."""
    kind, words, position, has_gauss, gauss = np.random.get_state(legacy=True)
    tensors = {
        "random.torch": torch.get_rng_state(),
        "random.numpy": torch.from_numpy(np.asarray(words, dtype=np.int64)),
    }
    # Asking for the states would initialise CUDA, before RecBole has chosen the device.
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        for device, state in enumerate(torch.cuda.get_rng_state_all()):
            tensors[f"random.cuda.{device}"] = state
    version, internal, gauss_next = random.getstate()
    return tensors, {
        "numpy": [kind, position, has_gauss, gauss],
        "python": [version, list(internal), gauss_next],
    }


def set_random_state(tensors: dict[str, torch.Tensor], about: dict[str, Any]) -> None:
    """Put `random_state` back."""
    torch.set_rng_state(tensors["random.torch"])
    for device in range(torch.cuda.device_count()):
        if (state := tensors.get(f"random.cuda.{device}")) is not None:
            torch.cuda.set_rng_state(state, device)
    kind, position, has_gauss, gauss = about["numpy"]
    np.random.set_state((kind, tensors["random.numpy"].numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, gauss_next = about["python"]
    random.setstate((version, tuple(internal), gauss_next))


def flatten(value: Any, prefix: str, tensors: dict[str, torch.Tensor]) -> Any:
    """Nested state (an optimiser's, a strategy's) as JSON, its tensors moved to `tensors` under `prefix`."""
    if isinstance(value, torch.Tensor):
        tensors[prefix] = value
        return {"tensor": prefix}
    if isinstance(value, np.ndarray):
        tensors[prefix] = torch.from_numpy(value)
        return {"ndarray": prefix}
    if isinstance(value, list) and all(map(_is_number, value)):
        return {"value": value}
    if isinstance(value, dict):
        return {"dict": [[key, flatten(entry, f"{prefix}.{key}", tensors)] for key, entry in value.items()]}
    if isinstance(value, (list, tuple)):
        entries = [flatten(entry, f"{prefix}.{place}", tensors) for place, entry in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": entries}
    json.dumps(value)  # a state that JSON cannot hold must fail when it is written, not when it is needed
    return {"value": value}


def unflatten(stored: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Any:
    """The inverse of `flatten`."""
    ((kind, content),) = stored.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "ndarray":
        return tensors[content].numpy()
    if kind == "dict":
        return {key: unflatten(entry, tensors) for key, entry in content}
    if kind == "value":
        return content
    entries = [unflatten(entry, tensors) for entry in content]
    return tuple(entries) if kind == "tuple" else entries


def save_best(folder: Path, model: torch.nn.Module, buffers: dict[str, torch.Tensor], about: dict[str, Any]) -> None:
    """Write model.safetensors and, vouching for it, model.json."""
    sha256 = storage.write_tensors(folder / _WEIGHTS, model_state(model, buffers), about)
    storage.write_json(folder / _FACTS, {"format": _FORMAT, **about, "sha256": sha256})


def load_best(folder: Path, model: torch.nn.Module, expected: dict[str, Any]) -> dict[str, Any]:
    """Load the best weights of a run; refuse those of another model or data set, or changed ones."""
    about = _check_format(folder)
    for key, value in expected.items():
        if about.get(key) != value:
            raise UsageError(f"{folder}: holds {key}={about.get(key)!r}, this run has {value!r}")
    source = folder / _WEIGHTS
    state, _ = storage.read_tensors(source, str(about.get("sha256")))
    load_model_state(model, state, source)
    return about


def _check_format(folder: Path) -> dict[str, Any]:
    """model.json, of a format that this version reads; the first one had no number."""
    about = storage.read_json(folder / _FACTS)
    if about.get("format", _FORMAT) != _FORMAT:
        raise UsageError(
            f"{folder / _FACTS}: is of format {about['format']!r}, this version reads {_FORMAT}; update recbole_fair"
        )
    return about


def parameter_counts(model: torch.nn.Module) -> dict[str, int]:
    """All parameters, and those that are trained; item vectors that a strategy refines are among both."""
    frozen = sum(parameter.numel() for parameter in model.parameters() if not parameter.requires_grad)
    trainable = sum(value.numel() for value in trained(model).values())
    return {"total": frozen + trainable, "trainable": trainable}
