"""The cache of item vectors: what it reuses, what it refuses, and that two writers cannot harm it."""

from __future__ import annotations

import json
import logging
import multiprocessing
import pickle
import resource
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from recbole_fair.encoding.cache import clear, describe, item_vectors
from recbole_fair.errors import UsageError
from recbole_fair.models.p5.wording import _folder

TOKENS = ["10", "7", "x", "23"]
TEXTS = ["Toy Story", "Heat", "", "Amélie 1995"]


def vector_of(text: str, width: int = 3) -> np.ndarray:
    """What the fake encoder gives; exact in float32."""
    return np.array([len(text), sum(map(ord, text)) % 1000, width], dtype=np.float32)[:width]


class CountingEncoder:
    """Remembers which texts it was asked for."""

    source = "a test"

    def __init__(self, identity: str = "counting", per_text: bool = True) -> None:
        self.identity, self.per_text, self.width = identity, per_text, 3
        self.asked: list[list[str]] = []

    def encode(self, texts: Sequence[str], progress: bool = False) -> np.ndarray:
        self.asked.append(list(texts))
        return np.stack([vector_of(text) for text in texts])


def expected(texts: Sequence[str]) -> np.ndarray:
    return np.stack([vector_of(text) for text in texts])


def only_file(folder: Path) -> Path:
    (path,) = folder.glob("*.safetensors")
    return path


def test_a_second_call_encodes_nothing_and_maps_the_file(tmp_path: Path) -> None:
    item_vectors(CountingEncoder(), TOKENS, TEXTS, tmp_path)
    again = CountingEncoder()
    vectors = item_vectors(again, TOKENS, TEXTS, tmp_path)
    assert again.asked == []
    np.testing.assert_array_equal(vectors, expected(TEXTS))
    assert str(only_file(tmp_path)) in Path("/proc/self/maps").read_text()
    before = only_file(tmp_path).read_bytes()
    vectors[:] = 0
    assert only_file(tmp_path).read_bytes() == before


def test_another_filter_encodes_only_the_new_rows(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    item_vectors(encoder, TOKENS[1:3], TEXTS[1:3], tmp_path)
    vectors = item_vectors(encoder, TOKENS[::-1], TEXTS[::-1], tmp_path)
    assert encoder.asked == [["Heat", ""], ["Amélie 1995", "Toy Story"]]
    np.testing.assert_array_equal(vectors, expected(TEXTS[::-1]))
    np.testing.assert_array_equal(item_vectors(encoder, ["x"], [""], tmp_path), expected([""]))
    assert len(encoder.asked) == 2


def test_a_changed_title_encodes_one_row(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    item_vectors(encoder, TOKENS, TEXTS, tmp_path)
    changed = [TEXTS[0], "Heat (1995)", *TEXTS[2:]]
    np.testing.assert_array_equal(item_vectors(encoder, TOKENS, changed, tmp_path), expected(changed))
    assert encoder.asked[1:] == [["Heat (1995)"]]


def test_a_row_is_known_by_token_and_text_together(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    item_vectors(encoder, ["1"], ["23"], tmp_path)
    np.testing.assert_array_equal(item_vectors(encoder, ["12"], ["3"], tmp_path), expected(["3"]))


def test_duplicate_items_are_encoded_once(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    vectors = item_vectors(encoder, ["1", "2", "1"], ["a", "bb", "a"], tmp_path)
    assert encoder.asked == [["a", "bb"]]
    np.testing.assert_array_equal(vectors, expected(["a", "bb", "a"]))


def test_encoders_do_not_share_rows(tmp_path: Path) -> None:
    item_vectors(CountingEncoder("first"), TOKENS, TEXTS, tmp_path)
    second = CountingEncoder("second")
    item_vectors(second, TOKENS, TEXTS, tmp_path)
    assert second.asked == [TEXTS]


def test_vectors_that_depend_on_the_corpus_are_kept_by_corpus(tmp_path: Path) -> None:
    encoder = CountingEncoder(per_text=False)
    item_vectors(encoder, TOKENS, TEXTS, tmp_path)
    item_vectors(encoder, TOKENS[:2], TEXTS[:2], tmp_path)
    item_vectors(encoder, TOKENS, TEXTS, tmp_path)
    assert encoder.asked == [TEXTS, TEXTS[:2]]


def test_no_items_and_unequal_lengths(tmp_path: Path) -> None:
    assert item_vectors(CountingEncoder(), [], [], tmp_path).shape == (0, 3)
    with pytest.raises(ValueError, match="2 item tokens, but 1 texts"):
        item_vectors(CountingEncoder(), ["1", "2"], ["a"], tmp_path)


def test_vectors_that_are_not_finite_are_refused_and_not_kept(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    encoder.encode = lambda texts, progress=False: np.full((len(texts), 3), np.nan, np.float32)  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="not finite"):
        item_vectors(encoder, TOKENS, TEXTS, tmp_path)
    assert describe(tmp_path) == []


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def cut_in_the_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_bit_of_a_vector(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)


def endless_header(path: Path) -> None:
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")


def deeply_nested_header(path: Path) -> None:
    path.write_bytes((200_000).to_bytes(8, "little") + b"[" * 200_000)


def pickled_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([Bomb()], dtype=object), allow_pickle=True)


def bare_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb()))


def notes_of(path: Path) -> dict[str, str]:
    content = path.read_bytes()
    header: dict[str, Any] = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return dict(header["__metadata__"])


def rewritten(path: Path, change: Callable[[dict[str, Any], dict[str, str]], None]) -> None:
    tensors, notes = load_file(path), notes_of(path)
    change(tensors, notes)
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, path, notes)


