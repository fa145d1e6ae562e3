"""Fetching raw files from their publisher: resumed where a transfer broke off, checked, and refused with a remedy.

A file arrives as NAME.part and gets its name when it is whole; an archive is opened only for the members we know.
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from recbole_fair.convert.sources.catalogue import Remote, Source
from recbole_fair.errors import UsageError

_BLOCK = 1 << 20
_TIMEOUT_S = 60
_ATTEMPTS = 3
_HTTP = ("http://", "https://")


def fetch(source: Source, raw: Path, options: Mapping[str, Any]) -> list[Path]:
    """Bring every file of a source into the raw folder; what is already there and whole is left alone."""
    remotes = [_filled(remote, options) for remote in source.remotes if _wanted(remote, source, options)]
    if not remotes:
        raise UsageError(
            f"{source.name}: cannot be fetched ({source.licence}). Get {'; '.join(source.files)} by hand from"
            f" {source.homepage or 'its owner'} and put them into {raw}"
        )
    try:
        raw.mkdir(parents=True, exist_ok=True)
        return [path for remote in remotes for path in _fetch_one(remote, raw)]
    except (OSError, http.client.HTTPException) as error:
        raise UsageError(_by_hand(source, remotes, raw, error)) from error


def _wanted(remote: Remote, source: Source, options: Mapping[str, Any]) -> bool:
    if not remote.layout:
        return True
    layouts = sorted({one.layout for one in source.remotes})
    chosen = str(options.get("layout", ""))
    if chosen not in layouts or "category" not in options:
        raise UsageError(f"{source.name}: --download needs --category NAME and --layout, one of {', '.join(layouts)}")
    return remote.layout == chosen


def _filled(remote: Remote, options: Mapping[str, Any]) -> Remote:
    return replace(remote, url=remote.url.replace("{category}", str(options.get("category", ""))))


def _by_hand(source: Source, remotes: list[Remote], raw: Path, error: Exception) -> str:
    urls = ", ".join(remote.url for remote in remotes)
    files = ", ".join(name for remote in remotes for name in _names(remote))
    return (
        f"{source.name}: cannot be fetched ({error}). With a network, run the same command again: it goes on where it"
        f" stopped. Without, get {urls} by hand (see {source.homepage}) and put {files} into {raw}"
    )


def _names(remote: Remote) -> list[str]:
    """Names of the files in the raw folder that come of it."""
    return [PurePosixPath(path).name for path in remote.members or (remote.url,)]


def _fetch_one(remote: Remote, raw: Path) -> list[Path]:
    wanted = [raw / name for name in _names(remote)]
    if all(path.is_file() for path in wanted):
        return wanted
    whole = raw / PurePosixPath(remote.url).name
    if not whole.is_file():
        part = whole.with_name(f"{whole.name}.part")
        _transfer(remote.url, part)
        _check(remote, part)
        part.replace(whole)
    return _extract(remote, whole, raw) if remote.members else [whole]


def _transfer(url: str, part: Path) -> None:
    """Fetch what is still missing of a file; a connection that breaks off is taken up again."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _continue(url, part)
            return
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            gone = isinstance(error, urllib.error.HTTPError) and error.code in (403, 404, 410)
            if gone or attempt == _ATTEMPTS:
                raise


def _continue(url: str, part: Path) -> None:
    if not url.startswith(_HTTP):
        raise UsageError(f"{url}: only http and https are fetched")
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 (checked)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 (checked above)
            # 200 instead of 206: the server sends all of it again.
            with part.open("ab" if answer.status == http.HTTPStatus.PARTIAL_CONTENT else "wb") as stream:
                shutil.copyfileobj(answer, stream, _BLOCK)
            _check_whole(answer, part)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # nothing is left to fetch
            raise


def _check_whole(answer: Any, part: Path) -> None:
    """`copyfileobj` takes a connection that was closed early for the end of the file."""
    ranged = answer.headers.get("Content-Range", "").rpartition("/")[2]
    expected = ranged if ranged.isdecimal() else answer.headers.get("Content-Length") or ""
    if expected.isdecimal() and part.stat().st_size < int(expected):
        raise http.client.IncompleteRead(b"", int(expected) - part.stat().st_size)


def _check(remote: Remote, part: Path) -> None:
    """Size and sum, where the publisher states them; a file that fails is removed, so that a new try starts afresh."""
    size = part.stat().st_size
    with part.open("rb") as stream:
        md5 = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if (remote.size and size != remote.size) or (remote.md5 and md5 != remote.md5):
        part.unlink()
        raise UsageError(
            f"{remote.url}: is not what its publisher describes (size {size}, md5 {md5}; expected"
            f" {remote.size or 'any size'}, {remote.md5 or 'any md5'}); it was removed, try again later"
        )


def _extract(remote: Remote, archive: Path, raw: Path) -> list[Path]:
    """The known members of a zip, by their last name only: no member can lie outside the raw folder."""
    extracted = []
    try:
        with zipfile.ZipFile(archive) as content:
            for member, name in zip(remote.members, _names(remote), strict=True):
                part = raw / f"{name}.part"
                with content.open(member) as source, part.open("wb") as stream:
                    shutil.copyfileobj(source, stream, _BLOCK)
                extracted.append(part.replace(raw / name))
    except (zipfile.BadZipFile, KeyError) as error:
        raise UsageError(f"{archive}: not the publisher's archive ({error}); remove it and try again") from error
    return extracted
