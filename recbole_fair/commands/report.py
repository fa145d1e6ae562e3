"""`recbole-fair report DIR [DIR...] --out OUT`: tables, figures and one web page from run directories."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from recbole_fair.commands.arguments import Arguments
from recbole_fair.errors import UsageError
from recbole_fair.metrics.key import MetricKey
from recbole_fair.screen import spoken, visible

_USAGE = """usage: recbole-fair report DIR [DIR ...] --out=OUT [--key=value ...]

Reads every run directory below each DIR (a comparison's folder stands for its runs) and writes into OUT: index.html
(one file, no network), results.csv (a row a run, full precision), results.md, results.tex (booktabs) and
figures/ as SVG, PDF and PNG. docs/report.md says how to read them.

  --out         folder to write to
  --metrics     as in --metrics='ndcg@20,cv@20[pop]'; the first one orders the rows
  --reference   model, row or run directory that the others are tested against; default: the best on the first metric
  --title       title of the page
  --datasets    only runs on these data sets, as in --datasets=ml-100k,ml-1m
  --models      only runs of these models
  --dossier     also dossier.html, made to be handed on and printed, and dossier.pdf where Chromium is installed

Runs of several data sets, splits or candidates get a table each."""


def main(arguments: Arguments) -> int:
    """Write the report and name its files."""
    if not arguments.words:
        raise UsageError("report: name run directories, as in `recbole-fair report runs --out=report`")
    out = arguments.take("out")
    if not isinstance(out, str) or not out:
        raise UsageError("report: --out=FOLDER says where to write")
    from recbole_fair.report.assemble import Options
    from recbole_fair.report.write import write

    options = Options(
        title=_text(arguments.take("title"), "title") or "Results",
        metrics=metrics(arguments.take("metrics")),
        reference=_text(arguments.take("reference"), "reference"),
        datasets=_names(arguments.take("datasets"), "datasets"),
        models=_names(arguments.take("models"), "models"),
        dossier="dossier" in arguments.switches,
    )
    arguments.refuse_rest("report", words=False)
    with spoken("quiet" in arguments.switches):
        paths = write([Path(word) for word in arguments.words], Path(out), options)
    shown = [path for path in paths if path.parent == Path(out)]
    print("\n".join(visible(str(path)) for path in shown))
    if figures := {path.stem for path in paths} - {path.stem for path in shown}:
        print(visible(f"{Path(out) / 'figures'}: {len(figures)} figures, each as SVG, PDF and PNG"))
    return 0


def metrics(given: Any) -> tuple[str, ...]:
    """The keys of --metrics, as text or a list; commas inside brackets belong to a key.

    >>> metrics("NDCG@20, cv@20[pop]")
    ('ndcg@20', 'cv@20[pop]')
    """
    if given is None:
        return ()
    parts = given if isinstance(given, list) else re.split(r",(?![^\[]*\])", str(given))
    keys = [str(part).strip() for part in parts]
    if not all(keys):
        raise UsageError(f"--metrics={given!r}: metric keys with commas between them, as in ndcg@20,cv@20[pop]")
    return tuple(dict.fromkeys(str(MetricKey.parse(key)) for key in keys))


def _text(given: Any, key: str) -> str | None:
    if given is not None and not isinstance(given, (str, int, float)):
        raise UsageError(f"--{key}={given!r}: plain text is needed; put it in quotes")
    return None if given is None else str(given)


def _names(given: Any, key: str) -> tuple[str, ...]:
    names = [str(name).strip() for name in (given if isinstance(given, list) else str(given or "").split(","))]
    if given is not None and not all(names):
        raise UsageError(f"--{key}={given!r}: names with commas between them")
    return tuple(filter(None, names))


def usage() -> str:
    """The help text."""
    return _USAGE
