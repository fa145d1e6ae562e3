"""The weights of a finished run as the frozen part of a model that stands on it."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from recbole_fair import storage
from recbole_fair.errors import UsageError


def weights_of(folder: Path) -> str:
    """The digest of a run's weights."""
    return str(storage.read_json(folder / "model.json").get("sha256"))


def load_frozen(module: nn.Module, folder: Path, prefix: str = "") -> None:
    """Give all parameters of a part the values that the run in `folder` stored under `prefix`, and train them no more.

    One that is missing or of another shape is refused.
    """
    path = folder / "model.safetensors"
    stored, _ = storage.read_tensors(path, weights_of(folder))
    for name, parameter in module.named_parameters(prefix=prefix):
        if name not in stored or stored[name].shape != parameter.shape:
            raise UsageError(f"{path}: {name} is missing or of another shape; it is of another data set or model")
        parameter.data.copy_(stored[name])
    module.requires_grad_(False)
