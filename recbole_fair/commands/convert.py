"""`recbole-fair convert`: a publisher's raw files into atomic files, or a look at what is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_fair.commands.arguments import Arguments
from recbole_fair.errors import UsageError
from recbole_fair.registry import nearest

if TYPE_CHECKING:
    from recbole_fair.convert.sources.catalogue import Source

_USAGE = """usage: recbole-fair convert SOURCE --raw DIR [--out dataset_atomic] [--name NAME] [--key value ...]
       recbole-fair convert --check NAME [--out dataset_atomic]

Writes OUT/NAME/NAME.inter, .user, .item and manifest.json, reads them back through RecBole, and publishes the
folder only if every value is as the source has it.

  --raw DIR           folder with the publisher's files, plain or gzip
  --out DIR           folder of the data sets (dataset_atomic)
  --name NAME         name of the data set (the source's name)
  --download          fetch the files into --raw first, where the publisher allows it
  --filter FILE       apply the filters of a data set yaml while writing
  --on_error stop     a bad line refuses the file; `drop` leaves such lines out and counts them
  --verify full       compare every value up to 2 million rows; `sample`: counts and a sample
  --category NAME     amazon: Books, Movies_and_TV, Video_Games, ...
  --layout YEAR       amazon: 2014, 2018 or 2023, where the files leave it open
  --mapping FILE      csv: the yaml that says which column is what
  --check NAME        describe a converted data set, and the first thing that would go wrong in a run

sources:
{sources}"""
_OPTIONS = ("raw", "out", "name", "filter", "on_error", "verify", "category", "layout", "mapping", "check")


def main(arguments: Arguments) -> int:
    """Convert, check, or explain."""
    if unknown := next((key for key in arguments.options if key not in _OPTIONS), None):
        raise UsageError(f"--{unknown}: convert has no such option.{nearest(unknown, _OPTIONS)} See convert --help")
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
    from recbole_fair.convert.sources import catalogue

    if len(arguments.words) != 1:
        raise UsageError(f"convert: give one source of {', '.join(catalogue.SOURCES)}, as in `convert ml-1m --raw DIR`")
    source = catalogue.find(arguments.words[0])
    raw = _path(arguments, "raw")
    if raw is None:
        raise UsageError(f"convert {source.name}: give --raw DIR, the folder with {'; '.join(source.files)}")
    request = build.Request(
        source=source.name,
        raw=raw,
        out=_path(arguments, "out") or Path("dataset_atomic"),
        name=str(arguments.take("name", source.name)),
        drop=_choice(arguments, "on_error", ("stop", "drop")) == "drop",
        rules=_path(arguments, "filter"),
        verify=_choice(arguments, "verify", ("full", "sample")),
        options=_reader_options(source, arguments),
    )
    if "download" in arguments.switches:
        from recbole_fair.convert.download import fetch

        fetch(source, raw, request.options)
    print(_summary(request.out / request.name, build.convert(request)))
    return 0


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
    return {**source.preset, **{key: str(value) for key, value in arguments.options.items()}}


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
    lines += [f"  {table}: {rows} {what}" for table, notes in facts["notes"].items() for what, rows in notes.items()]
    return "\n".join(lines)
