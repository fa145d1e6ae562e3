"""index.html: the whole report in one file that asks for nothing on any network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from string import Template

import recbole_fair
from recbole_fair.report import page_tables
from recbole_fair.report.assemble import Block, Report
from recbole_fair.report.charts.chart import Chart
from recbole_fair.report.runs import Run
from recbole_fair.report.writers.elements import element, items, plain_table, text
from recbole_fair.report.writers.escape import in_html
from recbole_fair.report.writers.wording import CAPTION


def page(report: Report) -> str:
    """The page; script and style are the package's files, the script allowed by its hash alone."""
    anchors = {run.name: f"run-{place}" for place, run in enumerate(report.runs, start=1)}
    script = _asset("report.js")
    return Template(_asset("page.html")).substitute(
        title=in_html(report.title), summary=_summary(report), contents=_contents(report), caption=in_html(CAPTION),
        controls=_controls(report), results=_results(report, anchors), sections="".join(_sections(report)),
        provenance=_provenance(report.runs, anchors), version=in_html(recbole_fair.__version__),
        style=_asset("report.css"), script=script, script_hash=_digest(script),
    )  # fmt: skip


def _asset(name: str) -> str:
    return files("recbole_fair.report").joinpath("assets", name).read_text("utf-8")


def _digest(script: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _summary(report: Report) -> str:
    states = {state: sum(run.result.status == state for run in report.runs) for state in _states(report.runs)}
    counted = ", ".join(f"{count} {state}" for state, count in states.items())
    mixed = "" if len(report.blocks) == 1 else (
        f" They differ in data, split or candidates: rows of the {len(report.blocks)} tables must not be compared with"
        " each other."
    )  # fmt: skip
    return in_html(
        f"{len(report.runs)} runs ({counted}), {sum(len(block.rows) for block in report.blocks)} rows.{mixed}"
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
    tables = (page_tables.results(block, report, place, anchors) for place, block in enumerate(report.blocks, start=1))
    return "\n".join(tables)


def _sections(report: Report) -> Iterator[str]:
    tests = [
        _tests(block, place) for place, block in enumerate(report.blocks, start=1) if block.tests or block.untested
    ]
    if tests:
        yield _section("tests", "Differences that the users show", tests)
    charts = [_figures(block, len(report.blocks) > 1) for block in report.blocks if block.charts]
    if charts:
        yield _section("figures", "Figures", charts)


def _section(name: str, title: str, parts: Iterable[str]) -> str:
    head = text("h2", title, id=f"{name}-title")
    return element("section", head + "\n".join(parts), id=name, aria_labelledby=f"{name}-title")


def _tests(block: Block, place: int) -> str:
    shown = page_tables.tests(block, place) if block.tests else ""
    return shown + (text("p", "Not tested:") + items(block.untested) if block.untested else "")


def _figures(block: Block, several: bool) -> str:
    head = text("h3", block.described) if several else ""
    return head + element("div", "".join(map(_figure, block.charts)), class_="figures")


def _figure(chart: Chart) -> str:
    """The drawing, what it shows in words, and its numbers."""
    plot = element("div", chart.svg, class_="plot", role="group", tabindex="0", aria_label=f"{chart.title}, drawing")
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
    return page_tables.provenance(runs, anchors, versions) + "".join(lists)
