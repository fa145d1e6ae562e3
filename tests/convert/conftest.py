"""Running the converter as the command line does, and reading its files back through RecBole by other means."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from recbole_fair import storage
from recbole_fair.commands import convert as command
from recbole_fair.commands.arguments import Arguments

RAW = Path(__file__).parents[3] / "shared/data"


@pytest.fixture
def convert(tmp_path: Path) -> Callable[..., Path]:
    """Convert a raw folder into tmp_path/out and return the folder of the data set."""

    def run(source: str, raw: Path, *switches: str, **options: Any) -> Path:
        out = Path(options.pop("out", tmp_path / "out"))
        name = options.get("name", source)
        arguments = Arguments([source], {"raw": str(raw), "out": str(out), **options}, set(switches))
        assert command.main(arguments) == 0
        return out / name

    return run


@pytest.fixture
def published() -> Callable[[str], Path]:
    """The folder of a publisher's files; the test is skipped where they are not."""

    def folder(name: str) -> Path:
        if not (RAW / name).is_dir():
            pytest.skip(f"the raw files of {name} are not in {RAW} (dataset_atomic/README.md says how to get them)")
        return RAW / name

    return folder


def manifest(folder: Path) -> dict[str, Any]:
    return storage.read_json(folder / "manifest.json")


def through_recbole(folder: Path) -> dict[str, dict[str, list[Any]]]:
    """Every column of the three tables as RecBole has it, raw values again: [PAD] for what is missing."""
    from recbole_fair.host import Dataset
    from recbole_fair.settings.config import Config

    with TemporaryDirectory() as neutral:  # under its own name RecBole would apply the filters of its property file
        copy = Path(neutral) / "plain"
        copy.mkdir()
        for suffix in ("inter", "user", "item"):
            shutil.copy(folder / f"{folder.name}.{suffix}", copy / f"plain.{suffix}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = Dataset(Config("MF", "plain", overrides={"data_path": neutral, "eval_args": {"order": "RO"}}))
    feats = {"inter": dataset.inter_feat, "user": dataset.user_feat[1:], "item": dataset.item_feat[1:]}
    return {name: {field: _raw(dataset, field, feat[field]) for field in feat} for name, feat in feats.items()}


def _raw(dataset: Any, field: str, column: Any) -> list[Any]:
    tokens = dataset.field2id_token.get(field)
    if tokens is None:
        return column.tolist()
    if hasattr(column.iloc[0], "__len__"):
        return [[str(tokens[place]) for place in row] for row in column]
    return [str(tokens[int(place)]) for place in column]
