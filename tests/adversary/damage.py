"""Seeded damage to the files of a run's folder, by someone who knows our formats as well as by a failing disk."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from recbole_fair import storage

Damage = Callable[[random.Random, Path], None]
HOSTILE: list[Any] = [
    None, True, -1, 0, 2**63, 1e308, "", "a\nb", "\x1b[2J", "../../etc/passwd", "NaN", "{0.__class__}", [], [[]], {},
    {"a": None}, ["x"], [1, 2], "!!python/object/apply:os.mkdir [ran]", "x" * 5000,
]  # fmt: skip


def flipped(draw: random.Random, path: Path) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(draw.randint(1, 3)):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(bytes(content))


def cut(draw: random.Random, path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(len(content))])


def inserted(draw: random.Random, path: Path) -> None:
    content, position = path.read_bytes(), draw.randrange(path.stat().st_size)
    junk = draw.choice([b"\x00", b"\xff\xfe", b'"', b"{[", b"\n", b"\r", b",,,", b"\t", b"NaN", b"1e999", b"\x1b[2J"])
    path.write_bytes(content[:position] + junk * draw.randint(1, 50) + content[position:])


def repeated(draw: random.Random, path: Path) -> None:
    lines = path.read_bytes().split(b"\n")
    place = draw.randrange(len(lines))
    path.write_bytes(b"\n".join([*lines[:place], lines[place], *lines[place:]]))


def gone(draw: random.Random, path: Path) -> None:
    path.unlink()


def pipe(draw: random.Random, path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def device(draw: random.Random, path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def folder(draw: random.Random, path: Path) -> None:
    path.unlink()
    path.mkdir()


BYTES: list[Damage] = [flipped, cut, inserted, repeated, gone, pipe, device, folder]


def another_value(draw: random.Random, path: Path) -> None:
    """Well-formed JSON with one value, at any depth, of another kind."""
    whole = json.loads(path.read_text())
    places = list(_places(whole))
    holder, key = draw.choice(places)
    holder[key] = draw.choice(HOSTILE)
    path.write_text(json.dumps(whole))


def _places(value: Any) -> Any:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield value, key
        yield from _places(entry)


def another_setting(draw: random.Random, path: Path) -> None:
    """A well-formed config.yaml with one value of another kind."""
    lines = path.read_text().split("\n")
    tops = [place for place, line in enumerate(lines) if line and not line.startswith((" ", "-")) and ": " in line]
    place = draw.choice(tops)
    lines[place] = f"{lines[place].partition(':')[0]}: {json.dumps(draw.choice(HOSTILE))}"
    path.write_text("\n".join(lines))


def another_tensor(draw: random.Random, path: Path) -> None:
    """Forged weights that model.json vouches for: another shape, type or number of one tensor, or none of it."""
    state = load_file(path)
    name = draw.choice(sorted(state))
    forged = _forged(draw, state.pop(name).clone())
    if forged is not None:
        state[name] = forged
    save_file(state, path, metadata={"about": "{}"})
    path.chmod(0o644)
    facts = path.with_name("model.json")
    about = {**json.loads(facts.read_text()), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    facts.write_text(json.dumps(about))


def _forged(draw: random.Random, value: torch.Tensor) -> torch.Tensor | None:
    """NaN, infinities, integers far outside, other shapes and types."""
    kind = draw.randrange(7)
    if kind == 0:
        return None
    if kind == 1:
        return value.to(torch.int8)
    if kind == 2:
        return value.flatten()[: value.numel() // 2]
    if kind == 3:
        return value.unsqueeze(0)
    flat = value.flatten()
    if len(flat):
        flat[draw.randrange(len(flat))] = draw.choice(
            [float("nan"), float("inf")] if value.is_floating_point() else [-1, 10**6, 2**31 - 1]
        )
    return flat.reshape(value.shape)


def resealed(draw: random.Random, path: Path) -> None:
    """A resume point whose description was changed and which was sealed again."""
    tensors, about = storage.read_sealed(path)
    holder, key = draw.choice(list(_places(about)))
    holder[key] = draw.choice(HOSTILE)
    storage.write_sealed(path, tensors, about)


BY_FILE: dict[str, list[Damage]] = {
    "result.json": [*BYTES, *[another_value] * 8],
    "model.json": [*BYTES, *[another_value] * 3],
    "run.json": [*BYTES, *[another_value] * 3],
    "config.yaml": [*BYTES, *[another_setting] * 8],
    "model.safetensors": [*BYTES, *[another_tensor] * 8],
    "users.csv": BYTES,
    "history.csv": BYTES,
}