def another_encoder(path: Path) -> None:
    rewritten(path, lambda tensors, notes: notes.update(identity="other"))


def another_width(path: Path) -> None:
    rewritten(path, lambda tensors, notes: tensors.update(vectors=tensors["vectors"][:, :2]))


def a_row_short(path: Path) -> None:
    rewritten(path, lambda tensors, notes: tensors.update(vectors=tensors["vectors"][1:]))


def half_precision(path: Path) -> None:
    rewritten(path, lambda tensors, notes: tensors.update(vectors=tensors["vectors"].astype(np.float16)))


def one_dimension(path: Path) -> None:
    rewritten(path, lambda tensors, notes: tensors.update(vectors=tensors["vectors"][:, 0]))


def no_format(path: Path) -> None:
    rewritten(path, lambda tensors, notes: notes.update(format="something else"))


DAMAGES = [
    (cut, "cut off"),
    (cut_in_the_header, "cut off"),
    (emptied, "cut off"),
    (flip_a_bit_of_a_vector, "hash"),
    (endless_header, "cut off"),
    (deeply_nested_header, "no safetensors file"),
    (pickled_array, "no safetensors file"),
    (bare_pickle, "no safetensors file"),
    (another_encoder, "another encoder, 'other'"),
    (another_width, "width 2, expected 3"),
    (a_row_short, "3 vectors"),
    (half_precision, "torch.float16"),
    (one_dimension, "1-dimensional"),
    (no_format, "format"),
]


