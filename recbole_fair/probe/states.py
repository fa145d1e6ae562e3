"""The vector by which a trained model knows a user, read by what the model offers and never by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from recbole_fair.data.load import Data
from recbole_fair.errors import UsageError
from recbole_fair.host import Dataset
from recbole_fair.strategies.counterfactual import AGGREGATION, aggregated, user_table
from recbole_fair.training.trainer import FairTrainer

Read = Callable[[Any], Tensor | None]  # a batch of B users to their states [B, D]


@dataclass(frozen=True)
class States:
    """One row a judged user; `source` says what of the model was read."""

    users: npt.NDArray[np.int64]  # [U]
    values: npt.NDArray[np.float64]  # [U, D]
    source: str


@torch.no_grad()
def user_states(trainer: FairTrainer, data: Data) -> States:
    """States of all judged users, under the weights that the model has now."""
    trainer.model.eval()
    source, read = reader_of(trainer, data)
    return _all_of(trainer, data, source, read)


@torch.no_grad()
def other_states(trainer: FairTrainer, data: Data) -> dict[str, States]:
    """What else a model can be read by, by name: its `other_states`, where it has any (P5)."""
    trainer.model.eval()
    readers = getattr(trainer.model, "other_states", {})
    return {name: _all_of(trainer, data, f"other_states[{name}]", read) for name, read in readers.items()}


def _all_of(trainer: FairTrainer, data: Data, source: str, read: Read) -> States:
    rows = []
    for batch in _batches(trainer, data, data.test.step):
        state = read(batch)
        assert state is not None  # the same reader answered for the first two users
        rows.append(state.double().cpu())
    values = torch.cat(rows)  # [U, D]
    if broken := int((~torch.isfinite(values)).any(dim=1).sum()):
        raise UsageError(f"probe: the states of {broken} users are not finite, read from {source}")
    return States(data.test.uid_list.numpy(), values.numpy(), source)


@torch.no_grad()
def reader_of(trainer: FairTrainer, data: Data) -> tuple[str, Read]:
    """The first reader that finds states, tried on two users; a model that offers none is refused."""
    trainer.model.eval()
    batch = next(_batches(trainer, data, 2))
    for source, bind in READERS.items():
        read = bind(trainer.model, data.dataset)
        if read is not None and _are_states(read(batch), len(batch)):
            return source, read
    raise UsageError(
        f"probe: {trainer.config.name} knows users by no vector (it offers none of: {', '.join(READERS)});"
        " probe a model with user states, or give this one a `user_states(batch)` (docs/probe.md)"
    )


def _are_states(output: Any, size: int) -> bool:
    return isinstance(output, Tensor) and output.dim() == 2 and len(output) == size


def _batches(trainer: FairTrainer, data: Data, step: int) -> Iterator[Any]:
    """The rows by which the test evaluation asks: user ids, and a sequential model's items before the test part."""
    asked = data.test.user_df
    for start in range(0, len(asked), step):
        yield asked[np.arange(start, min(start + step, len(asked)))].to(trainer.device)


# --- readers: each looks at what a model offers and returns how to read it, or None


def _own(model: Any, _: Dataset) -> Read | None:
    return getattr(model, "user_states", None)


def _vectors(model: Any, dataset: Dataset) -> Read | None:
    """Models that score by `vectors() -> (users, items)`: AlphaRec, Linear, everything Contrastive."""
    return _rows_of(model.vectors()[0], dataset) if hasattr(model, "vectors") else None


def _forward(model: Any, dataset: Dataset) -> Read | None:
    """What forward() returned while the model scored: encoder states, propagated users, the mean of a latent."""
    # Graph models keep propagated vectors between scorings, and those may be of other weights.
    for kept in ("restore_user_e", "restore_item_e"):
        if hasattr(model, kept):
            setattr(model, kept, None)
    captured: list[Any] = []

    def read(batch: Any) -> Tensor | None:
        _score(model, model, batch, captured)
        return _state_in(captured[0], batch, model, dataset) if captured else None

    return read


def _encoder(model: Any, _: Dataset) -> Read | None:
    """What the part called `encoder` returned while the model scored: auto-encoders without a latent mean."""
    part = getattr(model, "encoder", None)
    captured: list[Any] = []

    def read(batch: Any) -> Tensor | None:
        _score(model, part, batch, captured)
        return captured[0] if captured else None

    return read if isinstance(part, nn.Module) else None


def _named(model: Any, dataset: Dataset) -> Read | None:
    embed = getattr(model, "get_user_embedding", None)
    return None if embed is None else lambda batch: embed(batch[dataset.uid_field])


def _aggregation(model: Any, dataset: Dataset) -> Read | None:
    """A user's own vector and those of the history together, by which SimpleX scores."""
    if not hasattr(model, AGGREGATION):
        return None
    table = user_table(model)
    return lambda batch: aggregated(model, table, batch[dataset.uid_field])


def _tables(model: Any, dataset: Dataset) -> Read | None:
    """Every embedding table with a row a user, side by side (NeuMF has two)."""
    tables = [
        part.weight
        for name, part in model.named_modules()
        if isinstance(part, nn.Embedding)
        and len(part.weight) == dataset.user_num
        # where users and items are equally many, only the name tells whose table it is
        and (dataset.user_num != dataset.item_num or "user" in name)
    ]
    return _rows_of(torch.cat(tables, dim=1), dataset) if tables else None


READERS: Mapping[str, Callable[[Any, Dataset], Read | None]] = MappingProxyType(
    {
        "user_states()": _own,
        "vectors()": _vectors,
        "forward() while it scores": _forward,
        "its encoder while it scores": _encoder,
        "get_user_embedding()": _named,
        f"{AGGREGATION}()": _aggregation,
        "its tables with a row a user": _tables,
    }
)


def _rows_of(table: Tensor, dataset: Dataset) -> Read:
    return lambda batch: table[batch[dataset.uid_field]]


def _score(model: Any, part: Any, batch: Any, captured: list[Any]) -> None:
    """Let the model score the batch and keep what `part` returned last; a model that scores pairs alone is silent."""
    with _capturing_forward(part, captured), suppress(NotImplementedError):
        model.full_sort_predict(batch)


@contextmanager
def _capturing_forward(part: Any, captured: list[Any]) -> Iterator[None]:
    """Put what part.forward returns into `captured`: RecBole calls forward by its name, which no hook of torch sees."""
    forward = part.forward

    def capturing(*values: Any, **named: Any) -> Any:
        captured[:] = [forward(*values, **named)]
        return captured[0]

    part.forward = capturing
    try:
        yield
    finally:
        del part.forward  # the instance's; the class's is visible again


def _state_in(output: Any, batch: Any, model: Any, dataset: Dataset) -> Tensor | None:
    """The users' states within what forward() returned, told by shapes."""
    if isinstance(output, Tensor):
        if output.dim() == 3:  # [B, L, D]: the position from which the model predicts, the last of the history
            return output[torch.arange(len(batch)), batch[model.ITEM_SEQ_LEN] - 1]
        return None if output.shape[-1] == dataset.item_num else output  # [B, I] are scores
    if not isinstance(output, tuple) or len(output) < 2:
        return None
    first, second = output[:2]
    if len(first) == dataset.user_num:  # (users [U, D], items [I, D], ...)
        return first[batch[dataset.uid_field]]
    return torch.cat(second, dim=1) if isinstance(second, list) else second  # (scores, latent mean, ...)
