"""What is wrong with a file is said with its line; the output folder is complete or absent."""

from __future__ import annotations

import gzip
import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from convert import mini
from convert.conftest import manifest

from recbole_fair.convert import raw as raw_files
from recbole_fair.convert import readback
from recbole_fair.errors import UsageError

SOURCES: dict[str, Callable[[Path], Path]] = {
    "ml-1m": mini.ml_1m,
    "ml-100k": mini.ml_100k,
    "sushi": mini.sushi,
    "book-crossing": mini.book_crossing,
    "insurance": mini.insurance,
    "csv": mini.csv_tables,
    "amazon-books": lambda raw: mini.amazon(raw, "2014"),
    "amazon-games": lambda raw: mini.amazon(raw, "2018", zipped=True, kind="json", category="Video_Games"),
    "amazon-movies": lambda raw: mini.amazon(raw, "2023", category="Movies_and_TV"),
}


def options(source: str, raw: Path) -> dict[str, str]:
    return {"mapping": str(raw.parent / "map.yaml")} if source == "csv" else {}


def is_clean(out: Path) -> bool:
    return not out.exists() or list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "line", "reason"),
    [
        ("ratings.dat", b"1::2::3", "the wrong number of fields"),
        ("ratings.dat", b"1::2::3::4::5", "the wrong number of fields"),
        ("ratings.dat", b"1::2::6::978300000", "a rating that is not from 1 to 5"),
        ("ratings.dat", b"1::2::x::978300000", "characters that do not belong there"),
        ("ratings.dat", b"1::2:3:4::978300000", "half a separator"),
        ("ratings.dat", b"1::2::::978300000", "a rating that is not from 1 to 5"),
        ("ratings.dat", b"::2::3::978300000", "an empty id"),
        ("ratings.dat", b"1::2::3::97830000099", "a timestamp that is not from"),
        ("ratings.dat", b"1::2::3::" + b"9" * 30, "a bad number"),
        ("ratings.dat", b"1::\xff\xfe::3::978300000", "characters"),
        ("ratings.dat", b"", "an empty line"),
        ("ratings.dat", b"1::2::\x003::978300000", "characters"),
        ("users.dat", b"1::X::25::1::1", "a gender other than"),
        ("users.dat", b"1::M::old::1::1", "an age"),
        ("users.dat", b"1::M::25::1", "the wrong number of fields"),
        ("movies.dat", b"a::b::c", "an id that is no number"),
    ],
)
def test_a_bad_line_is_named_or_counted(
    name: str, line: bytes, reason: str, convert: Callable[..., Path], tmp_path: Path
) -> None:
    raw = mini.ml_1m(tmp_path / "raw")
    lines = (raw / name).read_bytes().split(b"\n")
    (raw / name).write_bytes(b"\n".join([*lines[:7], line, *lines[7:]]))
    with pytest.raises(UsageError, match=rf"{name}, line 8: ({reason}).*; expected .*--on_error drop"):
        convert("ml-1m", raw)
    assert is_clean(tmp_path / "out")
    folder = convert("ml-1m", raw, on_error="drop")
    account = next(files[name] for files in manifest(folder)["rows"].values() if name in files)
    assert sum(account["dropped"].values()) == 1 and account["read"] == account["kept"] + 1
    assert folder.with_name("ml-1m").is_dir()


