"""The documentation builds as a site: every page is in its menu, no link and no name leads nowhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def build(folder: Path, config: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(folder)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=quiet)


def test_the_site_builds_strictly(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="pip install '.[docs]'")
    built = build(tmp_path / "site", ROOT / "mkdocs.yml")
    assert built.returncode == 0, built.stderr
    assert "fonts.googleapis" not in (tmp_path / "site" / "index.html").read_text()
    assert "recbole_fair.runner.run" in (tmp_path / "site" / "reference" / "index.html").read_text()


def test_a_page_that_the_menu_forgets_stops_the_build(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="pip install '.[docs]'")
    config = tmp_path / "mkdocs.yml"
    menu = (ROOT / "mkdocs.yml").read_text().replace("      - metrics.md\n", "")
    menu = re.sub(r"  - mkdocstrings:\n(?: {6}.*\n)+", "", menu)  # reads the whole package, which is no matter here
    config.write_text(menu.replace("docs_dir: docs", f"docs_dir: {ROOT / 'docs'}"))
    built = build(tmp_path / "site", config)
    assert built.returncode != 0 and "- metrics.md" in built.stderr
