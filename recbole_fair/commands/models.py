"""`recbole-fair models`: one line a name, without importing any model."""

from __future__ import annotations

import re

from recbole_fair import registry
from recbole_fair.commands.arguments import Arguments
from recbole_fair.errors import UsageError
from recbole_fair.registry import Row
from recbole_fair.settings import yamls

# Authors: Title. Venue Year (a remark).
_WORK = re.compile(
    r"(?P<authors>[^:]+): (?P<title>.+?)\. (?:(?P<venue>[^ ].*?) )?(?P<year>\d{4}|\(n\.d\.\))(?: \(.*\))?"
)


def main(arguments: Arguments) -> int:
    """Print every row, or with --cite the references of the named rows (all without names)."""
    arguments.refuse_rest("models", words=False)
    rows = [*registry.MODELS.values(), *(registry.STRATEGIES[name] for name in registry.STRATEGIES)]
    words = [
        next((row.name for row in rows if row.name.casefold() == word.casefold()), word) for word in arguments.words
    ]
    if unknown := [word for word in words if word not in {row.name for row in rows}]:
        registry.resolve(unknown[0])
        raise UsageError(f"{unknown[0]!r}: name the model or the strategy alone")
    chosen = [row for row in rows if not words or row.name in words]
    print("\n".join(map(_reference if "cite" in arguments.switches else _line, chosen)))
    return 0


def _line(row: Row) -> str:
    strategy = row.name in registry.STRATEGIES
    name = f"{row.name}<Model>" if strategy else row.name
    also = next((f" (= {alias})" for alias, target in registry.ALIASES.items() if target == row.name), "")
    return f"{name + also:<26} {row.family:<12} {row.needs or '-':<34} {_paper(row)}"


def _reference(row: Row) -> str:
    """BibTeX of each publication behind a row; a remark where there is none."""
    works = [_WORK.fullmatch(text) for text in _paper(row).rstrip(".").split("; ")]
    entries = [_entry(f"{row.cite}{number or ''}", work) for number, work in enumerate(works) if work]
    return "\n".join(entries) if all(works) else f"% {row.name}: {_paper(row)}"


def _entry(key: str, work: re.Match[str]) -> str:
    """One publication; `et al.` is BibTeX's `others`."""
    authors = work["authors"].replace(" et al.", ", others").replace(", ", " and ")
    year = "" if work["year"] == "(n.d.)" else f",\n  year = {{{work['year']}}}"
    venue = f",\n  howpublished = {{{work['venue']}}}" if work["venue"] else ""
    return f"@misc{{{key},\n  author = {{{authors}}},\n  title = {{{{{work['title']}}}}}{venue}{year}\n}}"


def _paper(row: Row) -> str:
    return str(yamls.packaged("references.yaml").get(row.cite, row.cite))
