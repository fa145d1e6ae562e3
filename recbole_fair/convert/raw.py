"""The raw files: found in one folder, plain or gzip, read in blocks of whole lines with their line numbers."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from recbole_fair import storage
from recbole_fair.convert.ledger import BadLineError, Ledger
from recbole_fair.convert.tables import Kind, Row, Table, batches
from recbole_fair.errors import UsageError

BLOCK_BYTES = 4 << 20
# No published line is near this; without a bound a file without line ends would be read into memory whole.
MAX_LINE_BYTES = 16 << 20


@dataclass(frozen=True)
class RawFile:
    """One file of a source; `.gz` is decompressed on the way."""

    path: Path
    encoding: str = "utf-8"

    def blocks(self) -> Iterator[tuple[int, int, bytes]]:
        """Whole lines, each ending in LF, in blocks: the number of the first line, how many lines, and their bytes."""
        number, rest = 1, b""
        for part in self._parts():
            whole, newline, rest = (rest + part).rpartition(b"\n")
            if len(rest) > MAX_LINE_BYTES:
                raise UsageError(f"{self.path}: has a line of more than {MAX_LINE_BYTES} bytes; expected lines of text")
            if newline:
                lines = whole.count(b"\n") + 1
                yield number, lines, _unix(whole + newline)
                number += lines
        if rest:
            yield number, 1, _unix(rest + b"\n")
        elif number == 1:
            raise UsageError(f"{self.path}: is empty; get the file again (dataset_atomic/README.md)")

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Single lines without their end, numbered from 1."""
        for first, _, block in self.blocks():
            yield from enumerate(block[:-1].split(b"\n"), start=first)

    def text(self, line: bytes) -> str:
        """A line in the encoding of its source."""
        try:
            return line.decode(self.encoding)
        except UnicodeDecodeError as error:
            raise BadLineError(f"bytes that are not {self.encoding}") from error

    def describe(self) -> dict[str, object]:
        """Name, size and sha256 of the file as it lies there."""
        digest = storage.file_digest(self.path)
        return {"name": self.path.name, "size": self.path.stat().st_size, "sha256": digest}

    def _parts(self) -> Iterator[bytes]:
        packed = self.path.suffix == ".gz"
        try:
            with gzip.open(self.path) if packed else self.path.open("rb") as stream:
                while part := stream.read(BLOCK_BYTES):
                    yield part
        except (OSError, EOFError, zlib.error) as error:
            kind = "a whole gzip file" if packed else "a readable file"
            raise UsageError(
                f"{self.path}: cannot be read to its end ({error}); expected {kind}: get it again"
            ) from error


def _unix(block: bytes) -> bytes:
    return block.replace(b"\r\n", b"\n") if b"\r" in block else block


@dataclass
class RawFolder:
    """The folder that --raw names; remembers which of its files were used."""

    path: Path
    used: dict[str, RawFile] = field(default_factory=dict)  # by their paths

    def find(self, *names: str) -> list[str]:
        """Which of these files are there, plain or as .gz."""
        return [present for name in names for present in (name, f"{name}.gz") if (self.path / present).is_file()]

    def file(self, name: str, encoding: str = "utf-8") -> RawFile:
        """The one file of this name; refused where it is missing, or there both plain and compressed."""
        present = self.find(name)
        if not present:
            raise UsageError(
                f"{self.path / name}: no such file (nor {name}.gz); put it there,"
                " or see dataset_atomic/README.md for how to get it"
            )
        if len(present) > 1:
            raise UsageError(f"{self.path}: has both {' and '.join(present)}; leave only the one to be read")
        return self.take(str(self.path / present[0]), encoding)

    def take(self, path: str, encoding: str = "utf-8") -> RawFile:
        """A file at any place, remembered as one of those that were used."""
        self.used[path] = RawFile(Path(path), encoding)
        return self.used[path]


def line_table(
    file: RawFile, parse: Callable[[str], Row], expected: str, columns: Mapping[str, Kind], header: str | None = None
) -> Table:
    """A table that has one row a line."""
    return Table(columns, lambda ledger: batches(parsed(file, parse, expected, ledger, header), columns))


def fields_of(line: str, separator: str, width: int) -> list[str]:
    """The fields of a line, of which there must be so many."""
    fields = line.split(separator)
    if len(fields) != width:
        raise BadLineError("the wrong number of fields")
    return fields


def parsed(
    file: RawFile, parse: Callable[[str], Row], expected: str, ledger: Ledger, header: str | None = None
) -> Iterator[Row]:
    """Rows of a small table, one a line; `parse` raises BadLineError with the reason it cannot read a line."""
    for number, line in file.lines():
        if number == 1 and header is not None:
            check_header(file, line, header)
            continue
        ledger.count(file.path)
        try:
            yield parse(file.text(line))
        except BadLineError as error:
            ledger.reject(file.path, number, error, expected, line.decode("ascii", "backslashreplace"))


def check_header(file: RawFile, line: bytes, header: str) -> None:
    """Another header means another layout: no line can be trusted then."""
    if line.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace") != header:
        raise UsageError(f"{file.path}, line 1: another layout; expected the header {header[:200]!r}")


def accepted(
    file: RawFile, parse: Callable[[bytes], pa.RecordBatch], expected: str, ledger: Ledger
) -> Iterator[pa.RecordBatch]:
    """Batches of a big file: `parse` reads a block of lines at once, or raises BadLineError.

    A block with a bad line is halved until that line stands alone, so what is accepted does not depend on the
    neighbours, and the fast parser is the only judge.
    """

    def halved(first: int, block: bytes) -> Iterator[pa.RecordBatch]:
        try:
            yield parse(block)
            return
        except BadLineError as error:
            if block.count(b"\n") == 1:
                ledger.reject(file.path, first, error, expected, block[:-1].decode("ascii", "backslashreplace"))
                return
        cut = block.rfind(b"\n", 0, len(block) // 2) + 1 or block.find(b"\n") + 1
        yield from halved(first, block[:cut])
        yield from halved(first + block.count(b"\n", 0, cut), block[cut:])

    for first, lines, block in file.blocks():
        ledger.count(file.path, lines)
        parts = list(halved(first, block))
        if parts:
            yield parts[0] if len(parts) == 1 else pa.Table.from_batches(parts).combine_chunks().to_batches()[0]
