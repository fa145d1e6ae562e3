"""Zimnat insurance (Zindi's Train.csv, as UP5 uses it): one line a customer, 21 products owned or not.

An interaction is a product that is owned. Products have codes only, which are their names. There is no time of
purchase. Codes stay as they are, odd ones too; what is odd is counted in the manifest.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from recbole_fair.convert.ledger import BadLineError, Ledger
from recbole_fair.convert.raw import RawFile, RawFolder, parsed
from recbole_fair.convert.tables import Kind, Row, Table, Tables, batches

_HEADER = (
    "ID,join_date,sex,marital_status,birth_year,branch_code,occupation_code,occupation_category_code,"
    "P5DA,RIBP,8NN1,7POT,66FJ,GYSR,SOP4,RVSZ,PYUQ,LJR9,N2MW,AHXO,BSTQ,FM3X,K6QO,QBOL,JWFN,JZ9D,J9JW,GHYX,ECY3"
)
_PRODUCTS = tuple(_HEADER.split(",")[8:])
_INTER: Mapping[str, Kind] = {"user_id": "token", "item_id": "token"}
_USER: Mapping[str, Kind] = dict.fromkeys(
    (
        "user_id", "join_date", "gender", "marital_status", "birth_year", "branch_code", "occupation_code",
        "occupation_category_code",
    ),
    "token",
)  # fmt: skip
_ITEM: Mapping[str, Kind] = {"item_id": "token", "product_name": "token"}
_MARITAL = frozenset("MSUWDRP")
# The newest customers joined in 2020: born later than this, they were minors.
_LAST_ADULT_YEAR = "2002"


def read(raw: RawFolder, _options: Mapping[str, Any]) -> Tables:
    """Train.csv: customers, products and what is owned."""
    file = raw.file("Train.csv")
    return Tables(
        Table(_INTER, lambda ledger: batches(_owned(file, ledger), _INTER)),
        Table(_USER, lambda ledger: batches(_customers(file, ledger), _USER)),
        Table(_ITEM, _products),
    )


def _lines(file: RawFile, ledger: Ledger) -> Iterator[Row]:
    expected = "29 fields: a customer's ID and seven attributes, then 0 or 1 for each of 21 products"
    return parsed(file, _customer, expected, ledger, _HEADER)


def _customer(line: str) -> Row:
    try:
        fields = next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        raise BadLineError("broken quotes") from error
    if len(fields) != len(_USER) + len(_PRODUCTS):
        raise BadLineError("the wrong number of fields")
    if not fields[0].strip():
        raise BadLineError("an empty id")
    if fields[2] not in {"M", "F"} or not fields[4].isdecimal() or len(fields[4]) != 4:
        raise BadLineError("a sex other than M and F, or a birth year that is none")
    if not set(fields[8:]) <= {"0", "1"}:
        raise BadLineError("a product flag other than 0 and 1")
    return fields


def _owned(file: RawFile, ledger: Ledger) -> Iterator[Row]:
    for fields in _lines(file, ledger):
        flags = zip(_PRODUCTS, fields[8:], strict=True)
        yield from ((fields[0], product) for product, flag in flags if flag == "1")


def _customers(file: RawFile, ledger: Ledger) -> Iterator[Row]:
    for fields in _lines(file, ledger):
        _note_oddities(fields, ledger)
        yield [field or None for field in fields[: len(_USER)]]


def _note_oddities(fields: Row, ledger: Ledger) -> None:
    _, joined, _, marital, born, *_ = fields
    if not joined:
        ledger.note("an empty join_date: kept empty")
    if marital not in _MARITAL:
        ledger.note(f"marital_status {marital!r}, not a code of this source: kept, in no bin of the data set yaml")
    if born > _LAST_ADULT_YEAR:
        ledger.note(f"born after {_LAST_ADULT_YEAR}, so a minor when joining: kept")


def _products(_ledger: Ledger) -> Iterator[pa.RecordBatch]:
    return batches(((product, product) for product in _PRODUCTS), _ITEM)
