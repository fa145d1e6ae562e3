"""`recbole-fair convert`: a publisher's raw files into atomic files, or a look at what is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_fair.commands.arguments import Arguments
from recbole_fair.errors import UsageError
from recbole_fair.registry import nearest
from recbole_fair.screen import spoken

if TYPE_CHECKING:
    from recbole_fair.convert.sources.catalogue import Source

_USAGE = """usage: recbole-fair convert csv FILE --user=COLUMN --item=COLUMN [--time=COLUMN] [--rating=COLUMN]
                            [--users=FILE] [--items=FILE] [--name=NAME]
       recbole-fair convert SOURCE --raw DIR [--out dataset_atomic] [--name NAME] [--key value ...]
       recbole-fair convert --check NAME [--out dataset_atomic]

Writes OUT/NAME/NAME.inter, .user, .item and manifest.json, reads them back through RecBole, and publishes the
folder only if every value is as the source has it. Of your own tables it also writes NAME.yaml, what runs read of
them: fields, groups, bins.

your own tables (comma, semicolon, tab; plain or .gz):
  --user --item       columns of the interactions (user_id, item_id)
  --time --rating     if there are such columns: dates as 2024-05-01, times as 2024-05-01T04:35:54, or seconds
  --time_format F     another form of time, as in %d/%m/%Y
  --users --items     CSV files of users and items; --users_id, --items_id: their column of ids
  --lists A,B         columns with several values separated by |
  --separator --encoding  where they are not seen
  --mapping FILE      with --raw DIR: a yaml that says which column is what, for all else (docs/data.md)

published data:
  --raw DIR           folder with the publisher's files, plain or gzip
  --download          fetch the files into --raw first, where the publisher allows it
  --category NAME     amazon: Books, Movies_and_TV, Video_Games, ...
  --layout YEAR       amazon: 2014, 2018 or 2023, where the files leave it open

both:
  --out DIR           folder of the data sets (dataset_atomic)
  --name NAME         name of the data set (the source's, or the file's)
  --filter FILE       apply the filters of a data set yaml while writing
  --on_error stop     a bad line refuses the file; `drop` leaves such lines out and counts them
  --verify full       compare every value up to 2 million rows; `sample`: counts and a sample
  --check NAME        describe a converted data set, and the first thing that would go wrong in a run

