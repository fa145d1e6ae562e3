"""Arrays of closed-form models (EASE, ItemKNN) as named tensors, and back into the form of the model's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_fair.errors import UsageError

PREFIX = "array."
_PARTS = ("data", "indices", "indptr", "shape")


def owned_by(model: torch.nn.Module) -> dict[str, Any]:
    """`other_parameter_name` without submodules (stored as parameters) and without caches of evaluation.

    A cache is what the model itself sets to None while it learns: LightGCN's restore_user_e, DMF's i_embedding.
    """
    names = [name for name in getattr(model, "other_parameter_name", ()) if not _is_cache(name)]
    values = {name: getattr(model, name, None) for name in names}
    return {name: value for name, value in values.items() if not isinstance(value, (torch.nn.Module, type(None)))}


def _is_cache(name: str) -> bool:
    return name.startswith("restore_") or name == "i_embedding"


def packed(name: str, value: Any) -> dict[str, torch.Tensor]:
    """A numpy array, scipy matrix or tensor as named tensors."""
    key = f"{PREFIX}{name}"
    if isinstance(value, torch.Tensor):
        return {key: value}
    if isinstance(value, np.ndarray):
        return {f"{key}|ndarray": torch.from_numpy(np.ascontiguousarray(value))}
    if hasattr(value, "tocsr"):
        matrix = value.tocsr()
        parts = {part: torch.from_numpy(getattr(matrix, part)) for part in _PARTS[:3]}
        parts["shape"] = torch.tensor(matrix.shape)
        return {f"{key}|{value.format}|{part}": tensor for part, tensor in parts.items()}
    raise TypeError(f"{name}: a {type(value).__name__} cannot be stored as arrays")


def restore(model: torch.nn.Module, state: dict[str, torch.Tensor], source: Path) -> None:
    """Put the arrays of `packed` back in place of the model's own, whose form they must have."""
    for name in getattr(model, "other_parameter_name", ()):
        if _is_cache(name):
            setattr(model, name, None)  # computed again from the loaded weights at the next evaluation
    own = owned_by(model)
    for name, value in own.items():
        setattr(model, name, _unpacked(name, state, value, source))
    names = {key.removeprefix(PREFIX).split("|")[0] for key in state}
    if foreign := sorted(name for name in names if name not in own and not _is_cache(name)):
        raise UsageError(f"{source}: holds an array {foreign[0]!r}, which this model has not; it is of another model")


def _unpacked(name: str, state: dict[str, torch.Tensor], own: Any, source: Path) -> Any:
    """The array of this name in the form of the model's own: kind, type and shape; all numbers finite."""
    expected = packed(name, own)
    stored = {key: state[key] for key in expected if key in state}
    if stored.keys() != expected.keys():
        raise UsageError(f"{source}: lacks {name!r} as this model keeps it; it is of another model")
    for key, tensor in stored.items():
        if tensor.dtype not in _types(expected[key]) or tensor.ndim != expected[key].ndim:
            raise UsageError(f"{source}: {key!r} is of type {tensor.dtype}; other model, data set or settings")
        if not torch.isfinite(tensor).all():
            raise UsageError(f"{source}: {key!r} holds numbers that are not finite; restore the file or run again")
    if hasattr(own, "tocsr"):
        return _sparse([stored[f"{PREFIX}{name}|{own.format}|{part}"] for part in _PARTS], own, f"{source}: {name!r}")
    (tensor,) = stored.values()
    if tuple(tensor.shape) != tuple(own.shape):
        raise UsageError(f"{source}: {name!r} {tuple(tensor.shape)} does not fit this model's {tuple(own.shape)}")
    return tensor.to(own.device) if isinstance(own, torch.Tensor) else tensor.numpy()


def _types(expected: torch.Tensor) -> tuple[torch.dtype, ...]:
    """Places in a matrix are counted in 32 bits or in 64, as scipy likes."""
    counted = (torch.int32, torch.int64)
    return counted if expected.dtype in counted else (expected.dtype,)


def _sparse(parts: list[torch.Tensor], own: Any, where: str) -> Any:
    """A scipy matrix; every place in it is checked, because scipy's products read wherever an index points."""
    from scipy.sparse import csr_matrix

    data, indices, indptr, shape = (part.numpy() for part in parts)
    if tuple(shape.tolist()) != own.shape:
        raise UsageError(f"{where} {tuple(shape.tolist())} does not fit this model's {own.shape}")
    try:
        matrix = csr_matrix((data, indices, indptr), shape=own.shape)
        matrix.check_format(full_check=True)
    except ValueError as error:
        raise UsageError(f"{where} is no sparse matrix ({error}); restore the file or run again") from error
    return matrix.asformat(own.format)
