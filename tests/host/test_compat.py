"""Each shim: needed where the feature is gone, undone it fails, and harmless where a fixed stack arrives."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import dok_matrix

from recbole_fair.data import load
from recbole_fair.errors import UsageError
from recbole_fair.host import compat
from recbole_fair.settings.config import Config

Toy = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.newest


def test_numpy_aliases_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    from recbole.config import Config as Host

    for alias in ("float_", "complex_", "unicode_"):
        monkeypatch.delattr(np, alias, raising=False)
    with pytest.raises(AttributeError):
        Host.compatibility_settings(object())
    compat.restore_numpy_aliases()
    assert vars(np)["float_"] is np.float64
    Host.compatibility_settings(object())


def test_dok_update_comes_back(monkeypatch: pytest.MonkeyPatch, toy: Toy) -> None:
    """Without it LightGCN, NGCF, NCL, GCMC and SpectralCF cannot build their graph."""
    matrix = dok_matrix((2, 3))
    if hasattr(dok_matrix, "_update"):
        monkeypatch.delattr(dok_matrix, "_update")
    with pytest.raises(AttributeError):
        matrix._update({(0, 1): 5.0})
    compat.restore_dok_update()
    matrix._update({(0, 1): 5.0})
    assert matrix.toarray().tolist() == [[0, 5, 0], [0, 0, 0]]


def test_a_working_dok_update_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fixed(self: Any, entries: Any) -> None: ...

    monkeypatch.setattr(dok_matrix, "_update", fixed, raising=False)
    compat.restore_dok_update()
    assert dok_matrix._update is fixed


@pytest.fixture
def pandas_without_chained_fillna(monkeypatch: pytest.MonkeyPatch) -> None:
    """pandas 3's behaviour (copy-on-write), which pandas 2 offers as an option."""
    from recbole.data.dataset import dataset as host

    original = host.Dataset._fill_nan
    monkeypatch.setattr(host, "pd", pd)
    monkeypatch.setattr(host.Dataset, "_fill_nan", getattr(original, "__wrapped__", original))
    if int(pd.__version__.split(".")[0]) < 3:
        pd.set_option("mode.copy_on_write", True)
    yield
    if int(pd.__version__.split(".")[0]) < 3:
        pd.set_option("mode.copy_on_write", False)


def gender_of_padding(toy: Toy) -> float:
    """Row 0 has no line in any file, as an item without metadata has none."""
    return load.load(Config(overrides=toy("Pop"))).dataset.user_feat["gender"][0].item()


def test_chained_fillna_comes_back(
    pandas_without_chained_fillna: None, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it a missing attribute becomes a huge negative id, and an empty genre list crashes the load."""
    from recbole.data.dataset import dataset as host

    assert not compat._chained_fillna_works()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            broken = gender_of_padding(toy)
        except Exception:
            broken = None
        assert broken != 0
        compat.restore_pandas_idioms()
        assert gender_of_padding(toy) == 0
        once = host.Dataset._fill_nan
        compat.restore_pandas_idioms()
        assert host.Dataset._fill_nan is once, "applying twice wraps once"


def test_sequences_load_without_agg_len(
    pandas_without_chained_fillna: None, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pandas 3 hands `agg(len)` the whole column, so RecBole splits genres at one place only."""
    real = pd.Series.agg
    monkeypatch.setattr(
        pd.Series, "agg", lambda self, func, *rest: len(self) if func is len else real(self, func, *rest)
    )
    assert not compat._agg_len_works()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UsageError, match="cannot load"):
            load.load(Config(overrides=toy("Pop")))
        compat.restore_pandas_idioms()
        assert load.load(Config(overrides=toy("Pop"))).values("genre", "test")[1] != ()


def test_empty_sequences_load(toy_root: Path, toy: Toy, tmp_path: Path) -> None:
    folder = tmp_path / "root" / "toy"
    folder.mkdir(parents=True)
    for file in (toy_root / "toy").iterdir():
        (folder / file.name).write_text(file.read_text().replace("comic drawn", ""))
    config = Config(overrides=toy("Pop", data_path=str(tmp_path / "root"), item_groups=["pop"]))
    assert load.load(config).values("genre", "test")[1] in ((), ("noir",))


def test_no_tensorboard_folder_is_made_and_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from recbole.trainer import trainer

    monkeypatch.chdir(tmp_path)
    with caplog.at_level("INFO"):
        writer = trainer.get_tensorboard(logging.getLogger())
    assert "TensorBoard is off: history.csv" in caplog.text
    writer.add_scalar("a", 1, 2)
    writer.add_hparams({}, {})
    assert not list(tmp_path.iterdir())


def test_applying_twice_changes_nothing() -> None:
    compat.apply()
    before = (vars(np)["float_"], dok_matrix._update)
    compat.apply()
    assert (vars(np)["float_"], dok_matrix._update) == before


def test_a_run_needs_no_ray_and_leaves_torch_load_as_it_is() -> None:
    """RecBole's pickles are never read, so torch's own caution stays."""
    code = (
        "import torch, inspect, sys; before = torch.load; import recbole_fair.runner; assert torch.load is before;"
        "assert inspect.signature(torch.load).parameters['weights_only'].default is None;"
        "assert 'recbole_fair.host' in sys.modules and 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
