"""Fixtures over the planted toy data of toy.py; every test runs offline."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from toy import toy_keys, write_toy

pytest_plugins = ["searching"]  # searches on the toy data, and a small Ray


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """No test could see what a power failure loses, and a small run waits for its files longer than it computes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data_path that holds the toy data set."""
    root = tmp_path_factory.mktemp("atomic")
    write_toy(root)
    return root


@pytest.fixture
def toy(toy_root: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """`toy(model, **more)`: keys for a run in a fresh folder."""
    return lambda model, **more: {**toy_keys(toy_root, tmp_path / "run", model), **more}


@pytest.fixture
def run_toy(toy: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
    """Run a model on the toy data."""
    from recbole_fair import run

    return lambda model, **more: run(**toy(model, **more))
