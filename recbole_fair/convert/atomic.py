"""The one writer of atomic files: what RecBole reads back here is what was meant.

RecBole 1.2.1 reads with pandas' python engine and default quoting, then splits token_seq fields at blanks
(recbole/data/dataset/dataset.py, `_load_feat`). The mapping that makes up for it, as small as it can be:

- a field with a tab, a double quote, CR or LF is quoted as CSV has it: the exact text comes back;
- a blank inside an element of a token_seq is written as a no-break space (U+00A0);
- NUL becomes U+FFFD: RecBole keeps tokens in numpy strings, which lose NULs at their end;
- a missing value is an empty field, which RecBole reads as `[PAD]` (a float: as the mean of its column). A word such as
  NA stays what it is: `host/compat.py` reads it as text, which RecBole by itself would take for a missing value.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from recbole_fair.convert.tables import ARROW, Kind
from recbole_fair.errors import UsageError

NO_BREAK_SPACE = "\u00a0"
_UNSAFE = r'[\t\r\n"\x00]'
# Python's csv module, through which RecBole reads, refuses longer fields.
MAX_FIELD = csv.field_size_limit() - 2


def as_read(value: str) -> str:
    """A value as RecBole will hand it out."""
    return value.replace("\0", "\ufffd")


def word_as_read(value: str) -> str:
    """An element of a token_seq as RecBole will hand it out."""
    return as_read(value).replace(" ", NO_BREAK_SPACE)


def _field(value: str) -> str:
    """The text of a field, quoted where it must be."""
    value = as_read(value)
    if not any(sign in value for sign in '\t\r\n"'):
        return value
    return '"' + value.replace('"', '""') + '"'


def fields(column: pa.Array, kind: Kind) -> pa.Array:
    """A column as the texts of its fields; only the few values that need care leave arrow."""
    if pa.types.is_dictionary(column.type):
        return fields(column.dictionary, kind).take(column.indices)
    if kind == "float":
        return pc.fill_null(pc.cast(column, pa.string()), "")
    if kind == "token_seq":
        lists = column.to_pylist()  # of words; a missing one and an empty one are both an empty field
        column = pa.array(
            [" ".join(word_as_read(word) for word in words or () if word) for words in lists], pa.string()
        )
    column = pc.fill_null(column, "")
    unsafe = pc.match_substring_regex(column, _UNSAFE)
    if not pc.any(unsafe).as_py():
        return column
    careful = [_field(value) for value in column.filter(unsafe).to_pylist()]
    return pc.replace_with_mask(column, unsafe, pa.array(careful, pa.string()))


class AtomicFile:
    """One atomic file in the making; `starts` says at which byte and row each batch begins, for the read-back."""

    def __init__(self, path: Path, columns: Mapping[str, Kind]) -> None:
        self.path = path
        self.columns = columns
        self.rows = 0
        self.missing = dict.fromkeys(columns, 0)
        self.starts: list[tuple[int, int]] = []
        self._stream: IO[bytes] = path.open("xb")
        self._stream.write(header(columns))

    def __enter__(self) -> AtomicFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stream.close()

    def write(self, batch: pa.RecordBatch) -> None:
        """Append the rows of a batch."""
        texts = [fields(batch[name], kind) for name, kind in self.columns.items()]
        for name, text in zip(self.columns, texts, strict=True):
            self._check_length(name, text)
            self.missing[name] += pc.sum(pc.equal(pc.binary_length(text), 0)).as_py() or 0
        lines = pc.binary_join_element_wise(*texts, "\t")
        whole = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(lines)], pa.int32()), lines), "\n")
        self.starts.append((self.rows, self._stream.tell()))
        self._stream.write(whole[0].as_buffer())
        self._stream.write(b"\n")
        self.rows += len(batch)

    def _check_length(self, name: str, texts: pa.Array) -> None:
        longest = pc.max(pc.binary_length(texts)).as_py() or 0
        if longest > MAX_FIELD:
            raise UsageError(
                f"{self.path.name}, from row {self.rows + 1}: a {name} of {longest} bytes; RecBole reads at most"
                f" {MAX_FIELD}. Shorten it in the raw file"
            )


def header(columns: Mapping[str, Kind]) -> bytes:
    """The first line of an atomic file."""
    return ("\t".join(f"{name}:{kind}" for name, kind in columns.items()) + "\n").encode()


def read_header(path: Path) -> dict[str, Kind]:
    """Fields and kinds of an atomic file."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            columns = dict(column.split(":") for column in stream.readline(1 << 16).rstrip("\n").split("\t"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}, line 1: not the header of an atomic file ({error}); expected field:type") from error
    if strange := [name for name, kind in columns.items() if kind not in ARROW]:
        raise UsageError(f"{path}, line 1: {strange[0]}:{columns[strange[0]]}; RecBole knows {', '.join(ARROW)}")
    return columns  # type: ignore[return-value]


def read_parts(path: Path, only: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
    """An atomic file by our own reader, in a stream: the texts of its fields, by the names of the columns."""
    columns = {f"{name}:{kind}": name for name, kind in read_header(path).items() if not only or name in only}
    parse = arrow_csv.ParseOptions(delimiter="\t", newlines_in_values=True, ignore_empty_lines=False)
    convert = arrow_csv.ConvertOptions(
        include_columns=list(columns), column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False
    )
    try:
        with arrow_csv.open_csv(path, arrow_csv.ReadOptions(block_size=16 << 20), parse, convert) as reader:
            for part in reader:
                yield part.rename_columns(list(columns.values()))
    except pa.ArrowInvalid as error:
        raise UsageError(f"{path}: not an atomic file ({error}); convert it again") from error
