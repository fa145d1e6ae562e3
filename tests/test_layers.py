"""Who may import whom (docs/architecture.md), read from the sources."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "recbole_fair"

# Lower layers never import higher ones. A package stands for all its modules unless one of them is named itself.
LAYERS = [
    {"errors", "groups", "texts", "losses", "graph", "sampling", "hf", "adversary", "evaluation.functions",
     "evaluation.answers", "evaluation.exposure", "evaluation.parity", "evaluation.stereotypes",
     "evaluation.bootstrap", "evaluation.directions", "yamls", "storage", "compat", "splits", "llm.prompts",
     "llm.curriculum", "llm.losses"},
    {"contrastive", "host", "embedding", "llm", "p5", "baselines", "strategies"},
    {"keys", "config", "data", "grouping", "checkpoint", "trainer", "evaluation", "rundir", "result",
     "reporting", "vectors", "plain_tables", "training_view", "rescoring"},
    {"registry"},
    {"runner", "recommending", "searching", "tune", "compare", "cli", "commands", "convert", "report", "audit",
     "__main__"},
]  # fmt: skip
FREE = {"registry"}  # strings only: may be asked from layer 2 up
SEPARATE = ("embedding", "llm", "p5", "baselines", "strategies")  # never import each other
# The only modules that may import transformers or peft, and recbole itself.
LANGUAGE_MODELS = {"hf", "llm.experts", "p5.cfp"}
HOST = {"host", "compat"}
RAY = {"searching.rays", "searching.algorithms"}


def modules() -> list[tuple[str, Path]]:
    paths = sorted(path for path in PACKAGE.rglob("*.py"))
    return [
        (".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"), path) for path in paths
    ]


def imports(path: Path) -> set[str]:
    found = set()
    tree = ast.parse(path.read_text())
    for node in tree.body:  # what only a type checker sees is no import
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_every_package_travels_in_the_wheel() -> None:
    listed = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {".".join(path.parent.relative_to(PACKAGE.parent).parts) for path in PACKAGE.rglob("__init__.py")}
    assert set(listed) == folders | {"recbole_fair.properties"}


def layer_of(module: str) -> int | None:
    """The most specific name that LAYERS holds decides: evaluation.functions.cv is evaluation.functions."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        for number, names in enumerate(LAYERS):
            if ".".join(parts[:length]) in names:
                return number
    return None


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_go_downwards(module: str, path: Path) -> None:
    if module == "__init__":
        return
    own = layer_of(module)
    assert own is not None, f"{module}: give it a layer"
    for name in imports(path):
        target = name.removeprefix("recbole_fair.")
        if name == target or layer_of(target) is None:
            continue
        if target.split(".")[0] in FREE:
            assert own >= 2, f"{module} asks the registry"
            continue
        assert layer_of(target) <= own, f"{module} (layer {own}) imports {target}"
        first, other = module.split(".", maxsplit=1)[0], target.split(".")[0]
        assert first == other or not {first, other} <= set(SEPARATE), f"{module} imports {target}"


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_the_doors_to_other_libraries(module: str, path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    assert not roots & {"transformers", "peft"} or module in LANGUAGE_MODELS
    assert "recbole" not in roots or module in HOST
    assert "ray" not in roots or module in RAY


def test_nothing_is_unpickled_or_evaluated() -> None:
    forbidden = {"eval", "exec", "compile", "__import__"}
    for module, path in modules():
        tree = ast.parse(path.read_text())
        assert not imports(path) & {"pickle", "shelve", "dill", "joblib", "marshal"}, module
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = node.func
                assert not (isinstance(called, ast.Name) and called.id in forbidden), f"{module}:{node.lineno}"
                name = called.attr if isinstance(called, ast.Attribute) else ""
                owner = (
                    called.value.id if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) else ""
                )
                assert (owner, name) not in {("torch", "load"), ("yaml", "unsafe_load"), ("os", "system")}, module
