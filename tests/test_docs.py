"""What the documentation shows is run."""

from __future__ import annotations

import os
import re
import shlex
import sys
import types
from pathlib import Path

import pytest

from recbole_fair import cli, registry
from recbole_fair.commands import table
from recbole_fair.metrics import declared
from recbole_fair.settings import keys
from recbole_fair.settings.config import data_folder
from recbole_fair.tune.planning import SearchOptions

DOCS = Path(__file__).parents[1] / "docs"
PAGES = re.split(r"^## ", (DOCS / "authoring.md").read_text(), flags=re.M)[1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.splitlines()[0])
def test_authoring_examples_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_models", dict(registry._models))
    monkeypatch.setattr(registry, "_strategies", dict(registry._strategies))
    monkeypatch.setattr(registry, "MODELS", registry._models)
    monkeypatch.setattr(registry, "STRATEGIES", registry._strategies)
    monkeypatch.setattr(declared, "METRICS", dict(declared.METRICS))
    monkeypatch.setattr(declared, "CLASSES", dict(declared.CLASSES))
    example = "\n".join(re.findall(r"^```python\n(.*?)^```", page, flags=re.M | re.S))
    assert example
    # the example is a script of the reader's: its classes are found under __main__
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(compile(example, page.splitlines()[0], "exec"), main.__dict__)


def some_users(data_path: Path) -> None:
    """A tenth of the users of ML-100K, two whom a page names among them."""
    source, target = data_folder("ml-100k", data_path), data_path / "ml-100k"
    target.mkdir(parents=True)
    for file in source.iterdir():
        head, *rows = file.read_text().splitlines()
        if file.suffix in (".inter", ".user"):
            rows = [row for row in rows if int(row.split("\t")[0]) % 29 in (5, 11, 22)]
        (target / file.name).write_text("\n".join([head, *rows]) + "\n")


@pytest.mark.parametrize("page", ["quickstart", "tune", "compare", "python"])
def test_commands_of_a_page_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order, as a reader types them: yaml blocks are files by their first line, console blocks take long.

    On few users and one core, so without Ray, which tests/tune starts.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    some_users(Path("dataset_atomic"))
    blocks = re.findall(r"^```(yaml|bash|python)\n(.*?)^```", (DOCS / f"{page}.md").read_text(), flags=re.M | re.S)
    assert {"bash", "python"} & set(dict(blocks))
    page_names = {"__name__": "__main__"}  # the python blocks of a page go on from each other
    for kind, content in blocks:
        if kind == "yaml":
            Path(content.splitlines()[0].removeprefix("# ")).write_text(content)
        elif kind == "python":
            exec(compile(content, page, "exec"), page_names)
        else:
            for command in content.splitlines():
                program, *words = shlex.split(command, comments=True)
                assert (program, cli.main(words)) == ("recbole-fair", 0), command


@pytest.mark.parametrize("page", ["quickstart", "compare", "cluster"])
def test_long_commands_of_a_page_are_well_formed(page: str) -> None:
    """docs/run_pages.py runs them; here each is read: its sub-command, and keys that exist."""
    blocks = re.findall(r"^```console\n(.*?)^```", (DOCS / f"{page}.md").read_text(), flags=re.M | re.S)
    found = [
        line[line.index("recbole-fair ") :]
        for block in blocks
        for line in block.splitlines()
        if "recbole-fair " in line
    ]
    assert found
    for command in found:
        _, name, *words = shlex.split(command)
        given = table.arguments_of(name, words).options
        assert name in table.COMMANDS
        SearchOptions.taken_from(given)
        for key in given:
            keys.check_name(key, {"models", "seeds", "searches", "search", "model", "dataset", "run_dir", "epochs"})


def test_every_link_of_the_documentation_leads_somewhere() -> None:
    root = DOCS.parent
    for page in (root / "README.md", *DOCS.glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_trap_has_its_line() -> None:
    """docs/traps.md names, for each of the 32, a test that exists or the reason why none is needed."""
    lines = (DOCS / "traps.md").read_text().splitlines()
    rows = {int(found.group(1)): line for line in lines if (found := re.match(r"\| (\d+) \|", line))}
    assert sorted(rows) == list(range(1, 33))
    tests = "\n".join(path.read_text() for path in (DOCS.parent / "tests").rglob("*.py"))
    for number, line in rows.items():
        names = re.findall(r"`(test_\w+)`", line)
        assert names or "not reached" in line, f"trap {number}"
        for name in names:
            assert f"def {name}(" in tests, f"trap {number}: {name}"
