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

    One that is missing or of another shape is refused, and so is one more that stands under the prefix.
    """
    path = folder / "model.safetensors"
    stored, _ = storage.read_tensors(path, weights_of(folder))
    parameters = dict(module.named_parameters(prefix=prefix))
    more = {name for name in stored if prefix and name.startswith(f"{prefix}.")} - parameters.keys()
    wrong = [name for name, own in parameters.items() if name not in stored or stored[name].shape != own.shape]
    if name := next(iter([*wrong, *sorted(more)]), None):
        raise UsageError(
            f"{path}: {name} is missing, one too many or of another shape; it is of another data set, model or size"
        )
    for name, parameter in parameters.items():
        parameter.data.copy_(stored[name])
    module.requires_grad_(False)
