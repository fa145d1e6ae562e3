"""index.html: the whole report in one file that asks for nothing on any network."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from string import Template

import recbole_fair
from recbole_fair.metrics import directions
from recbole_fair.report.assemble import Block, Report
from recbole_fair.report.charts.chart import Chart
from recbole_fair.report.findings import findings
from recbole_fair.report.ranking import decimals
from recbole_fair.report.rows import Cell, Row
from recbole_fair.report.runs import Run
from recbole_fair.report.statistics.significance import Difference
from recbole_fair.report.writers.elements import element, items, plain_table, table, text
from recbole_fair.report.writers.escape import in_html
from recbole_fair.report.writers.numbers import interval, number, p_value, sureness
from recbole_fair.report.writers.wording import CAPTION, claim, counts, meanings, notes, seeds, verdict, verdicts


def page(report: Report) -> str:
    """The page; script and style are the package's files, the script allowed by its hash alone."""
    anchors = {run.name: f"run-{place}" for place, run in enumerate(report.runs, start=1)}
    script = asset("report.js")
    return Template(asset("page.html")).substitute(
        title=in_html(report.title), summary=summary(report), findings=_findings(report),
        contents=_contents(report), caption=in_html(CAPTION), glossary=_glossary(report.all_keys),
        controls=_controls(report), results=_results(report, anchors), sections="".join(_sections(report)),
        provenance=_provenance(report.runs, anchors), version=in_html(recbole_fair.__version__),
        style=asset("report.css"), script=script, script_hash=_digest(script),
    )  # fmt: skip


def asset(name: str) -> str:
    """A file of the package that pages are made of."""
    return files("recbole_fair.report").joinpath("assets", name).read_text("utf-8")