sources:
{sources}"""
_OPTIONS = ("raw", "out", "name", "filter", "on_error", "verify", "check")


def main(arguments: Arguments) -> int:
    """Convert, check, or explain."""
    from recbole_fair.convert.sources.catalogue import SOURCES

    options = {*_OPTIONS, *(option for source in SOURCES.values() for option in source.options)} - {"interactions"}
    if unknown := next((key for key in arguments.options if key not in options), None):
        raise UsageError(f"--{unknown}: convert has no such option.{nearest(unknown, options)} See convert --help")
    if name := arguments.take("check"):
        return _check(str(name), arguments)
    return _convert(arguments)


def usage() -> str:
    """The help text; sources come from their table."""
    from recbole_fair.convert.sources.catalogue import SOURCES

    return _USAGE.format(sources="\n".join(f"  {row.name:<14} {'; '.join(row.files)}" for row in SOURCES.values()))


def _check(name: str, arguments: Arguments) -> int:
    from recbole_fair.convert.check import check

    print(check(name, Path(arguments.take("out", "dataset_atomic"))))
    return 0


def _convert(arguments: Arguments) -> int:
    from recbole_fair.convert import build

    source, file = _source(arguments.words)
    raw = file.parent if file else _path(arguments, "raw")
    if raw is None and not (source.own and "mapping" not in arguments.options):
        raise UsageError(f"convert {source.name}: give --raw DIR, the folder with {'; '.join(source.files)}")
    default = re.sub(r"[^\w.+-]+", "_", file.name.partition(".")[0]) if file else source.name
    request = build.Conversion(
        source=source.name,
        raw=raw or Path(),
        out=_path(arguments, "out") or Path("dataset_atomic"),
        name=_typed(arguments, "name", default),
        drop=_choice(arguments, "on_error", ("stop", "drop")) == "drop",
        rules=_path(arguments, "filter"),
        verify=_choice(arguments, "verify", ("full", "sample")),
        options=_reader_options(source, arguments) | ({"interactions": str(file)} if file else {}),
    )
    with spoken("quiet" in arguments.switches):
        if "download" in arguments.switches:
            from recbole_fair.convert.download import fetch

            fetch(source, request.raw, request.options)
        facts = build.convert(request)
    print(_summary(request.out / request.name, facts))
    if source.own:
        print(_next(request))
    return 0


def _source(words: list[str]) -> tuple[Source, Path | None]:
    """The source, and of own tables the file of interactions if it is named."""
    from recbole_fair.convert.sources import catalogue

    if not words:
        raise UsageError(f"convert: give one source of {', '.join(catalogue.SOURCES)}, as in `convert ml-1m --raw DIR`")
    if words[0] not in catalogue.SOURCES and Path(words[0]).is_file():
        raise UsageError(
            f"convert {words[0]}: of your own table say `convert csv {words[0]} --user=COLUMN --item=COLUMN`"
        )
    source, *rest = catalogue.find(words[0]), *words[1:]
    if len(rest) > source.own:
        raise UsageError(f"convert {source.name}: does not take {' '.join(rest[source.own :])}")
    if rest and not Path(rest[0]).is_file():
        raise UsageError(f"{rest[0]}: no such file; give the CSV file of interactions")
    return source, Path(rest[0]) if rest else None


def _typed(arguments: Arguments, key: str, default: str = "") -> str:
    """An option as it was typed: a column or a data set may be called 010 or no."""
    value = arguments.take(key)
    return default if value is None else arguments.typed.get(key, str(value))


def _path(arguments: Arguments, key: str) -> Path | None:
    text = arguments.take(key)
    return None if text is None else Path(str(text))


def _choice(arguments: Arguments, key: str, choices: tuple[str, ...]) -> str:
    """The value of an option with few values; the first one is the default."""
    value = str(arguments.take(key, choices[0]))
    if value not in choices:
        raise UsageError(f"--{key}={value}: choose one of {', '.join(choices)}")
    return value


def _reader_options(source: Source, arguments: Arguments) -> dict[str, str]:
    """What is left on the command line belongs to the source's reader."""
    if strange := next((key for key in arguments.options if key not in source.options), None):
        raise UsageError(f"--{strange}: the source {source.name} takes no such option")
    return {**source.preset, **{key: _typed(arguments, key) for key in list(arguments.options)}}


def _summary(folder: Path, facts: dict[str, Any]) -> str:
    """What was written, what was left out, and what there is to know."""
    written = ", ".join(f"{facts['written'][name]['rows']} rows in {name}" for name in facts["written"])
    lines = [f"{folder}: {written} (read back and compared)"]
    for table, files in facts["rows"].items():
        lines += [
            f"  {table}: {rows} rows of {name} left out: {reason}"
            for name, account in files.items()
            for reason, rows in account["dropped"].items()
        ]
    for table in [
        name for name in facts["notes"] if name in facts["rows"]
    ]:  # of a table without a file there is nothing to say
        lines += [f"  {table}: {rows} {what}" for what, rows in facts["notes"][table].items()]
    return "\n".join(lines)


def _next(request: Any) -> str:
    """What own tables lack, and the command that runs on them."""
    from recbole_fair.convert import starter

    folder = request.out / request.name
    where = "" if request.out == Path("dataset_atomic") else f" --data_path={request.out}"
    lines = [f"  {note}" for note in starter.lacking(folder, request.options)]
    lines += [f"groups, bins and texts proposed in {folder / request.name}.yaml: read it, and edit it as you like"]
    return "\n".join([*lines, f"next: recbole-fair --model=MF --dataset={request.name}{where}"])
