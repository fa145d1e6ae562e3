"""Header lines of atomic files: whether they are what RecBole can read."""

from __future__ import annotations

from io import TextIOWrapper
from pathlib import Path

from recbole_fair.data.identity import SUFFIXES
from recbole_fair.errors import UsageError
from recbole_fair.host import (
    FeatureType,
)
from recbole_fair.settings.config import Config
from recbole_fair.storage import open_regular


def check_headers(config: Config) -> None:
    """Refuse atomic files whose header RecBole would misread or fail on with a traceback."""
    folder, name, encoding = config.folder, config["dataset"], config["encoding"]
    for suffix in SUFFIXES:
        path = folder / f"{name}{suffix}"
        if not path.is_file():
            continue
        try:
            with TextIOWrapper(open_regular(path), encoding, newline="") as stream:
                header = stream.readline(1 << 16)
        except (UnicodeDecodeError, LookupError, OSError) as error:
            raise UsageError(f"{path}: not readable as {encoding} ({error})") from error
        _check_header(path, header, config, suffix)


def _check_header(path: Path, header: str, config: Config, suffix: str) -> None:
    expected = "expected tab-separated `field:type` with type token, token_seq, float or float_seq"
    if header.endswith("\r\n"):
        raise UsageError(f"{path}, line 1: ends with CR LF, which RecBole reads as part of the type; use LF")
    columns = header.rstrip("\n").split(config["field_separator"])
    fields = [column.partition(":") for column in columns]
    kinds = {kind.value for kind in FeatureType}
    for field, _, kind in fields:
        if not field or kind not in kinds:
            raise UsageError(f"{path}, line 1: {field + ':' + kind!r}: {expected}")
    required = {".inter": ["USER_ID_FIELD", "ITEM_ID_FIELD"], ".user": ["USER_ID_FIELD"], ".item": ["ITEM_ID_FIELD"]}
    present = {field for field, _, _ in fields}
    wanted = [config[key] for key in required[suffix]] + list((config["load_col"] or {}).get(suffix[1:]) or [])
    for field in wanted:
        if field not in present:
            raise UsageError(f"{path}: has no field {field!r}, only {sorted(present)}; correct load_col or the file")


def count_rows(path: Path) -> int:
    """Lines after the header; RecBole's reader skips empty ones."""
    with open_regular(path) as stream:
        return sum(1 for line in stream if line.strip()) - 1