def _digest(script: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def summary(report: Report) -> str:
    """What the report is of, in a line."""
    states = {state: sum(run.result.status == state for run in report.runs) for state in _states(report.runs)}
    counted = ", ".join(f"{count} {state}" for state, count in states.items())
    mixed = "" if len(report.blocks) == 1 else (
        f" They differ in data, split or candidates: rows of the {len(report.blocks)} tables must not be compared with"
        " each other."
    )  # fmt: skip
    judged = "; ".join(dict.fromkeys(filter(None, map(_judged, report.blocks))))
    rows = sum(len(block.rows) for block in report.blocks)
    return in_html(f"{judged}{'. ' if judged else ''}{len(report.runs)} runs ({counted}), {rows} rows.{mixed}")


def _judged(block: Block) -> str:
    """What was judged, and on whom."""
    data = next((run.result.data for row in block.rows for run in row.finished), {})
    sizes = [f"{data[what]:,} {what}" for what in ("users", "items", "interactions") if data.get(what) is not None]
    models = ", ".join(dict.fromkeys(row.runs[0].result.model for row in block.rows))
    return f"{models} on {block.dataset}, {', '.join(sizes)}" if sizes else ""


def _findings(report: Report) -> str:
    """What each table says, before the tables."""
    several = len(report.blocks) > 1
    parts = [
        (text("h3", block.described) if several else "") + items(sentences)
        for block in report.blocks
        if (sentences := findings(block, report.keys))
    ]
    return section("findings", "What was found", parts) if parts else ""


def _glossary(keys: Iterable[str]) -> str:
    """What the heads of the columns tell a mouse, for everybody else."""
    pairs = "".join(text("dt", names) + text("dd", defined) for names, defined in meanings(keys))
    return (
        element("details", text("summary", "What the columns are") + element("dl", pairs, class_="glossary"))
        if pairs
        else ""
    )


def _states(runs: Iterable[Run]) -> list[str]:
    return list(dict.fromkeys(run.result.status for run in runs))


def _contents(report: Report) -> str:
    places = {"results": "Results"}
    if any(block.tests or block.untested for block in report.blocks):
        places["tests"] = "Differences"
    if any(block.charts for block in report.blocks):
        places["figures"] = "Figures"
    places["provenance"] = "Provenance"
    return "".join(element("li", text("a", name, href=f"#{place}")) for place, name in places.items())


def _controls(report: Report) -> str:
    """Filters and the metric chooser; shown by the script that serves them."""
    datasets = sorted({block.dataset for block in report.blocks})
    choices = element("option", "all", value="") + "".join(
        text("option", name, value=name.lower()) for name in datasets
    )
    parts = (
        _field("Model contains", "model"),
        element("label", "Data set" + element("select", choices, name="dataset")),
        _field("Strategy contains", "strategy"),
        element("details", text("summary", "Metrics") + element("fieldset", _legend() + "".join(_choices(report)))),
    )
    form = element("form", "".join(parts), id="controls", class_="controls", hidden=True, aria_label="Filter the rows")
    return form + element("p", id="status", class_="status", role="status")


def _field(label: str, name: str) -> str:
    return element("label", in_html(label) + f'<input type="search" name="{name}" autocomplete="off">')


def _legend() -> str:
    return text("legend", "Columns of the results", class_="hidden-text")


def _choices(report: Report) -> Iterator[str]:
    for key in report.all_keys:
        checked = " checked" if key in report.keys else ""
        box = f'<input type="checkbox" name="metric" value="{in_html(key)}"{checked}>'
        yield element("label", f"{box} {in_html(key)}")


def _results(report: Report, anchors: Mapping[str, str]) -> str:
    tables = (results(block, report, place, anchors) for place, block in enumerate(report.blocks, start=1))
    return "\n".join(tables)


def _sections(report: Report) -> Iterator[str]:
    tests = [
        _tests(block, place) for place, block in enumerate(report.blocks, start=1) if block.tests or block.untested
    ]
    if tests:
        yield section("tests", "Differences that the users show", tests)
    charts = [_figures(block, len(report.blocks) > 1) for block in report.blocks if block.charts]
    if charts:
        yield section("figures", "Figures", charts)


def section(name: str, title: str, parts: Iterable[str]) -> str:
    """A part of a page under its title."""
    head = text("h2", title, id=f"{name}-title")
    return element("section", head + "\n".join(parts), id=name, aria_labelledby=f"{name}-title")


def _tests(block: Block, place: int) -> str:
    """What was shown, and folded away every test and what was not tested."""
    untested = text("p", "Not tested:") + items(block.untested) if block.untested else ""
    if not block.tests:
        return untested
    every = element("details", text("summary", counts(block)) + tests(block, place) + untested)
    against = text("h3", f"{block.dataset}: against {block.reference.label if block.reference else ''}")
    return against + items(verdicts(block)) + every


def _figures(block: Block, several: bool) -> str:
    head = text("h3", block.described) if several else ""
    return head + element("div", "".join(map(_drawing, block.charts)), class_="figures")


def _drawing(chart: Chart) -> str:
    """The drawing, what it shows in words, and its numbers."""
    plot = element(
        "div", chart.drawing.svg, class_="plot", role="group", tabindex="0", aria_label=f"{chart.title}, drawing"
    )
    numbers = plain_table(f"{chart.name}-numbers", chart.title, chart.header, chart.rows)
    details = element("details", text("summary", "The numbers") + numbers)
    return element("figure", text("figcaption", chart.title) + plot + text("p", chart.alternative) + details)


def _provenance(runs: Sequence[Run], anchors: Mapping[str, str]) -> str:
    versions = [dict(pairs) for pairs in dict.fromkeys(tuple(run.result.versions.items()) for run in runs) if pairs]
    lists = (
        text("h3", f"Versions, set {place}")
        + element("dl", "".join(text("dt", name) + text("dd", value) for name, value in known.items()))
        for place, known in enumerate(versions, start=1)
    )
    return provenance(runs, anchors, versions) + "".join(lists)


_FACTS = ("strategy", "seeds", "seconds to train", "peak memory, MB")


def results(block: Block, report: Report, place: int, anchors: Mapping[str, str]) -> str:
    """One block's rows with every metric; those that were not asked for are hidden until chosen."""
    digits = {key: decimals(block.rows, key) for key in report.all_keys}
    rows = (_row(row, block, report, digits, anchors) for row in block.rows)
    shown = table(f"results-{place}", block.described, _head(report), rows, sortable=True)
    return shown + items(f"{labels}: {remark}" for labels, remark in notes(block.rows, report.keys))


def _head(report: Report) -> Iterator[str]:
    yield text("th", "row", scope="col")
    for key in report.all_keys:
        order = "descending" if directions.best(key) == math.inf else "ascending"
        yield element(
            "th", element("abbr", in_html(key).replace("[", "<wbr>["), title=directions.meaning(key) or None)
            + text("small", directions.wish(key)),
            scope="col", data_metric=key, data_first=order,
            hidden=key not in report.keys, aria_sort=order if report.keys[:1] == (key,) else None,
        )  # fmt: skip
    for name in _FACTS:
        yield text("th", name, scope="col", class_="text" if name == "strategy" else None)


def _row(row: Row, block: Block, report: Report, digits: Mapping[str, int], anchors: Mapping[str, str]) -> str:
    cells = [_figure(row.cells[key], key, digits[key], key not in report.keys) for key in report.all_keys]
    state = next((run.result.status for run in row.runs if run.result.status != "ok"), "")
    link = element("a", in_html(row.label), href=f"#{anchors[row.runs[0].name]}")
    name = element("th", link + (text("small", state) if state else ""), scope="row")
    return element(
        "tr", "".join([name, *cells, *_facts(row)]), data_model=row.label.lower(),
        data_dataset=block.dataset.lower(), data_strategy=row.strategy.lower(), class_="floor" if row.floor else None,
    )  # fmt: skip


def _figure(cell: Cell, key: str, digits: int, hidden: bool) -> str:
    marked = text("span", number(cell.value, digits), class_=cell.mark or None)
    told = {"best": "best", "second": "second best"}.get(cell.mark, "")
    spoken = text("span", f", {told}", class_="hidden-text") if told else ""
    why = cell.note if cell.value is None else sureness(cell, digits, always=True)
    small = element("small", in_html(why).replace(" [", "<br>[").replace(" (", "<br>(")) if why else ""
    value = "" if cell.value is None else repr(cell.value)
    return element("td", marked + spoken + small, data_metric=key, data_value=value, hidden=hidden)


def _facts(row: Row) -> Iterator[str]:
    labels = iter(_FACTS)
    yield text("td", row.strategy or "none", class_="text", data_label=next(labels))
    drawn = in_html(seeds(row)) + text("small", ", ".join(str(run.result.seed) for run in row.runs))
    yield element("td", drawn, data_label=next(labels))
    memory = row.memory()
    for value, digits in ((row.seconds(), 1), (None if memory is None else memory / 1e6, 0)):
        exact = "" if value is None else repr(value)
        yield text("td", number(value, digits), data_value=exact, data_label=next(labels))


def tests(block: Block, place: int) -> str:
    """Every row against the reference."""
    heads = ("row", "metric", "difference", "95 % interval", "p (Holm)", "users", "better?")
    head = [text("th", name, scope="col", class_="text" if name in ("metric", "better?") else None) for name in heads]
    return table(f"tests-{place}", claim(block), head, map(_test, block.tests), sortable=True)


def _test(test: Difference) -> str:
    figures = (("difference", test.difference), ("interval", test.low), ("p", test.p))
    shown = (f"{test.difference:+.4f}", interval(test.low, test.high), p_value(test.p))
    cells = [
        text("td", told, data_value="" if math.isnan(value) else repr(value))
        for told, (_, value) in zip(shown, figures, strict=True)
    ]
    answer = text(
        "td", verdict(test), class_=f"text {test.verdict}" if test.verdict in ("shown", "opposite") else "text"
    )
    start = text("th", test.label, scope="row") + text("td", test.key, class_="text")
    return element("tr", "".join([start, *cells, text("td", test.users), answer]))


def provenance(runs: Sequence[Run], anchors: Mapping[str, str], versions: Sequence[Mapping[str, str]]) -> str:
    """A row a run: where it lies, what it was made of and on, and what it warned of."""
    heads = ("run directory", "model", "data set", "seed", "status", "configuration hash", "data fingerprint", "split",
             "candidates", "versions", "machine", "seconds", "stands on", "copies", "warnings")  # fmt: skip
    rows = (element("tr", "".join(_origin(run, versions)), id=anchors[run.name]) for run in runs)
    head = [text("th", name, scope="col", class_="text") for name in heads]
    return table("runs", f"{len(runs)} runs", head, rows)


def _origin(run: Run, versions: Sequence[Mapping[str, str]]) -> Iterator[str]:
    result = run.result
    yield element("th", text("code", run.name), scope="row")
    status = result.status if result.error is None else f"{result.status}: {result.error}"
    for value in (result.model, result.dataset, result.seed):
        yield text("td", value, class_="text")
    yield text("td", status, class_="text" if result.error is None else "text remarks")
    digests = (result.config_hash, *(result.data.get(key) for key in ("fingerprint", "split", "candidates")))
    for digest in digests:
        yield element("td", text("code", digest or "none"), class_="text")
    known = f"set {versions.index(result.versions) + 1}" if result.versions else "not stated"
    yield text("td", known, class_="text")
    yield text("td", _machine(run), class_="text remarks")
    seconds = ", ".join(f"{key} {number(value, 1)}" for key, value in result.seconds.items())
    for value in (seconds, result.base or "nothing", ", ".join(run.copies) or "none"):
        yield text("td", value, class_="text")
    yield element("td", items(result.warnings) or "none", class_="text remarks")


def _machine(run: Run) -> str:
    facts = {key: value for key, value in run.result.environment.items() if key != "peak_memory"}
    memory = Row("", (run,)).memory()
    told = [f"{key} {value}" for key, value in facts.items()]
    return ", ".join([*told, *([] if memory is None else [f"peak memory {memory / 1e6:.0f} MB"])])