@pytest.mark.parametrize("source", SOURCES)
def test_the_other_99_percent_come_out_exactly(source: str, convert: Callable[..., Path], tmp_path: Path) -> None:
    """1 % of the lines of every file are broken; what is left is what is left of a whole conversion."""
    raw = SOURCES[source](tmp_path / "raw")
    whole = convert(source, raw, out=tmp_path / "whole", verify="sample", **options(source, raw))
    interactions = {"amazon-games": "Video_Games.json.gz"}.get(source)
    path = raw / interactions if interactions else max(raw.glob("[!.m]*"), key=lambda file: file.stat().st_size)
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = content.split(b"\n")
    chosen = random.Random(0).sample(range(1, len(lines) - 1), max(1, len(lines) // 100))
    for place in chosen:
        lines[place] = b"\xff broken"
    broken = b"\n".join(lines)
    path.write_bytes(gzip.compress(broken) if path.suffix == ".gz" else broken)
    folder = convert(source, raw, on_error="drop", **options(source, raw))
    account = [files for table in manifest(folder)["rows"].values() for files in table.items() if files[0] == path.name]
    assert {sum(facts["dropped"].values()) for _, facts in account} == {len(chosen)}
    left = (folder / f"{source}.inter").read_text("utf-8").splitlines()
    before = iter((whole / f"{source}.inter").read_text("utf-8").splitlines())
    assert all(line in before for line in left)  # in order, nothing changed, nothing new
    if source not in ("sushi", "insurance"):
        assert len(left) == len((whole / f"{source}.inter").read_text("utf-8").splitlines()) - len(chosen)


def test_a_block_boundary_is_no_line_boundary(
    convert: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = mini.ml_1m(tmp_path / "raw")
    whole = convert("ml-1m", raw, out=tmp_path / "whole")
    for size in (7, 64, 1000):
        monkeypatch.setattr(raw_files, "BLOCK_BYTES", size)
        small = convert("ml-1m", raw, out=tmp_path / f"blocks-{size}")
        assert (small / "ml-1m.inter").read_bytes() == (whole / "ml-1m.inter").read_bytes()
    monkeypatch.setattr(raw_files, "BLOCK_BYTES", 50)
    (raw / "ratings.dat").write_text((raw / "ratings.dat").read_text().replace("\n", "\r\n").rstrip())
    windows = convert("ml-1m", raw, out=tmp_path / "windows")
    assert (windows / "ml-1m.inter").read_bytes() == (whole / "ml-1m.inter").read_bytes()


def test_files_that_cannot_be_read(
    convert: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = mini.ml_1m(tmp_path / "raw")
    ratings = raw / "ratings.dat"
    content = ratings.read_bytes()
    ratings.unlink()
    packed = gzip.compress(content)
    for broken in (packed[:-9], b"not gzip", packed[:30] + b"\0" * 40 + packed[70:], b""):
        (raw / "ratings.dat.gz").write_bytes(broken)
        with pytest.raises(UsageError, match=r"ratings.dat.gz: (cannot be read to its end|is empty)"):
            convert("ml-1m", raw)
    (raw / "ratings.dat.gz").unlink()
    with pytest.raises(UsageError, match=r"ratings.dat: no such file"):
        convert("ml-1m", raw)
    ratings.write_bytes(b"")
    with pytest.raises(UsageError, match=r"ratings.dat: is empty"):
        convert("ml-1m", raw)
    monkeypatch.setattr(raw_files, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(raw_files, "BLOCK_BYTES", 64)
    ratings.write_bytes(b"1" * 500)
    with pytest.raises(UsageError, match="line of more than 100 bytes"):
        convert("ml-1m", raw)
    with pytest.raises(UsageError, match="no such folder"):
        convert("ml-1m", tmp_path / "nowhere")
    assert is_clean(tmp_path / "out")


@pytest.mark.parametrize("source", ["book-crossing", "insurance"])
def test_another_header_is_another_layout(source: str, convert: Callable[..., Path], tmp_path: Path) -> None:
    raw = SOURCES[source](tmp_path / "raw")
    for path in raw.iterdir():
        whole = path.read_bytes()
        path.write_bytes(b"x" + whole)
        with pytest.raises(UsageError, match=rf"{path.name}, line 1: another layout"):
            convert(source, raw, on_error="drop")
        path.write_bytes(whole)


def test_sushi_files_of_different_length(convert: Callable[..., Path], tmp_path: Path) -> None:
    raw = mini.sushi(tmp_path / "raw")
    scores = raw / "sushi3b.5000.10.score"
    lines = scores.read_text().splitlines(keepends=True)
    scores.write_text("".join(lines[:-1]))
    with pytest.raises(UsageError, match=r"ends after line 39; sushi3\.udata has 40 people"):
        convert("sushi", raw, on_error="drop")
    scores.write_text("".join([*lines, lines[0]]))
    with pytest.raises(UsageError, match="line 41: there is no readable line for this person"):
        convert("sushi", raw)


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "a b", "/tmp/x", "..", "-x"])
def test_a_name_that_leaves_the_folder_is_refused(name: str, convert: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name="):
        convert("ml-1m", mini.ml_1m(tmp_path / "raw"), name=name)
    assert is_clean(tmp_path / "out")


def test_what_is_there_already(convert: Callable[..., Path], tmp_path: Path) -> None:
    raw, out = mini.ml_1m(tmp_path / "raw"), tmp_path / "out"
    folder = convert("ml-1m", raw)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    convert("ml-1m", raw)  # the same: nothing happens
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    (folder / "ml-1m.user").write_text("changed")
    with pytest.raises(UsageError, match="holds another conversion"):
        convert("ml-1m", raw)
    mini.ml_1m(raw, rows=300)
    with pytest.raises(UsageError, match="holds another conversion"):
        convert("ml-1m", raw)
    (out / "mine").mkdir()
    with pytest.raises(UsageError, match="was not written by convert"):
        convert("ml-1m", raw, name="mine")
    (out / "linked").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="symbolic link"):
        convert("ml-1m", raw, name="linked")
    assert sorted(path.name for path in out.iterdir()) == ["linked", "mine", "ml-1m"]


def test_a_read_back_that_differs_fails_loudly(
    convert: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that loses a blank, or a reader that changes its mind, is caught before anything is published."""
    raw = mini.ml_1m(tmp_path / "raw")
    monkeypatch.setattr(readback, "as_read", lambda value: value.replace("2", "3"))
    for mode in ("full", "sample"):
        with pytest.raises(UsageError, match=r"RecBole does not read back .* fault of the converter"):
            convert("ml-1m", raw, verify=mode)
    assert is_clean(tmp_path / "out")


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """The limit on the size of a file stands in for the disk: the write fails half-way either way."""
    raw = mini.ml_1m(tmp_path / "raw", rows=20_000)
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "from recbole_fair.commands.arguments import Arguments; from recbole_fair.commands.convert import main;"
        f"main(Arguments(['ml-1m'], {{'raw': {str(raw)!r}, 'out': {str(tmp_path / 'out')!r}}}))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "UsageError" in ran.stderr and "no part of ml-1m is left" in ran.stderr
    assert is_clean(tmp_path / "out")
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100_000


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"on_error": "ignore"}, "choose one of stop, drop"),
        ({"verify": "no"}, "choose one of"),
        ({"colour": 1}, "no such option"),
        ({"layout": "2014"}, "takes no such option"),
        ({"raww": "x"}, "Did you mean 'raw'"),
    ],
)
def test_options_that_are_none(options: dict, names: str, convert: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=names):
        convert("ml-1m", mini.ml_1m(tmp_path / "raw"), **options)


def test_an_unknown_source_has_a_neighbour(convert: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'sushi'"):
        convert("sushy", tmp_path)
