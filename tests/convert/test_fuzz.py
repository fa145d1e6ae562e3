"""Corrupted raw files: a refusal, a counted drop, or still a valid file; never a traceback, never half a folder."""

from __future__ import annotations

import gzip
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from convert import mini
from convert.conftest import manifest
from convert.test_bad_input import SOURCES, is_clean, options

from recbole_fair.errors import UsageError

Corruption = Callable[[random.Random, bytes], bytes]


def cut(draw: random.Random, content: bytes) -> bytes:
    return content[: draw.randrange(len(content))]


def remove(draw: random.Random, content: bytes) -> bytes:
    start = draw.randrange(len(content))
    return content[:start] + content[start + draw.randint(1, 200) :]


def insert(draw: random.Random, content: bytes) -> bytes:
    start = draw.randrange(len(content))
    return content[:start] + draw.randbytes(draw.randint(1, 20)) + content[start:]


def flip(draw: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.randint(1, 20)):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def punctuate(draw: random.Random, content: bytes) -> bytes:
    """Separators, quotes, escapes and line ends where they do not belong."""
    signs = [
        b"::",
        b"|",
        b"\t",
        b",",
        b";",
        b'"',
        b"'",
        b"\\",
        b"\n",
        b"\r",
        b"\0",
        b"{",
        b"}",
        b"[",
        b"\xef\xbb\xbf",
        b"null\n",
    ]
    for _ in range(draw.randint(1, 8)):
        start = draw.randrange(len(content))
        content = content[:start] + draw.choice(signs) + content[start + draw.randint(0, 1) :]
    return content


def numbers(draw: random.Random, content: bytes) -> bytes:
    """Digits become what no number should be."""
    strange = [b"nan", b"-1", b"1e999", b"0x7", b"9" * 40, b"", b" ", b"\xd9\xa3", b"True"]
    places = [place for place, byte in enumerate(content) if chr(byte).isdigit()]
    for place in sorted(draw.sample(places, min(3, len(places))), reverse=True):
        content = content[:place] + draw.choice(strange) + content[place + 1 :]
    return content


def shuffle_lines(draw: random.Random, content: bytes) -> bytes:
    lines = content.split(b"\n")
    draw.shuffle(lines)
    return b"\n".join(lines)


def empty(_draw: random.Random, _content: bytes) -> bytes:
    return b""


CORRUPTIONS: tuple[Corruption, ...] = (cut, remove, insert, flip, punctuate, numbers, shuffle_lines, empty)


def corrupt(draw: random.Random, raw: Path) -> str:
    """Damage one file; sometimes take it away, swap it with another, or damage it as a gzip file."""
    path = draw.choice(sorted(raw.iterdir()))
    kind = draw.random()
    if kind < 0.04:
        path.unlink()
        return "missing"
    if kind < 0.08:
        path.unlink()
        path.mkdir()
        return "a folder"
    if kind < 0.12:
        path.write_bytes(draw.choice(sorted(raw.iterdir())).read_bytes())
        return "swapped"
    corruption = draw.choice(CORRUPTIONS)
    if path.suffix == ".gz" and draw.random() < 0.5:  # inside the archive, or the archive itself
        path.write_bytes(gzip.compress(corruption(draw, gzip.decompress(path.read_bytes()))))
    else:
        path.write_bytes(corruption(draw, path.read_bytes()))
    return corruption.__name__


def outcome(seed: int, folder: Path, convert: Callable[..., Path]) -> str:
    draw = random.Random(seed)
    source = list(SOURCES)[seed % len(SOURCES)]
    raw = SOURCES[source](folder / "raw")
    corrupt(draw, raw)
    out = folder / "out"
    policy = draw.choice(["stop", "drop"])
    try:
        made = convert(source, raw, out=out, on_error=policy, **options(source, raw))
    except UsageError as error:
        assert str(folder) in str(error) or source in str(error)  # names a file or the source
        assert is_clean(out)
        return "refused"
    facts = manifest(made)
    assert sorted(path.name for path in out.iterdir()) == [source]
    own = [".yaml"] if source == "csv" else []
    assert sorted(path.suffix for path in made.iterdir()) == [".inter", ".item", ".json", ".user", *own]
    accounts = [account for files in facts["rows"].values() for account in files.values()]
    assert all(account["read"] == account["kept"] + sum(account["dropped"].values()) for account in accounts)
    return "counted drop" if any(account["dropped"] for account in accounts) else "still valid"


def run(seeds: range, tmp_path: Path, convert: Callable[..., Path]) -> Counter[str]:
    seen: Counter[str] = Counter()
    for seed in seeds:
        folder = tmp_path / str(seed)
        folder.mkdir()
        seen[outcome(seed, folder, convert)] += 1
    print(dict(seen))
    return seen


def test_some_corruptions(tmp_path: Path, convert: Callable[..., Path]) -> None:
    seen = run(range(63), tmp_path, convert)
    assert min(seen["refused"], seen["counted drop"]) > 0


@pytest.mark.slow
def test_a_thousand_corruptions(tmp_path: Path, convert: Callable[..., Path]) -> None:
    assert sum(run(range(1000, 2000), tmp_path, convert).values()) == 1000
    assert os.listdir(tmp_path)  # noqa: PTH208


def test_line_noise_is_told_from_lines(tmp_path: Path, convert: Callable[..., Path]) -> None:
    """Every kind of damage to every file of one source, both policies."""
    for number, corruption in enumerate(CORRUPTIONS):
        raw = mini.ml_1m(tmp_path / f"raw{number}")
        for path in sorted(raw.iterdir()):
            whole = path.read_bytes()
            path.write_bytes(corruption(random.Random(number), whole))
            out = tmp_path / f"{corruption.__name__}-{path.name}"
            try:
                convert("ml-1m", raw, out=out, on_error="drop", verify="sample")
            except UsageError:
                assert is_clean(out)
            path.write_bytes(whole)
