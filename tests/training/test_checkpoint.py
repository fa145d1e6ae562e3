"""Weights on disk: parts of a model, the format's number, and what a model counts while it trains."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_fair import registry, storage
from recbole_fair.errors import UsageError
from recbole_fair.runner import open_run
from recbole_fair.training import checkpoint, optimiser

RunToy = Callable[..., Any]


def test_a_format_of_a_later_version_is_refused_and_one_without_a_number_is_read(run_toy: RunToy) -> None:
    folder = Path(run_toy("MF", epochs=1).run_dir)
    about = json.loads((folder / "model.json").read_text())
    assert about.pop("format") == 1
    (folder / "model.json").write_text(json.dumps(about))
    open_run(folder)
    (folder / "model.json").write_text(json.dumps({**about, "format": 2}))
    with pytest.raises(UsageError, match=r"model\.json: is of format 2"):
        open_run(folder)


def test_tensors_that_share_memory_are_stored_apart_and_everybody_may_read_the_file(tmp_path: Path) -> None:
    whole = torch.arange(6.0)
    tensors = {
        "whole": whole,
        "view": whole[2:4],
        "turned": torch.ones(2, 3).T,
        "none": torch.empty(0),
        "one": whole[5],
    }
    storage.write_sealed(tmp_path / "a.safetensors", tensors, {"said": [1, None]})
    (tmp_path / "plain").touch()
    stored, about = storage.read_sealed(tmp_path / "a.safetensors")
    assert about == {"said": [1, None]}
    assert all(torch.equal(stored[name], value) for name, value in tensors.items())
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


# Attributes that a step of training assigns, though a later step does not depend on what the last one left.
MADE_ANEW = {
    "i_embedding": "DMF's cache of evaluation",
    "sub_graph1": "drawn at the beginning of every epoch",
    "sub_graph2": "drawn at the beginning of every epoch",
    "item_cnt": "of RecBole's Pop, in whose place ours stands",
    "max_cnt": "of RecBole's Pop, in whose place ours stands",
    "repeat_explore": "an output of the last batch",
    "history_item_id": "called by the constructor alone",
    "history_item_value": "called by the constructor alone",
    "dataMatrix": "of a helper of the constructor",
    "diag": "called by the constructor alone",
}


def assigned_outside_the_constructor(source: str) -> set[tuple[str, str]]:
    """Class and attribute of every `self.x = ...`, `self.x += ...` and `shuffle(self.x)` of a module."""
    found = set()
    for row in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)):
        for method in (node for node in row.body if isinstance(node, ast.FunctionDef) and node.name != "__init__"):
            for node in ast.walk(method):
                targets = node.targets if isinstance(node, ast.Assign) else []
                targets = [node.target] if isinstance(node, ast.AugAssign) else targets
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("shuffle"):
                    targets = node.args
                for target in targets:
                    name = ast.unparse(target).partition("[")[0]
                    found |= {(row.name, name.removeprefix("self."))} if name.startswith("self.") else set()
    return found


def test_the_table_names_every_attribute_that_host_models_count_in() -> None:
    modules = {inspect.getmodule(registry.load(row.target)) for row in registry.MODELS.values()}
    hosts = [module for module in modules if module and module.__name__.startswith("recbole.model.")]
    found = set().union(*(assigned_outside_the_constructor(inspect.getsource(module)) for module in hosts))
    derived = {(name, attribute) for name, attribute in found if "alphas" in attribute or "posterior" in attribute}
    counted = {(name, attribute) for name, attribute in found - derived if attribute not in MADE_ANEW}
    assert counted == {(name, attribute) for name, row in checkpoint._COUNTED.items() for attribute in row}


@pytest.mark.parametrize("value", [1.5, "x", [1], None])
def test_a_count_of_another_kind_is_refused(value: Any) -> None:
    model = type("MultiVAE", (torch.nn.Module,), {})()
    model.update = 3
    with pytest.raises(UsageError, match="'update' does not fit"):
        checkpoint.load_plain_state(model, {"update": value})
    with pytest.raises(UsageError, match="'forward' does not fit"):
        checkpoint.load_plain_state(model, {"forward": 1})


def test_moments_of_adafactor_are_rows_and_columns_and_others_are_refused() -> None:
    parameters = [torch.nn.Parameter(torch.randn(shape)) for shape in ((4,), (4, 5), (2, 3, 5))]
    moved = optimiser.adafactor([{"params": parameters}], 0.1, 0.0)
    sum(each.square().sum() for each in parameters).backward()
    moved.step()
    checkpoint.check_optimizer(moved)
    moved.state[parameters[1]]["exp_avg_sq_row"] = torch.ones(5, 1)
    with pytest.raises(ValueError, match=r"\(5, 1\).* for a parameter \(4, 5\)"):
        checkpoint.check_optimizer(moved)


def test_adafactor_moves_a_parameter_that_begins_at_zero_by_its_rate() -> None:
    parameter = torch.nn.Parameter(torch.zeros(3, 4))
    moved = optimiser.adafactor([{"params": [parameter]}], 0.05, 0.0)
    parameter.sum().backward()
    moved.step()
    torch.testing.assert_close(parameter.detach(), torch.full((3, 4), -0.05))
