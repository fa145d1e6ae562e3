"""What a run keeps: the best weights, and everything needed to go on after a kill.

`model.safetensors` + `model.json`: trained parameters and changed buffers of the best epoch, strict to load.
`resume.safetensors`: the last finished epoch with optimiser, random states and early stopping, in one file, so
that it is whole or absent. Neither holds a pickled object.
"""

from __future__ import annotations

import json
import random
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_fair import storage
from recbole_fair.errors import UsageError

_ARRAY = "array."
_SPARSE_PARTS = ("data", "indices", "indptr")


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
    for name, value in _own_arrays(model).items():
        state.update(_packed(f"{_ARRAY}{name}", value))
    return state


def load_model_state(model: torch.nn.Module, state: dict[str, torch.Tensor], source: Path) -> None:
    """Put `model_state` back; a missing, unexpected or misshapen tensor is refused."""
    targets = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    given = {name for name in state if not name.startswith(_ARRAY)}
    if missing := sorted(trained(model).keys() - given):
        raise UsageError(f"{source}: lacks {missing[0]!r} (and {len(missing) - 1} more); it is of another model")
    for name in sorted(given):
        if name not in targets or targets[name].shape != state[name].shape:
            shape = tuple(state[name].shape)
            raise UsageError(f"{source}: {name!r} {shape} does not fit this model; other model, data set or settings")
        targets[name].data.copy_(state[name])
    _restore_arrays(model, {name: value for name, value in state.items() if name.startswith(_ARRAY)})


def _own_arrays(model: torch.nn.Module) -> dict[str, Any]:
    """`other_parameter_name` without submodules (stored as parameters) and without caches of evaluation."""
    names = getattr(model, "other_parameter_name", ())
    values = {name: getattr(model, name, None) for name in names if not name.startswith("restore_")}
    return {name: value for name, value in values.items() if not isinstance(value, (torch.nn.Module, type(None)))}


def _packed(name: str, value: Any) -> dict[str, torch.Tensor]:
    """A numpy array, scipy matrix or tensor as named tensors."""
    if isinstance(value, torch.Tensor):
        return {name: value}
    if isinstance(value, np.ndarray):
        return {f"{name}|ndarray": torch.from_numpy(np.ascontiguousarray(value))}
    if hasattr(value, "tocsr"):
        matrix = value.tocsr()
        packed = {f"{name}|{value.format}|{part}": torch.from_numpy(getattr(matrix, part)) for part in _SPARSE_PARTS}
        return {**packed, f"{name}|{value.format}|shape": torch.tensor(matrix.shape)}
    raise TypeError(f"{name}: a {type(value).__name__} cannot be stored as arrays")


def _restore_arrays(model: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    for name in getattr(model, "other_parameter_name", ()):
        if name.startswith("restore_"):
            setattr(model, name, None)  # computed again from the loaded weights at the next evaluation
        prefix = f"{_ARRAY}{name}"
        found = {key[len(prefix) :]: value for key, value in state.items() if key.split("|")[0] == prefix}
        if found:
            setattr(model, name, _unpacked(found, next(iter(model.parameters())).device))


def _unpacked(found: dict[str, torch.Tensor], device: torch.device) -> Any:
    from scipy.sparse import csr_matrix

    if "" in found:
        return found[""].to(device)
    if "|ndarray" in found:
        return found["|ndarray"].numpy()
    parts = {key.split("|")[2]: value.numpy() for key, value in found.items()}
    kind = next(iter(found)).split("|")[1]
    matrix = csr_matrix((parts["data"], parts["indices"], parts["indptr"]), shape=tuple(parts["shape"]))
    return matrix.asformat(kind)


# --- what else goes on after a kill


def plain_state(model: torch.nn.Module) -> dict[str, Any]:
    """Numbers, arrays and tensors that modules keep as plain attributes (the annealing step of the auto-encoders)."""
    found = {}
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if _is_plain(value) and not name.startswith(("restore_", "training")):
                found[f"{path}|{name}"] = value.clone() if isinstance(value, torch.Tensor) else copy(value)
    return found


def _is_plain(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.layout == torch.strided and value.grad_fn is None
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "iufb"
    return _is_number(value) or (isinstance(value, list) and bool(value) and all(map(_is_number, value)))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def changed_plain_state(model: torch.nn.Module, initial: dict[str, Any]) -> dict[str, Any]:
    """The plain attributes that training has changed."""
    return {name: value for name, value in plain_state(model).items() if not _same(value, initial.get(name))}


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(value, other)
    if isinstance(value, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(value, other)
    return type(value) is type(other) and bool(value == other)


def load_plain_state(model: torch.nn.Module, state: dict[str, Any]) -> None:
    """Put `changed_plain_state` back."""
    modules = dict(model.named_modules())
    for key, value in state.items():
        path, _, name = key.partition("|")
        replaced = getattr(modules[path], name, None)
        if isinstance(value, torch.Tensor) and isinstance(replaced, torch.Tensor):
            value = value.to(replaced.device)  # noqa: PLW2901
        setattr(modules[path], name, value)


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
    sha256 = storage.write_tensors(folder / "model.safetensors", model_state(model, buffers), about)
    storage.write_json(folder / "model.json", {**about, "sha256": sha256})


def load_best(folder: Path, model: torch.nn.Module, expected: dict[str, Any]) -> dict[str, Any]:
    """Load the best weights of a run; refuse those of another model or data set, or changed ones."""
    about = storage.read_json(folder / "model.json")
    for key, value in expected.items():
        if about.get(key) != value:
            raise UsageError(f"{folder}: holds {key}={about.get(key)!r}, this run has {value!r}")
    source = folder / "model.safetensors"
    state, _ = storage.read_tensors(source, str(about.get("sha256")))
    load_model_state(model, state, source)
    return about


def parameter_counts(model: torch.nn.Module) -> dict[str, int]:
    """All parameters, and those that are trained; item vectors that a strategy refines are among both."""
    frozen = sum(parameter.numel() for parameter in model.parameters() if not parameter.requires_grad)
    trainable = sum(value.numel() for value in trained(model).values())
    return {"total": frozen + trainable, "trainable": trainable}