class Bomb:
    """Unpickling it raises the alarm."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return pytest.fail, ("a pickle was executed",)


@pytest.mark.parametrize(("damage", "reason"), DAMAGES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_damaged_file_is_named_and_made_again(
    damage: Callable[[Path], None], reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    item_vectors(CountingEncoder(), TOKENS, TEXTS, tmp_path)
    path = only_file(tmp_path)
    damage(path)
    encoder = CountingEncoder()
    with caplog.at_level(logging.WARNING):
        vectors = item_vectors(encoder, TOKENS, TEXTS, tmp_path)
    np.testing.assert_array_equal(vectors, expected(TEXTS))
    assert encoder.asked == [TEXTS]
    assert str(path) in caplog.text
    assert reason in caplog.text
    assert len(caplog.records) == 1
    assert item_vectors(encoder, TOKENS, TEXTS, tmp_path).shape == (4, 3)
    assert encoder.asked == [TEXTS]


def write_a_share(folder: str, first: int, start: Any) -> None:
    """The work of one process: 20 calls, each of which adds rows of its own and reads shared ones."""
    start.wait()
    for call in range(20):
        tokens = [f"{first + call}", *(f"s{n}" for n in range(call))]
        texts = [f"text {token}" for token in tokens]
        np.testing.assert_array_equal(item_vectors(CountingEncoder(), tokens, texts, folder), expected(texts))


def test_two_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start = context.Barrier(2)
    workers = [context.Process(target=write_a_share, args=(str(tmp_path), first, start)) for first in (1000, 2000)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    tokens = [*(str(1000 + n) for n in range(20)), *(str(2000 + n) for n in range(20)), *(f"s{n}" for n in range(19))]
    encoder = CountingEncoder()
    item_vectors(encoder, tokens, [f"text {token}" for token in tokens], tmp_path)
    assert encoder.asked == []
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".part") == []


def test_a_full_disk_costs_the_cache_but_not_the_vectors(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = [str(n) for n in range(5000)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        vectors = item_vectors(CountingEncoder(), tokens, tokens, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    np.testing.assert_array_equal(vectors, expected(tokens))
    assert "could not be kept" in caplog.text
    assert describe(tmp_path) == []


def test_a_cache_dir_that_is_a_file_costs_only_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = tmp_path / "file"
    place.write_text("mine")
    np.testing.assert_array_equal(item_vectors(CountingEncoder(), TOKENS, TEXTS, place), expected(TEXTS))
    assert str(place) in caplog.text
    assert place.read_text() == "mine"


def test_describe_and_clear_touch_only_what_the_cache_wrote(tmp_path: Path) -> None:
    folder, outside = tmp_path / "cache", tmp_path / "outside.safetensors"
    item_vectors(CountingEncoder("one"), TOKENS, TEXTS, folder)
    written = only_file(folder)
    outside.write_bytes(written.read_bytes())
    link = folder / f"item-vectors-{'0' * 32}.safetensors"
    link.symlink_to(outside)
    others = [folder / "model.safetensors", folder / "item-vectors-notes.txt", folder / "sub" / written.name]
    for other in others:
        other.parent.mkdir(exist_ok=True)
        other.write_text("keep me")
    assert [tuple(entry) for entry in describe(folder)] == [(written, written.stat().st_size, 4, "one")]
    size = written.stat().st_size
    assert clear(folder) == size
    assert not written.exists()
    assert outside.exists()
    assert link.is_symlink()
    assert all(other.read_text() == "keep me" for other in others)
    assert {path.name for path in folder.iterdir()} == {link.name, "sub", "model.safetensors", "item-vectors-notes.txt"}


def test_clear_also_removes_what_a_killed_writer_left_and_damaged_files(tmp_path: Path) -> None:
    item_vectors(CountingEncoder(), TOKENS, TEXTS, tmp_path)
    path = only_file(tmp_path)
    path.with_name(f"{path.name}.123.part").write_bytes(b"12345")
    path.write_bytes(b"1234567")
    assert {(entry.bytes, entry.rows, entry.identity) for entry in describe(tmp_path)} == {(7, 0, ""), (5, 0, "")}
    assert clear(tmp_path) == 12
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_holds_nothing(tmp_path: Path) -> None:
    assert describe(tmp_path / "none") == []
    assert clear(tmp_path / "none") == 0


def test_a_cache_folder_below_the_home_is_not_one_of_that_name_here(
    run_toy: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    run_toy("Linear", cache_dir="~/kept", epochs=1)
    assert any((tmp_path / "home" / "kept").rglob("*"))
    config = {"base_llm": "tiny", "cache_dir": "~/words", "seed": 0, "tiny_width": 16, "tiny_layers": 1,
              "tiny_heads": 2, "max_length": 64}  # fmt: skip
    assert _folder(config, {}).folder.is_relative_to(tmp_path / "home" / "words")
    assert not (tmp_path / "~").exists()
