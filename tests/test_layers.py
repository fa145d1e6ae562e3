"""Who may import whom (docs/architecture.md), read from the sources."""

from __future__ import annotations

import ast
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from recbole_fair.faces import Face

PACKAGE = Path(__file__).parents[1] / "recbole_fair"

# The rooms of the package from the ground up: a room imports only what stands before it in this list
# (docs/architecture.md draws the same list; a test below compares them).
ROOMS = """
    errors storage screen registry faces parallel
    host
    groups language
    metrics rerank
    settings
    data
    encoding models evaluation
    strategies
    rundir training
    probe audit report convert
    handover
    bases
    runner
    recommending
    jobs
    tune
    compare
    verbs
    commands cli __main__
""".split()  # noqa: SIM905

# The only modules that may import these libraries.
DOORS = {
    "recbole": ("host.names", "host.compat"),
    "transformers": ("language.", "models.", "training.optimiser"),
    "peft": ("language.",),
    "accelerate": ("parallel",),
    "huggingface_hub": ("language.", "handover."),
    "ray": ("jobs.rays", "tune.algorithms"),
}


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


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_room_imports_only_what_stands_before_it(module: str, path: Path) -> None:
    room = module.partition(".")[0]
    if module == "__init__":  # the package's face names its public functions; it is asked last
        return
    below = {*ROOMS[: ROOMS.index(room)], room}
    for name in imports(path):
        if name.startswith("recbole_fair."):
            other = name.split(".")[1]
            assert other in below or other not in ROOMS, f"{module} imports {name}"


def test_the_page_and_the_list_of_rooms_agree() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    assert page.partition("<!-- rooms -->")[2].partition("<!-- end -->")[0].split() == ROOMS
    assert {module.partition(".")[0] for module, _ in modules()} - {"__init__"} <= set(ROOMS)


def test_no_submodule_shadows_a_public_function() -> None:
    """`recbole_fair/run.py` would hide `recbole_fair.run` as soon as anybody imports it."""
    for face in PACKAGE.rglob("__init__.py"):
        public = next((ast.literal_eval(node.value) for node in ast.parse(face.read_text()).body
                       if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"), [])  # fmt: skip
        for name in {path.stem for path in face.parent.iterdir()} & set(public):
            own = import_module(".".join([*face.parent.relative_to(PACKAGE.parent).parts, name]))
            assert isinstance(own, Face), f"{face}: {name} hides a function and is none"


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_the_doors_to_other_libraries(module: str, path: Path) -> None:
    for library in {name.split(".")[0] for name in imports(path)} & DOORS.keys():
        assert module.startswith(DOORS[library]), f"{module} imports {library}"


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
