"""The dossier says what a reader asks who has not run the systems, prints, and holds nothing that runs."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest

from recbole_fair import cli
from recbole_fair.errors import UsageError
from recbole_fair.report import printing
from recbole_fair.report.assemble import Options, Report
from recbole_fair.report.write import write
from recbole_fair.report.writers.dossier import dossier

SECTIONS = ["in-short", "pictures", "served", "systems", "tried", "compared", "data", "not-concluded", "more",
            "provenance", "terms"]  # fmt: skip


@pytest.fixture
def page(report: Report) -> str:
    return dossier(report)


def part(page: str, name: str) -> str:
    return page.partition(f'<section id="{name}"')[2].partition("</section>")[0]


def test_the_parts_stand_in_the_order_of_a_readers_questions(page: str) -> None:
    assert re.findall(r'<section id="([\w-]+)"', page) == SECTIONS
    first = part(page, "pictures")
    assert first.index("<svg") < first.index("<table"), "pictures before numbers"
    assert "no assessment of conformity" in " ".join(page.split())


def test_it_holds_no_script_and_asks_for_nothing(page: str) -> None:
    assert "<script" not in page and "script-src" not in page and "default-src 'none'" in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)


def test_who_is_served_worse_is_said_of_every_system_with_its_gap(page: str, report: Report) -> None:
    told = part(page, "served")
    for row in report.blocks[0].rows:
        if row.finished:
            assert f"as {row.label} serves it" in told, row.label


def test_every_run_has_the_hash_of_its_own_files(page: str, report: Report) -> None:
    told = part(page, "provenance")
    for run in report.runs:
        assert run.result.config_hash in told
        for name in ("result.json", "users.csv"):
            if (run.folder / name).exists():
                assert hashlib.sha256((run.folder / name).read_bytes()).hexdigest() in told


def test_warnings_of_runs_and_every_shown_metric_are_explained(page: str, report: Report) -> None:
    assert part(page, "not-concluded").count("<li>") > 6, "what the runs warned of stands there too"
    for key in report.keys:
        assert key in part(page, "terms"), key


def test_without_chromium_there_is_a_page_and_no_pdf_of_a_former_report(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    write([tree], out, Options(metrics=("recall@5",)))
    (out / "dossier.pdf").write_bytes(b"%PDF of before")
    monkeypatch.setattr(printing.shutil, "which", lambda _: None)
    paths = write([tree], out, Options(metrics=("recall@5",), dossier=True))
    assert out / "dossier.html" in paths and not (out / "dossier.pdf").exists()
    assert "print dossier.html from any browser" in caplog.text


def test_a_browser_that_cannot_print_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\necho no display >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(printing.shutil, "which", lambda _: str(broken))
    with pytest.raises(UsageError, match=r"could not print \(no display\); print dossier.html from a browser"):
        printing.printed("<p>page</p>")


@pytest.mark.skipif(not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), reason="no Chromium")
def test_chromium_prints_the_page(page: str) -> None:
    pdf = printing.printed(page)
    assert pdf is not None and pdf.startswith(b"%PDF-") and len(pdf) > 20_000


def test_a_dossier_that_report_did_not_write_is_left_alone(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "dossier.html").write_text("mine")
    with pytest.raises(UsageError, match="was not written by report"):
        write([tree], tmp_path, Options(metrics=("recall@5",), dossier=True))
    assert (tmp_path / "dossier.html").read_text() == "mine"


def test_the_switch_belongs_to_report_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["audit", "--dossier"]) != 0
    assert "it is a switch of report" in capsys.readouterr().err
