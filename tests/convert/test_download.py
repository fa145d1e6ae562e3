"""Fetching, against a server on this machine: resumed, checked, and refused with a remedy."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from convert import mini

from recbole_fair.commands import convert as command
from recbole_fair.commands.arguments import Arguments
from recbole_fair.convert.download import fetch
from recbole_fair.convert.sources import catalogue
from recbole_fair.convert.sources.catalogue import Remote, Source
from recbole_fair.errors import UsageError


class Publisher:
    """Serves one file; `broken` answers stop half-way, `ranges` says whether parts may be asked for."""

    def __init__(self, content: bytes, broken: int = 0, ranges: bool = True, status: int = 200) -> None:
        self.content, self.broken, self.ranges, self.status = content, broken, ranges, status
        self.asked: list[str | None] = []

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.asked.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.ranges else 0
        if self.status != 200 or start >= len(self.content):
            handler.send_error(self.status if self.status != 200 else 416)
            return
        body = self.content[start:]
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(body)))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        handler.end_headers()
        if self.broken:
            self.broken -= 1
            body = body[: len(body) // 2]
        handler.wfile.write(body)


@contextmanager
def served(publisher: Publisher) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            publisher.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/files/ml-1m.zip"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def archive(tmp_path: Path) -> bytes:
    raw = mini.ml_1m(tmp_path / "source")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as content:
        for path in raw.iterdir():
            content.write(path, f"ml-1m/{path.name}")
        content.writestr("../../outside", "never written")
    return stream.getvalue()


def source_at(url: str, content: bytes) -> Source:
    row = catalogue.find("ml-1m")
    return replace(
        row, remotes=(replace(row.remotes[0], url=url, size=len(content), md5=hashlib.md5(content).hexdigest()),)
    )


@pytest.mark.parametrize(("broken", "ranges", "requests"), [(0, True, 1), (2, True, 3), (1, False, 2)])
def test_broken_transfers_are_resumed(broken: int, ranges: bool, requests: int, archive: bytes, tmp_path: Path) -> None:
    publisher = Publisher(archive, broken, ranges)
    with served(publisher) as url:
        paths = fetch(source_at(url, archive), tmp_path / "raw", {})
    assert sorted(path.name for path in paths) == ["movies.dat", "ratings.dat", "users.dat"]
    assert all(path.read_bytes() == (tmp_path / "source" / path.name).read_bytes() for path in paths)
    assert len(publisher.asked) == requests and publisher.asked[0] is None
    assert (publisher.asked[-1] is None) == (requests == 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw", "source"]  # no member left the folder
    assert not list((tmp_path / "raw").glob("*.part"))


def test_a_later_command_goes_on_where_the_first_one_stopped(archive: bytes, tmp_path: Path) -> None:
    publisher = Publisher(archive, broken=3)
    with served(publisher) as url:
        with pytest.raises(
            UsageError, match=r"ml-1m: cannot be fetched .*it goes on where it stopped.*by hand.*ratings.dat"
        ):
            fetch(source_at(url, archive), tmp_path / "raw", {})
        assert 0 < (tmp_path / "raw" / "ml-1m.zip.part").stat().st_size < len(archive)
        fetch(source_at(url, archive), tmp_path / "raw", {})
        assert publisher.asked[-1] != "bytes=0-"
        count = len(publisher.asked)
        fetch(source_at(url, archive), tmp_path / "raw", {})  # all there: nobody is asked
        assert len(publisher.asked) == count


def test_a_whole_part_needs_no_more_bytes(archive: bytes, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "ml-1m.zip.part").write_bytes(archive)
    with served(Publisher(archive)) as url:
        assert len(fetch(source_at(url, archive), tmp_path / "raw", {})) == 3


def test_another_file_than_the_publisher_describes_is_removed(archive: bytes, tmp_path: Path) -> None:
    with served(Publisher(archive + b"x")) as url, pytest.raises(UsageError, match="not what its publisher describes"):
        fetch(source_at(url, archive), tmp_path / "raw", {})
    assert list((tmp_path / "raw").iterdir()) == []


def test_an_archive_without_our_files_is_refused(tmp_path: Path) -> None:
    for content in (b"no archive at all", empty_zip()):
        with served(Publisher(content)) as url, pytest.raises(UsageError, match="not the publisher's archive"):
            fetch(source_at(url, content), tmp_path / "raw", {})
        (tmp_path / "raw" / "ml-1m.zip").unlink()


def empty_zip() -> bytes:
    stream = io.BytesIO()
    zipfile.ZipFile(stream, "w").close()
    return stream.getvalue()


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_server_that_refuses(status: int, archive: bytes, tmp_path: Path) -> None:
    publisher = Publisher(archive, status=status)
    with served(publisher) as url, pytest.raises(UsageError, match="cannot be fetched"):
        fetch(source_at(url, archive), tmp_path / "raw", {})
    assert len(publisher.asked) == (3 if status == 500 else 1)


def test_without_network_the_files_and_their_place_are_named(tmp_path: Path) -> None:
    row = catalogue.find("amazon-books")
    remotes = tuple(
        replace(remote, url=f"http://127.0.0.1:9/{remote.url.rpartition('/')[2]}") for remote in row.remotes
    )
    with pytest.raises(UsageError) as refused:
        fetch(replace(row, remotes=remotes), tmp_path / "raw", {"category": "Books", "layout": "2023"})
    for words in ("http://127.0.0.1:9/Books.jsonl.gz", "meta_Books.jsonl.gz", str(tmp_path / "raw"), "by hand"):
        assert words in str(refused.value)


def test_what_may_not_be_fetched(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"insurance: cannot be fetched .*Train.csv by hand from https://zindi"):
        fetch(catalogue.find("insurance"), tmp_path, {})
    with pytest.raises(UsageError, match="--download needs --category NAME and --layout"):
        fetch(catalogue.find("amazon"), tmp_path, {"category": "Books"})
    with pytest.raises(UsageError, match="only http"):
        fetch(replace(catalogue.find("ml-1m"), remotes=(Remote("file:///etc/passwd"),)), tmp_path, {})


def test_the_command_fetches_and_converts(archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(Publisher(archive)) as url:
        monkeypatch.setattr(catalogue, "SOURCES", {"ml-1m": source_at(url, archive)})
        options = {"raw": str(tmp_path / "raw"), "out": str(tmp_path / "out")}
        assert command.main(Arguments(["ml-1m"], options, {"download"})) == 0
    assert (tmp_path / "out" / "ml-1m" / "ml-1m.inter").is_file()


def test_the_real_addresses_are_well_formed() -> None:
    remotes: list[Remote] = [remote for source in catalogue.SOURCES.values() for remote in source.remotes]
    assert remotes and all(remote.url.startswith(("http://", "https://")) for remote in remotes)
    assert all(remote.url.count("{") == ("{category}" in remote.url) for remote in remotes)
