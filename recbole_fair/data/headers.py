"""Header lines of atomic files: whether they are what RecBole can read."""

from __future__ import annotations

from collections.abc import Mapping
from io import TextIOWrapper
from pathlib import Path

from recbole_fair.data.identity import SUFFIXES
from recbole_fair.errors import UsageError
from recbole_fair.host import FeatureType
from recbole_fair.registry import nearest
from recbole_fair.settings.config import Config
from recbole_fair.storage import open_regular


def check_headers(config: Config) -> None:
    """Refuse atomic files whose header RecBole would misread or fail on with a traceback."""
    folder, name, encoding = config.folder, config["dataset"], config["encoding"]
    kinds: dict[str, str] = {}
    for suffix in SUFFIXES:
        path = folder / f"{name}{suffix}"
        if not path.is_file():
            continue
        try:
            with TextIOWrapper(open_regular(path), encoding, newline="") as stream:
                header = stream.readline(1 << 16)
        except (UnicodeError, LookupError, OSError) as error:
            raise UsageError(
                f"encoding={encoding}: {path} cannot be read as that ({error}); files of convert are utf-8"
            ) from error
        kinds |= _check_header(path, header, config, suffix)
    _check_mentioned(config, kinds)


def _check_header(path: Path, header: str, config: Config, suffix: str) -> dict[str, str]:
    """The fields of one file with their types."""
    expected = "expected tab-separated `field:type` with type token, token_seq, float or float_seq"
    if header.endswith("\r\n"):
        raise UsageError(f"{path}, line 1: ends with CR LF, which RecBole reads as part of the type; use LF")
    columns = header.rstrip("\n").split(config["field_separator"])
    fields = [column.partition(":") for column in columns]
    kinds = {kind.value for kind in FeatureType}
    for field, _, kind in fields:
        if not field or kind not in kinds:
            raise UsageError(f"{path}, line 1: {field + ':' + kind!r}: {expected}")
    names = [field for field, _, _ in fields]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"{path}, line 1: names {twice!r} twice; rename one of the columns")
    required = {".inter": ["USER_ID_FIELD", "ITEM_ID_FIELD"], ".user": ["USER_ID_FIELD"], ".item": ["ITEM_ID_FIELD"]}
    present = set(names)
    wanted = [config[key] for key in required[suffix]] + list((config["load_col"] or {}).get(suffix[1:]) or [])
    for field in wanted:
        if field not in present:
            raise UsageError(f"{path}: has no field {field!r}, only {sorted(present)}; correct load_col or the file")
    return {f"{suffix} {field}": kind for field, _, kind in fields}


def _check_mentioned(config: Config, kinds: Mapping[str, str]) -> None:
    """Refuse fields that keys name and no file has, and times and ratings that are not numbers."""
    fields = sorted({name.partition(" ")[2] for name in kinds})
    for key in ("group_bins", "val_interval"):
        for field in config[key] or {}:
            if field not in fields:
                raise UsageError(
                    f"{key}.{field}: the data has no such field.{nearest(field, fields)} It has {', '.join(fields)}"
                )
    for field, rule in (config["val_interval"] or {}).items():
        numeric = any(kinds.get(f"{suffix} {field}", "").startswith("float") for suffix in SUFFIXES)
        if numeric != isinstance(rule, str):
            wanted = "a number, so give an interval as in '[3,inf)'" if numeric else "text, so give a list of words"
            raise UsageError(f"val_interval.{field}={rule!r}: {field} is {wanted}")
    _check_numbers(config, kinds)


def _check_numbers(config: Config, kinds: Mapping[str, str]) -> None:
    time, rating = config["TIME_FIELD"], config["RATING_FIELD"]
    if config["eval_args"]["order"] == "TO":
        kind = kinds.get(f".inter {time}")
        if kind is None:
            raise UsageError(f"eval_args.order=TO: {config['dataset']} has no timestamps{_without_time(config)}")
        if time not in ((config["load_col"] or {}).get("inter") or [time]):
            raise UsageError(f"load_col.inter: leaves out {time}, which eval_args.order=TO reads; add it, or order: RO")
        if kind != "float":
            raise UsageError(f"eval_args.order=TO: {time} is {kind}, so its values have no order; write {time}:float")
    if config["eval_protocol"] != "labeled":
        return
    if f".inter {rating}" not in kinds:
        raise UsageError(
            f"eval_protocol=labeled: {config['dataset']} has no ratings (a field {rating} in .inter, by"
            " RATING_FIELD), so nobody knows what is liked; judge lists, with --eval_protocol=full"
        )
    if kinds[f".inter {rating}"] != "float":
        raise UsageError(f"eval_protocol=labeled: {rating} is no number in .inter; write {rating}:float")


def _without_time(config: Config) -> str:
    """The remedy where a data set has no timestamps."""
    if config.sequential:
        return (
            f", and {config.name} reads items in time order; choose a model that does not, such as MF, with order: RO"
        )
    return f" (a field {config['TIME_FIELD']} in .inter, by TIME_FIELD); split at random, with --eval_args.order=RO"


def count_rows(path: Path) -> int:
    """Lines after the header; RecBole's reader skips empty ones."""
    with open_regular(path) as stream:
        return sum(1 for line in stream if line.strip()) - 1
