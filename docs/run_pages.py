"""Run the long commands of the documentation: what stands in ```console blocks and begins with recbole-fair.

    python docs/run_pages.py [--folder=runs/pages] [quickstart compare]

The short ones, in ```bash blocks, are run by tests/test_docs.py. The page on clusters needs a cluster, so it is left
out. Stops at the first command that fails.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).resolve().parent
PAGES = ("quickstart", "compare")


def commands(page: str) -> Iterator[str]:
    """Long commands of a page, in their order."""
    for block in re.findall(r"^```console\n(.*?)^```", (DOCS / f"{page}.md").read_text(), flags=re.M | re.S):
        yield from (line for line in block.splitlines() if line.startswith("recbole-fair"))


def main() -> int:
    from recbole_fair import cli

    pages = [word for word in sys.argv[1:] if not word.startswith("--")] or PAGES
    folder = next((word.partition("=")[2] for word in sys.argv[1:] if word.startswith("--folder=")), "runs/pages")
    found = [command for page in pages for command in commands(page)]
    Path(folder).mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    Path("properties").unlink(missing_ok=True)
    Path("properties").symlink_to(DOCS.parent / "properties")  # commands are given in a checkout
    for command in found:
        print(f"$ {command}", flush=True)
        if status := cli.main(shlex.split(command)[1:]):
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
