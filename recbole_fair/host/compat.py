"""Lets RecBole 1.2.1 run on today's numpy, pandas and scipy.

The only place that patches the host. Every shim is guarded by a test of the *feature* it restores, so it does
nothing on an old stack or once RecBole is fixed. `apply()` must run before recbole is imported; it may run often.

What is *not* patched: `torch.load`. RecBole's pickled checkpoints (upstream issue 2212) are never read here, because
reading one executes it; our trainer writes and reads safetensors instead.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import dok_matrix

from recbole_fair.storage import MISSING_NUMBERS

# RecBole's Config assigns np.float = np.float_ and so on; numpy 2 removed the right-hand sides (upstream issues 2174,
# 2215). Its NDCG reads np.float, which is there only once some Config was made: an audit makes none.
_NUMPY_ALIASES = {"float": np.float64, "float_": np.float64, "complex_": np.complex128, "unicode_": np.str_}


def restore_numpy_aliases() -> None:
    """Give back the scalar names that numpy 2 removed and RecBole's Config reads."""
    for alias, scalar in _NUMPY_ALIASES.items():
        if alias not in np.__dict__:
            setattr(np, alias, scalar)


def _dok_update(self: dok_matrix, entries: dict[tuple[int, int], float]) -> None:
    self._dict.update(entries)


def restore_dok_update() -> None:
    """Give back `dok_matrix._update`, with which LightGCN and its relatives build their graph.

    scipy renamed it when `update` became public (upstream issues 2078 and 2187).
    """
    if not hasattr(dok_matrix, "_update"):
        dok_matrix._update = _dok_update


def _chained_fillna_works() -> bool:
    frame = pd.DataFrame({"value": [np.nan]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas warns of exactly the idiom that is being tested
        frame["value"].fillna(0, inplace=True)
    return not bool(frame["value"].isna().any())


def _agg_len_works() -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return not np.isscalar(pd.Series([[1], [2, 3]]).agg(len))


class _HostSeries(pd.Series):
    """A column whose `agg(len)` is the length of each entry, as before pandas 3, and not of the column."""

    @property
    def _constructor(self) -> type[pd.Series]:
        return _HostSeries

    def agg(self, func: Any = None, axis: Any = 0, *args: Any, **kwargs: Any) -> Any:
        return self.apply(len) if func is len else super().agg(func, axis, *args, **kwargs)


class _HostFrame(pd.DataFrame):
    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return _HostFrame

    @property
    def _constructor_sliced(self) -> type[pd.Series]:
        return _HostSeries


class _TextTokens:
    """pandas as the host's dataset module sees it; pandas itself stays as it is for everyone else."""

    def __getattr__(self, name: str) -> Any:
        return getattr(pd, name)

    @staticmethod
    def read_csv(*args: Any, **kwargs: Any) -> pd.DataFrame:
        """Read every cell of a token column as text: NA, null and None are values, only an empty cell is none.

        Columns of sequences arrive without missing values: the host would fill them by a chained `fillna`.
        """
        kinds = {column: column.rpartition(":")[2] for column in kwargs["dtype"]}
        numbers = {column: list(MISSING_NUMBERS) for column, kind in kinds.items() if kind.startswith("float")}
        frame = pd.read_csv(*args, **kwargs, keep_default_na=False, na_values=numbers)
        for column, kind in kinds.items():
            if kind == "token":
                frame[column] = frame[column].where(frame[column] != "")
            elif kind.endswith("_seq"):
                frame[column] = frame[column].fillna("")
        return frame


def read_tokens_as_text() -> None:
    """Let RecBole read tokens as text: by default pandas drops the users of a country whose code is NA."""
    from recbole.data.dataset import dataset as host

    if not isinstance(host.pd, _TextTokens):
        host.pd = _TextTokens()


class _HostPandas(_TextTokens):
    """The same, with the idioms that pandas 3 ended."""

    DataFrame = _HostFrame

    @staticmethod
    def read_csv(*args: Any, **kwargs: Any) -> pd.DataFrame:
        """The table as a frame whose columns keep `agg(len)`."""
        return _HostFrame(_TextTokens.read_csv(*args, **kwargs))


def _fill_by_assignment(fill_rest: Callable[[Any], None]) -> Callable[[Any], None]:
    """Wrap `Dataset._fill_nan` so that tokens and floats are filled by assignment before the host looks."""

    @wraps(fill_rest)
    def fill_nan(dataset: Any) -> None:
        for feat_name in dataset.feat_name_list:
            feat = getattr(dataset, feat_name)
            for field in feat:
                kind = dataset.field2type[field].value
                if kind == "token":
                    feat[field] = feat[field].fillna(0)
                elif kind == "float":
                    feat[field] = feat[field].fillna(feat[field].mean())
        fill_rest(dataset)

    return fill_nan


def restore_pandas_idioms() -> None:
    """Give the host the pandas idioms that pandas 3 ended: chained in-place `fillna` (upstream issue 2155), `agg(len)`.

    Without the first, an item without metadata gets a huge negative id instead of 0; without the second, no column
    of sequences (genres, title words) loads.
    """
    if _chained_fillna_works() and _agg_len_works():
        return
    from recbole.data.dataset import dataset as host

    if not isinstance(host.pd, _HostPandas):
        host.pd = _HostPandas()
        host.Dataset._fill_nan = _fill_by_assignment(host.Dataset._fill_nan)


class NoTensorboard:
    """Stands where the host opens a tensorboard writer in the working directory of whoever calls it."""

    def add_scalar(self, *_: object, **__: object) -> None:
        """Drop a scalar: history.csv has it."""

    def add_hparams(self, *_: object, **__: object) -> None:
        """Drop the hyper-parameters: config.yaml has them."""


def silence_tensorboard() -> None:
    """Keep the host from creating `./log_tensorboard` (it has no key to switch it off)."""
    from recbole.trainer import trainer

    trainer.get_tensorboard = _no_tensorboard


def _no_tensorboard(log: logging.Logger) -> NoTensorboard:
    log.info("TensorBoard is off: history.csv holds every loss and validation figure")
    return NoTensorboard()


def apply() -> None:
    """Install every shim that this environment needs; safe to call again."""
    restore_numpy_aliases()
    restore_dok_update()
    read_tokens_as_text()
    restore_pandas_idioms()
    silence_tensorboard()
