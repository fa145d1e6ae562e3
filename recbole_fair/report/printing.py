"""A page as PDF, printed by Chromium where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from recbole_fair.errors import UsageError

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_SECONDS = 180


def printed(page: str) -> bytes | None:
    """The page as PDF; None where no Chromium is installed."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        return None
    with TemporaryDirectory() as folder:
        source, target = Path(folder, "page.html"), Path(folder, "page.pdf")
        source.write_text(page, "utf-8")
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses root one
        command = [browser, "--headless", "--disable-gpu", *sandbox, f"--user-data-dir={folder}/profile",
                   "--no-pdf-header-footer", f"--print-to-pdf={target}", source.as_uri()]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603 (our page)
        except subprocess.TimeoutExpired as error:
            raise UsageError(f"{browser}: no page in {_SECONDS} s; print dossier.html from a browser") from error
        if done.returncode or not target.exists():
            words = " ".join(done.stderr.decode(errors="replace").split())[-300:]
            raise UsageError(f"{browser}: could not print ({words}); print dossier.html from a browser")
        return target.read_bytes()
