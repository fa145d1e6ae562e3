"""All files of a report in one folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from recbole_fair.errors import UsageError
from recbole_fair.report.assemble import Options, assemble
from recbole_fair.report.printing import printed
from recbole_fair.report.writers.dossier import dossier
from recbole_fair.report.writers.latex import latex
from recbole_fair.report.writers.markdown import markdown
from recbole_fair.report.writers.page import page
from recbole_fair.report.writers.sheet import sheet
from recbole_fair.storage import read_regular, write_bytes, write_text

logger = logging.getLogger(__name__)

# Stands in the head of every page that report has written.
_SIGN, _HEAD, _PAGE_BYTES = b"script-src 'sha256-", 1000, 1 << 30
_TABLES, _DOSSIER = ("results.csv", "results.md", "results.tex"), ("dossier.html", "dossier.pdf")
_DRAWN = ("svg", "pdf", "png")


def write(roots: Sequence[Path], out: Path, options: Options) -> list[Path]:
    """Read the runs below `roots` and write the report into `out`; the same runs give the same bytes."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out={out}: is a file; name a folder")
    _refuse_foreign(out)
    report = assemble(roots, options)
    texts = {
        "index.html": page(report),
        "results.csv": sheet(report.runs),
        "results.md": markdown(report),
        "results.tex": latex(report),
    }
    for name, content in texts.items():
        write_text(out / name, content)
    if options.dossier:
        texts["dossier.html"] = dossier(report)
        write_text(out / "dossier.html", texts["dossier.html"])
    prints = [out / "dossier.pdf"] if options.dossier and _print(texts["dossier.html"], out / "dossier.pdf") else []
    drawings = {f"figures/{chart.name}": chart.drawing for block in report.blocks for chart in block.charts}
    logger.info("saving %d figures", len(drawings))
    for name, drawing in drawings.items():
        write_text(out / f"{name}.svg", f"{drawing.svg}\n")
        for suffix in _DRAWN[1:]:
            write_bytes(out / f"{name}.{suffix}", drawing.file(suffix))
    return [
        *prints,
        *(out / name for name in (*texts, *(f"{name}.{suffix}" for name in drawings for suffix in _DRAWN))),
    ]


def _print(page: str, path: Path) -> bool:
    """The dossier as PDF; whether there is one."""
    if (pdf := printed(page)) is None:
        path.unlink(missing_ok=True)  # of a former report
        logger.warning("no Chromium here, so no dossier.pdf; print dossier.html from any browser")
        return False
    write_bytes(path, pdf)
    return True


def _refuse_foreign(out: Path) -> None:
    """A page that no report wrote is left alone, and so are tables and figures beside no page: it is written first."""
    page = out / "index.html"
    for path in (page, *(out / name for name in (*_TABLES, "figures", *_DOSSIER))):
        if path.is_symlink():
            raise UsageError(f"{path}: is a link; remove it, or choose another --out")
        if path.exists() and not (page.exists() and _SIGN in read_regular(page, _PAGE_BYTES)[:_HEAD]):
            raise UsageError(f"{path}: was not written by report; choose another --out, or remove it")
