"""dossier.html: a report for whoever must judge systems without having run them; it is made to be printed.

Pictures of the groups first, then sentences, then tables; the same report, tests and words as every other format.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from string import Template
from typing import Any

import recbole_fair
from recbole_fair.report.assemble import Block, Report
from recbole_fair.report.charts.chart import Chart
from recbole_fair.report.findings import findings, served
from recbole_fair.report.ranking import accuracy_key, decimals
from recbole_fair.report.rows import Row
from recbole_fair.report.runs import Run, config_of
from recbole_fair.report.statistics.by_group import Grouping, group_sizes, groupings
from recbole_fair.report.writers import page
from recbole_fair.report.writers.elements import element, items, plain_table, text
from recbole_fair.report.writers.escape import in_html
from recbole_fair.report.writers.numbers import ABSENT, number, sureness
from recbole_fair.report.writers.wording import counts, meanings, notes, verdicts
from recbole_fair.settings import keys, yamls
from recbole_fair.storage import open_regular

_NOT_CONCLUDED = (
    "That a difference that is not shown does not exist: it may be too small for so many users and seeds to show.",
    "Why groups differ. The figures describe lists beside what users did; they name no cause.",
    "That users were content. What counts as right is what a user chose in the held-out part of the data, which holds"
    " only what users met, through whatever system was in use.",
    "Anything of groups that the data do not record, of users whose group is unknown, or of another time or place.",
    "That a system that is fair by one figure is fair by another: figures disagree, and each says what it is (Terms).",
    "That the interval covers a new training: over users, of one seed, it holds for this trained system alone.",
)
_READING = (
    "Each figure is a mean over seeds, ± its standard deviation where there are several, with its 95 % interval over"
    " users. Systems of one table were judged on the same data, split and candidates."
)
_TERMS = (
    ("system", "A recommender as it was judged: a trained model, or the lists that somebody handed in."),
    ("list", "The items that a system shows a user, best first; @20 means the first 20 of them."),
    ("held-out items", "What a user chose in the test part of the data, which no system was shown."),
    ("group", "Users or items with one value of a field, such as a gender or a genre. Who has no value is in none."),
    (
        "95 % interval",
        "In brackets after a figure. Of 100 such, each from other users, 95 hold the true figure.",
    ),
    ("at most, at least", "Noise alone makes groups look unequal; the figure may be that noise, and is a bound."),
    (
        "p (Holm)",
        "How often chance alone would show as large a difference; raised for the number of tests.",
    ),
    ("configuration hash", "Twelve digits of every setting and of what was read: another digit, another system."),
    ("fingerprint", "Digits of the data's files: equal data, equal digits."),
    ("split", "Digits of which interaction lies in which part (training, validation, test)."),
)


def dossier(report: Report) -> str:
    """The page; it holds no script."""
    return Template(page.asset("dossier.html")).substitute(
        title=in_html(report.title), summary=page.summary(report), sections="\n".join(_sections(report)),
        style=page.asset("report.css"), version=in_html(recbole_fair.__version__),
    )  # fmt: skip


def _sections(report: Report) -> Iterator[str]:
    blocks = report.blocks
    by_group, others = ([chart for block in blocks for chart in block.charts if chart.name.startswith("groups") is kind]
                        for kind in (True, False))  # fmt: skip
    yield page.section("in-short", "In short", _each(blocks, lambda block: items(_short(block, report.keys))))
    yield page.section("pictures", "How groups are served", map(_picture, by_group))
    yield page.section("served", "Who is served worse, by how much, how sure",
                       _each(blocks, lambda block: _served(block, report.keys)))  # fmt: skip
    yield page.section("systems", "Systems and their main parameters", _each(blocks, _systems))
    yield page.section("tried", "What was tried against it", _each(blocks, lambda block: _tried(block, report.keys)))
    yield page.section("compared", "What was compared, and how sure", _compared(report))
    yield page.section("data", "Data sheet: data, groups and their sizes", _each(blocks, _data))
    yield page.section("not-concluded", "What must not be concluded", _not_concluded(report))
    yield page.section("more", "More figures", map(_picture, others)) if others else ""
    yield page.section("provenance", "Provenance", map(_provenance, report.runs))
    yield page.section("terms", "Terms", [_list([*_TERMS, *meanings(report.keys)])])


def _each(blocks: Sequence[Block], of: Any) -> Iterator[str]:
    """A part a set of comparable runs, under its name where there are several."""
    for block in blocks:
        yield (text("h3", block.described) if len(blocks) > 1 else "") + of(block)


def _list(pairs: Iterable[tuple[str, object]]) -> str:
    return element("dl", "".join(text("dt", name) + text("dd", value) for name, value in pairs))


def _short(block: Block, shown: Sequence[str]) -> list[str]:
    told = [*findings(block, shown), *verdicts(block)]
    return told or ["No system has figures, or too little was measured to say more than the tables do."]


def _picture(chart: Chart) -> str:
    """The drawing, what it shows in words, and its numbers in full."""
    drawing = element("div", chart.drawing.svg, class_="plot", role="img", aria_label=chart.title)
    numbers = plain_table(f"{chart.name}-numbers", "The same in numbers", chart.header, chart.rows)
    return element("figure", text("figcaption", chart.title) + drawing + text("p", chart.alternative) + numbers)


def _served(block: Block, shown: Sequence[str]) -> str:
    accuracy = accuracy_key(shown)
    sentences = [told for row in block.rows if row.finished and accuracy for told in served(row, accuracy)]
    if not any(row.finished for row in block.rows):
        return items(["No run has ended yet, so nothing is known of who is served worse."])
    none = "No groups of users were named, so nothing is known of who is served worse; see user_groups."
    return items(sentences or [none])


def _systems(block: Block) -> str:
    return "".join(text("h3", row.label) + _list(_parameters(row)) for row in block.rows)


def _parameters(row: Row) -> Iterator[tuple[str, object]]:
    """What was set for it that is not the package's default."""
    result, config = row.runs[0].result, config_of(row.runs[0].folder)
    defaults = yamls.packaged("overall.yaml")
    yield "model", result.model
    yield "fairness strategy", result.strategy or "none"
    yield "seeds", ", ".join(str(run.result.seed) for run in row.runs)
    for key in keys.declared():
        value = config.get(key)
        if value not in (None, "", [], {}) and value != defaults.get(key) and key not in ("model", "dataset", "seed"):
            yield key, _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_shown(entry)}" for key, entry in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _tried(block: Block, shown: Sequence[str]) -> str:
    """The systems that a fairness strategy made, beside the others."""
    strategies = [row for row in block.rows if row.strategy]
    if not strategies:
        return text("p", "None of these systems was made by a fairness strategy of this package. Lists that were made"
                         " fairer elsewhere are judged like any others; their name alone says so.")  # fmt: skip
    header = ("system", "strategy", *shown)
    digits = {key: decimals(block.rows, key) for key in shown}
    rows = [[row.label, row.strategy or "none", *_figures(row, digits)] for row in block.rows]
    return plain_table(f"tried-{_name(block)}", "Systems with a strategy, beside those without", header, rows)


