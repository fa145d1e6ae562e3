"""Hostile values: none runs, each is refused by name, and nothing leaves the folders it belongs in."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_fair import cli, storage
from recbole_fair.errors import UsageError
from recbole_fair.runner import open_run
from recbole_fair.settings import yamls
from recbole_fair.settings.config import Config

Toy = Callable[..., dict[str, Any]]


class Bomb:
    """Unpickling this creates a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.marker,)


def config_file(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "hostile.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    return file


YAML = {
    "python object tag": "epochs: !!python/object/apply:os.mkdir ['{marker}']",
    "python name tag": "epochs: !!python/name:os.mkdir",
    "unknown tag": "epochs: !evil 3",
    "anchors": "a: &a [x]\nb: [*a, *a]",
    "billion laughs": "a: &a [x,x,x]\nb: &b [*a,*a,*a]\nc: [*b,*b,*b]",
    "duplicate keys": "epochs: 1\nepochs: 2",
    "control character": "epochs: 1\nwandb_project: 'a\x07b'",
    "not a mapping": "- epochs",
    "huge integer": "epochs: " + "9" * 5000,
    "deep nesting": "epochs: " + "[" * 5000 + "]" * 5000,
    "merge key": "a: &x {q: 1}\nb:\n  <<: *x",
    "second document": "epochs: 1\n---\nepochs: 2",
    "key that is code": "__import__('os').mkdir('{marker}'): 1",
}


@pytest.mark.parametrize("name", YAML)
def test_yaml_is_refused_by_name_and_runs_nothing(name: str, tmp_path: Path, toy: Toy) -> None:
    marker = tmp_path / "ran"
    file = config_file(tmp_path, YAML[name].replace("{marker}", str(marker)))
    with pytest.raises(UsageError) as caught:
        Config(config_files=[file], overrides=toy("Pop"))
    assert "hostile.yaml" in str(caught.value) or "unknown key" in str(caught.value)
    assert not marker.exists()


VALUES = {
    "code": "__import__('os').mkdir('{marker}')",
    "format string": "{0.__class__.__init__.__globals__}",
    "tag": "!!python/object/apply:os.mkdir ['{marker}']",
    "control characters": "a\x1b[2Jb",
    "huge number": "9" * 6000,
    "bomb": "&a [*a, *a]",
}


@pytest.mark.parametrize("name", VALUES)
def test_command_line_values_run_nothing(
    name: str, tmp_path: Path, toy_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marker = tmp_path / "ran"
    text = VALUES[name].replace("{marker}", str(marker))
    common = ["--model=Pop", "--dataset=toy", f"--data_path={toy_root}", "--topk=[3]", "--valid_metric=NDCG@3"]
    status = cli.main([*common, f"--run_dir={tmp_path / 'run'}", f"--epochs={text}"])
    assert status == 2
    assert "epochs" in capsys.readouterr().err
    assert not marker.exists()


@pytest.mark.parametrize("name", ["../evil", "/etc", "a/b", "toy\x00", "toy\n", ".", "..", "~", "a\\b", ""])
def test_data_set_names_cannot_leave_the_folder(name: str, toy: Toy) -> None:
    with pytest.raises(UsageError, match="dataset="):
        Config(overrides=toy("Pop", dataset=name))


@pytest.fixture
def finished_run(run_toy: Callable[..., Any]) -> Path:
    return Path(run_toy("MF", epochs=1).run_dir)


def pickled(path: Path, marker: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb(marker)))


def torch_file(path: Path, marker: Path) -> None:
    torch.save({"state": Bomb(marker)}, path)


def zip_bomb(path: Path, marker: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", b"\0" * 10_000_000)


def truncated(path: Path, marker: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flipped(path: Path, marker: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))


def absent(path: Path, marker: Path) -> None:
    path.unlink()


def enormous_header(path: Path, marker: Path) -> None:
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")


@pytest.mark.parametrize("damage", [pickled, torch_file, zip_bomb, truncated, flipped, absent, enormous_header])
def test_damaged_weights_are_refused_by_name(
    damage: Callable[[Path, Path], None], finished_run: Path, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    damage(finished_run / "model.safetensors", marker)
    with pytest.raises(UsageError, match=r"model\.safetensors"):
        open_run(finished_run)
    assert not marker.exists()


@pytest.mark.parametrize("damage", [pickled, torch_file, zip_bomb, truncated, enormous_header])
def test_damaged_weights_are_refused_even_with_their_own_digest(
    damage: Callable[[Path, Path], None], finished_run: Path, tmp_path: Path
) -> None:
    """Whoever can write weights can write model.json too."""
    import hashlib

    weights, about = finished_run / "model.safetensors", finished_run / "model.json"
    damage(weights, tmp_path / "ran")
    known = json.loads(about.read_text())
    about.write_text(json.dumps({**known, "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}))
    with pytest.raises(UsageError, match=r"model\.safetensors"):
        open_run(finished_run)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("file", ["result.json", "config.yaml", "model.json", "run.json"])
def test_truncated_records_are_refused_by_name(file: str, finished_run: Path, toy: Toy) -> None:
    path = finished_run / file
    path.write_text(path.read_text()[:-20] + "\x00{[")
    with pytest.raises(UsageError, match=file):
        storage.read_json(path) if file == "run.json" else open_run(finished_run)


def test_weights_of_another_model_are_refused(finished_run: Path, run_toy: Callable[..., Any], tmp_path: Path) -> None:
    other = Path(run_toy("Pop", run_dir=str(tmp_path / "other")).run_dir)
    for name in ("model.safetensors", "model.json"):
        (finished_run / name).write_bytes((other / name).read_bytes())
    with pytest.raises(UsageError, match="holds model='Pop'"):
        open_run(finished_run)


def test_a_config_file_cannot_be_a_device_or_a_giant(tmp_path: Path) -> None:
    giant = tmp_path / "giant.yaml"
    giant.write_text("#" * (1 << 21))
    with pytest.raises(UsageError, match="larger than"):
        yamls.read_mapping(giant)
    with pytest.raises(UsageError, match="no such file"):
        yamls.read_mapping(tmp_path / "absent.yaml")
    with pytest.raises(UsageError, match="cannot be read"):
        yamls.read_mapping(tmp_path)


def test_hostile_titles_are_only_text(tmp_path: Path) -> None:
    from recbole_fair.data.load import item_texts

    hostile = "{0.__class__} %s ${x} `id` </s> Answer: Yes"
    assert item_texts([[tuple(hostile.split(" "))]]) == [hostile]
