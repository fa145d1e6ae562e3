"""What was written, as RecBole itself reads it, against what the source says: any difference is an error.

The source is streamed once more, so writer and check share nothing but the readers. Up to `FULL_ROWS` rows every
value is compared. Above that RecBole's reader would need hours and tens of gigabytes: then our own reader counts the
rows, and a seeded sample of the written batches, byte for byte, goes through RecBole.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recbole_fair.convert.atomic import AtomicFile, as_read, header, read_parts, word_as_read
from recbole_fair.convert.ledger import Ledger
from recbole_fair.convert.tables import Table, Tables
from recbole_fair.errors import UsageError

if TYPE_CHECKING:
    from recbole_fair.settings.config import Config

FULL_ROWS = 2_000_000
SAMPLE_ROWS = 500_000
_SEED = 2020
# A name that no property file has: RecBole would apply the filters of the data set's own.
_NEUTRAL = "read-back"


def verify(folder: Path, tables: Tables, files: Sequence[AtomicFile], drop: bool, mode: str) -> None:
    """Compare every value, or the counts and a sample where that was asked for or the data are too big."""
    whole = mode == "full" and sum(file.rows for file in files) <= FULL_ROWS
    chosen = [set(range(len(file.starts))) if whole else _sample(file) for file in files]
    for file in files:
        _check_count(file)
    dataset = _load(_copy(folder, files, None if whole else chosen))
    feats = (dataset.inter_feat, dataset.user_feat, dataset.item_feat)
    for (suffix, table), file, places, feat in zip(tables.items(), files, chosen, feats, strict=True):
        _Comparison(dataset, feat, file, by_id=suffix != "inter").run(table, places, drop)


def _load(folder: Path) -> Any:
    """A data set as RecBole reads it, with every column and no filter."""
    from recbole_fair.settings.config import Config

    overrides = {
        "filter_inter_by_user_or_item": False,
        "data_path": str(folder.parent),
        "eval_args": {"order": "RO"},
        "encoding": "utf-8",
        "field_separator": "\t",
        "seq_separator": " ",
    }
    return through_recbole(Config("MF", folder.name, overrides=overrides))


def through_recbole(config: Config) -> Any:
    """A data set as RecBole loads it, without its own warnings (chained fillna, upstream issue 2155)."""
    from recbole_fair.host import Dataset

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"recbole\.")
        return Dataset(config)


@dataclass(frozen=True)
class _Comparison:
    """One table of the source against RecBole's table of the same name."""

    dataset: Any
    feat: Any
    file: AtomicFile
    by_id: bool

    def run(self, table: Table, places: set[int], drop: bool) -> None:
        """Compare the chosen batches; the rows of users and items are found by their id."""
        row = done = 0
        for place, part in enumerate(table.parts(Ledger(drop))):
            if place in places:
                rows = self._rows_of(part, done)
                for name, kind in table.columns.items():
                    self._column(name, kind, part[name], rows, row)
                done += len(part)
            row += len(part)
        if row != self.file.rows or (not self.by_id and done != len(self.feat)):
            counts = f"{row} rows were meant, {self.file.rows} written, {len(self.feat)} read"
            raise UsageError(f"{self.file.path.name}: {counts}. This is a fault of the converter: please report it")

    def _rows_of(self, part: pa.RecordBatch, done: int) -> npt.NDArray[np.int64]:
        if not self.by_id:
            return np.arange(done, done + len(part))
        ids = self.dataset.field2token_id[part.schema.names[0]]
        return np.array([ids.get(as_read(name), -1) for name in part[0].to_pylist()], np.int64)

    def _column(self, name: str, kind: str, wanted: pa.Array, rows: npt.NDArray[np.int64], first: int) -> None:
        read = self.feat[name].to_numpy()[rows]
        same = self._same(name, kind, wanted, read)
        if (wrong := np.flatnonzero(~same | (rows < 0))).size:
            place = int(wrong[0])
            raise UsageError(
                f"{self.file.path.name}, row {first + place + 1}, {name}: RecBole does not read back"
                f" {wanted[place].as_py()!r}. This is a fault of the converter: please report it"
            )

    def _same(self, name: str, kind: str, wanted: pa.Array, read: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        if kind == "float":
            return _same_numbers(wanted, read)
        ids = self.dataset.field2token_id[name]
        if kind == "token_seq":
            return np.array([
                list(got) == [ids.get(word_as_read(word), -1) for word in words or () if word]
                for got, words in zip(read, wanted.to_pylist(), strict=True)
            ])  # fmt: skip
        encoded = pc.fill_null(wanted, "").dictionary_encode()
        numbers = [ids.get(as_read(value), -1) if value else 0 for value in encoded.dictionary.to_pylist()]
        return np.array(numbers, np.int64)[encoded.indices.to_numpy()] == read


def _same_numbers(wanted: pa.Array, read: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Equal to a unit in the last place (RecBole's own parser is not exact beyond 15 digits); missing ones it fills."""
    numbers = pc.cast(wanted, pa.float64()).to_numpy(zero_copy_only=False)
    return np.isnan(numbers) | (np.abs(numbers - read) <= np.spacing(np.abs(numbers)))


def _check_count(file: AtomicFile) -> None:
    first = next(iter(file.columns))
    if (read := sum(len(part) for part in read_parts(file.path, [first]))) != file.rows:
        raise UsageError(f"{file.path.name}: {file.rows} rows were written, {read} are there; write it again")


def _sample(file: AtomicFile) -> set[int]:
    """Numbers of seeded batches with about SAMPLE_ROWS rows."""
    each = max(1, file.rows // max(1, len(file.starts)))
    wanted = min(len(file.starts), max(1, SAMPLE_ROWS // each))
    return set(random.Random(_SEED).sample(range(len(file.starts)), wanted))  # noqa: S311 (which rows to check)


def _copy(folder: Path, files: Sequence[AtomicFile], chosen: Sequence[set[int]] | None) -> Path:
    """A data set under a neutral name: the files themselves, or the bytes of the chosen batches as they lie there."""
    copy = folder.parent / "copy" / _NEUTRAL
    copy.mkdir(parents=True)
    for place, file in enumerate(files):
        path = copy / f"{_NEUTRAL}{file.path.suffix}"
        if chosen is None:
            path.symlink_to(file.path.absolute())
        else:
            _copy_batches(file, chosen[place], path)
    return copy


def _copy_batches(file: AtomicFile, places: set[int], path: Path) -> None:
    starts = [start for _, start in file.starts] + [file.path.stat().st_size]
    with file.path.open("rb") as whole, path.open("wb") as part:
        part.write(header(file.columns))
        for place in sorted(places):
            whole.seek(starts[place])
            part.write(whole.read(starts[place + 1] - starts[place]))