def _figures(row: Row, digits: Mapping[str, int]) -> Iterator[str]:
    for key, count in digits.items():
        cell = row.cells[key]
        yield f"{number(cell.value, count)} {sureness(cell, count, always=True)}".strip()


def _name(block: Block) -> str:
    return "-".join(block.facts[:3])


def _compared(report: Report) -> Iterator[str]:
    yield text("p", _READING)
    for place, block in enumerate(report.blocks, start=1):
        digits = {key: decimals(block.rows, key) for key in report.keys}
        rows = [[row.label, *_figures(row, digits)] for row in block.rows]
        yield plain_table(f"figures-{place}", block.described, ("system", *report.keys), rows)
        if block.tests:
            yield text("p", f"{counts(block)}.") + page.tests(block, place)
        elif block.reference is not None:
            yield text("p", "One system alone: there is nothing to compare it with.")
        if block.untested:
            yield text("p", "Not tested:") + items(block.untested)


def _data(block: Block) -> str:
    """What was judged, and how many users or items each group has."""
    first = next((row for row in block.rows if row.finished), None)
    if first is None:
        return text("p", f"{block.described}. No run of it has ended.")
    facts = first.finished[0].result.data
    pairs = [(key, f"{value:,}" if isinstance(value, int) else value) for key, value in facts.items() if value]
    tables = (_sizes(block, first, grouping) for grouping in groupings([first]))
    return _list([("data set", block.dataset), *pairs]) + "".join(tables)


def _sizes(block: Block, row: Row, grouping: Grouping) -> str:
    entries = [entry for entry in row.finished[0].result.group_rows if entry.get("field") == grouping.field]
    members = {str(entry.get("group")): entry.get("size") for entry in entries}
    judged = {str(entry.get("group")): entry.get("users") for entry in entries}
    rows = [[group, str(members[group]), str(judged[group])] for group in group_sizes(row, grouping)]
    caption = f"{grouping.kind} groups: {grouping.field}"
    header = ("group", f"{grouping.kind}s in it", "judged users that speak for it")
    return plain_table(f"sizes-{_name(block)}-{grouping.field}", caption, header, rows)


def _not_concluded(report: Report) -> Iterator[str]:
    yield items(_NOT_CONCLUDED)
    remarks = [f"{labels}: {remark}" for block in report.blocks for labels, remark in notes(block.rows, report.keys)]
    if remarks:
        yield text("p", "What the systems' own judging warned of:") + items(remarks)


def _provenance(run: Run) -> str:
    """Where a system's figures lie, and the hashes by which they can be told from any others."""
    result = run.result
    facts = [("model", f"{result.model}, seed {result.seed}, {result.status}"),
             ("configuration hash", result.config_hash),
             *((name, result.data.get(name) or ABSENT) for name in ("fingerprint", "split", "candidates")),
             *((f"SHA-256 of {name}", digest) for name, digest in _digests(run)),
             ("versions", _shown(result.versions)), ("machine", _shown(result.environment))]  # fmt: skip
    return text("h3", run.name) + _list(facts)


def _digests(run: Run) -> Iterator[tuple[str, str]]:
    for name in ("result.json", "config.yaml", "users.csv"):
        if (run.folder / name).exists():
            with open_regular(run.folder / name) as stream:
                yield name, hashlib.file_digest(stream, "sha256").hexdigest()
