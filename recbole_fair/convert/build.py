"""One conversion from start to end: read, write, account for, read back, publish."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import pyarrow as pa

from recbole_fair import storage
from recbole_fair.convert import filters, manifest, readback, starter
from recbole_fair.convert.atomic import AtomicFile
from recbole_fair.convert.folder import staged
from recbole_fair.convert.index import Index
from recbole_fair.convert.ledger import Ledger
from recbole_fair.convert.raw import RawFolder
from recbole_fair.convert.sides import completed
from recbole_fair.convert.sources import catalogue
from recbole_fair.convert.tables import Table, Tables, with_distinct
from recbole_fair.errors import UsageError
from recbole_fair.registry import load
from recbole_fair.screen import duration
from recbole_fair.settings import yamls

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Conversion:
    """What `recbole-fair convert` was asked for; `options` are those of the source's reader."""

    source: str
    raw: Path
    out: Path
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    drop: bool = False
    rules: Path | None = None
    verify: str = "full"


def convert(request: Conversion) -> dict[str, Any]:
    """Write OUT/NAME and return its manifest; on any refusal OUT is as it was."""
    source = catalogue.find(request.source)
    if not request.raw.is_dir():
        raise UsageError(f"--raw={request.raw}: no such folder; it must hold {', '.join(source.files)}")
    if source.own and yamls.packaged(f"dataset/{request.name}.yaml"):
        raise UsageError(
            f"name={request.name}: is a published data set, whose property file would be read; choose another --name"
        )
    raw = RawFolder(request.raw)
    tables: Tables = load(source.reader)(raw, request.options)
    with staged(request.out, request.name) as folder:
        filtered = filters.apply(tables, request.rules, request.drop) if request.rules else None
        ledger, index = Ledger(request.drop), Index()
        tables, files = _write(folder, filtered.tables if filtered else tables, ledger, index)
        facts = manifest.describe(source, request.options, raw, ledger, index, files)
        if filtered:
            facts["filters"] = filtered.account
        storage.write_json(folder / manifest.NAME, facts)
        if source.own:
            starter.write(folder)
        logger.info("reading back and comparing, which takes about as long as writing or a few times longer")
        readback.verify(folder, tables, files, request.drop, request.verify)
    return facts


def _write(folder: Path, tables: Tables, ledger: Ledger, index: Index) -> tuple[Tables, list[AtomicFile]]:
    """The three files; users and items come last, because every one that is rated gets a row."""
    files = [_write_table(folder, "inter", tables.inter, ledger, index)]
    if not files[0].rows:
        raise UsageError(f"{folder.name}: no interaction is left; rows: {ledger.account()}")
    tables = replace(tables, user=completed(tables.user, index.users), item=completed(tables.item, index.items))
    files += [_write_table(folder, suffix, table, ledger) for suffix, table in tables.items() if suffix != "inter"]
    return tables, files


def _write_table(folder: Path, suffix: str, table: Table, ledger: Ledger, index: Index | None = None) -> AtomicFile:
    ledger.reading = suffix
    name, began = f"{folder.name}.{suffix}", perf_counter()
    logger.info("writing %s", name)
    with AtomicFile(folder / name, table.columns) as file:
        parts = table.parts(ledger)
        for part in one_ahead(parts if index is None else map(with_distinct, parts)):
            if index is not None:
                index.add(part)
            file.write(part)
    logger.info("wrote %s: %s rows, %s", name, f"{file.rows:,}", duration(perf_counter() - began))
    return file


def one_ahead(parts: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same batches in the same order, each made in a thread beside the one that asks; errors come where they would.

    >>> list(one_ahead(iter("abc")))
    ['a', 'b', 'c']
    """
    with ThreadPoolExecutor(1, "read-ahead") as reader:
        coming = reader.submit(next, parts, None)
        while (part := coming.result()) is not None:
            coming = reader.submit(next, parts, None)
            yield part
