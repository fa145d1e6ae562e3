"""BiFair and Separate as a user runs them: refusals, resume, kept vectors, and other runs that read these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_fair import run
from recbole_fair.encoding.items import FILE, SavedVectors
from recbole_fair.errors import TrainingError, UsageError
from recbole_fair.runner import open_run
from recbole_fair.storage import read_tensors, write_tensors

PAIRS = ["BiFairAlphaRec", "BiFair-Alg2AlphaRec", "BiFairLinear", "SeparateAlphaRec"]
OFTEN = {"outer_every": 1, "outer_lr": 0.01, "fair_group": "genre"}


@pytest.mark.parametrize("model", PAIRS)
def test_z_is_stored_reloaded_and_logged(run_toy: Any, model: str) -> None:
    result = run_toy(model, epochs=4, **OFTEN)
    folder = Path(result.run_dir)
    stored, _ = read_tensors(folder / "model.safetensors")
    _, data, trainer = open_run(folder)
    assert torch.equal(trainer.model.item_vectors.detach(), stored["item_vectors"])
    assert trainer.model.item_vectors[0].count_nonzero() == 0, "padding stays empty"
    again = trainer.evaluate(data.test, load_best_model=False)
    assert {name: again[name] for name in result.test} == result.test
    assert result.parameters["trainable"] == sum(value.numel() for value in stored.values())
    history = (folder / "history.csv").read_text()
    for metric in ("weight[comic]", "group loss[noir]", "absent[drawn]", "item vectors moved"):
        assert metric in history


@pytest.mark.parametrize(
    ("strategy", "model"),
    [("BiFair", "LightGCN"), ("BiFair-Alg2", "MF"), ("Separate", "EASE"), ("Separate", "SASRec")],
)
def test_models_that_know_items_by_id_are_refused_before_training(run_toy: Any, strategy: str, model: str) -> None:
    with pytest.raises(UsageError, match="this model has none"):
        run_toy(f"{strategy}{model}")


@pytest.mark.parametrize(
    ("key", "value"),
    [("xi", -0.1), ("epsilon", 0), ("epsilon", 2), ("outer_lr", 0), ("outer_every", 0), ("gain", -1),
     ("weights", "softmax"), ("columns", "both"), ("direction", "up"), ("implicit", "neumann"),
     ("solver_steps", 0)],
)  # fmt: skip
def test_keys_out_of_bounds_are_refused(run_toy: Any, key: str, value: Any) -> None:
    with pytest.raises(UsageError, match=rf"^{key}=.*(out of bounds|choose one)"):
        run_toy("SeparateAlphaRec", **{key: value})


@pytest.mark.parametrize("weights", ["entropy", "lp"])
def test_a_run_that_breaks_down_says_where_and_in_which_groups(run_toy: Any, weights: str) -> None:
    with pytest.raises(TrainingError, match=r"epoch 0, batch 0.*not finite.*comic, drawn, noir of genre"):
        run_toy("BiFairAlphaRec", temperature=1e-42, weights=weights, **OFTEN)


class StopError(Exception):
    """Stands for whatever ends a process between two epochs."""


@pytest.mark.parametrize("model", ["BiFairAlphaRec", "BiFairLinear"])
def test_the_default_outer_gradient_is_exact_at_trained_weights(run_toy: Any, model: str) -> None:
    """Against the whole inner step unrolled through the model's own graph, where the implicit part is most of it."""
    folder = run_toy(model, epochs=20, **OFTEN, xi=XI, temperature=0.05).run_dir
    _, data, trainer = open_run(Path(folder))
    trained, strategy = trainer.model.train(), trainer.strategy
    rows = trained.draw(next(iter(data.train)))
    balanced = strategy.balanced(trained, rows, strategy.parameters)
    exact, first_order = (unrolled(trained, strategy.vectors, rows, balanced.objective, xi) for xi in (XI, 0.0))
    assert off(first_order, exact) > 0.05, "there is an implicit part to be missed"
    assert off(strategy.outer_gradient(trained, rows, balanced), exact) < 1e-5


XI = 1.0  # large: the toy is flat


def off(found: torch.Tensor, exact: torch.Tensor) -> float:
    """Relative distance."""
    return float((found - exact).norm() / exact.norm())


def unrolled(model: Any, vectors: torch.Tensor, rows: Any, objective: Any, xi: float) -> torch.Tensor:
    """grad_Z of L(theta - xi grad L(theta, Z), Z), differentiated through the inner step."""

    def loss(theta: dict[str, torch.Tensor]) -> torch.Tensor:
        parameters = {f"of.{name}": part for name, part in theta.items()}
        return objective(model.pair_losses(rows, *torch.func.functional_call(Vectors(model), parameters, ())))

    theta = dict(model.named_parameters())
    inner = torch.autograd.grad(loss(theta), [*theta.values()], create_graph=True)
    ahead = {name: part - xi * slope for (name, part), slope in zip(theta.items(), inner, strict=True)}
    return torch.autograd.grad(loss(ahead), [vectors])[0]


class Vectors(torch.nn.Module):
    """The unit vectors of a model as a module's output, for torch.func.functional_call."""

    def __init__(self, of: Any) -> None:
        super().__init__()
        self.of = of

    def forward(self) -> Any:
        return self.of.unit_vectors()


def goes_on_after(last: int, toy: Any, tmp_path: Path, model: str, keys: dict[str, Any]) -> None:
    """A run that ends after epoch `last` and is resumed leaves what an uninterrupted one does."""
    whole = run(**toy(model, **keys, run_dir=str(tmp_path / "whole")))

    def stop(epoch: int, score: float) -> None:
        if epoch == last:
            raise StopError

    with pytest.raises(StopError):
        run(**toy(model, **keys), on_epoch=stop)
    resumed = run(**toy(model, **keys, resume=True))
    assert (resumed.test, resumed.valid) == (whole.test, whole.valid)
    for name in ("history.csv", "users.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    vectors = [read_tensors(tmp_path / name / "model.safetensors")[0]["item_vectors"] for name in ("run", "whole")]
    assert torch.equal(*vectors)


@pytest.mark.parametrize("model", PAIRS)
def test_resume_goes_on_as_if_nothing_had_happened(toy: Any, tmp_path: Path, model: str) -> None:
    goes_on_after(3, toy, tmp_path, model, {"epochs": 6, **OFTEN, "outer_every": 2})


# At this rate Separate's first part has its best epoch early, and its second part an end of its own.
PARTS = {**OFTEN, "epochs": 14, "stopping_step": 1, "learning_rate": 1.0}


def curve(folder: Path, name: str) -> list[float]:
    """One figure of history.csv, epoch by epoch."""
    rows = [line.split(",") for line in (folder / "history.csv").read_text().splitlines()[1:]]
    return [float(row[-1]) for row in rows if row[1] == name]


def test_separate_trains_the_vectors_upon_the_best_projector(toy: Any, tmp_path: Path) -> None:
    """Its first part is BiFair without an outer level, whose best projector it keeps to the last bit."""
    separate = run(**toy("SeparateAlphaRec", **PARTS))
    plain = run(**toy("BiFairAlphaRec", **{**PARTS, "outer_every": 10**6}, run_dir=str(tmp_path / "plain")))
    scores, moves = curve(tmp_path / "run", "valid ndcg@5"), curve(tmp_path / "run", "item vectors moved")
    first = moves.count(0.0)
    best = scores.index(max(scores[:first]))
    assert best + 2 == first - 1 < 6, "one epoch more than the patience, and not half of all epochs"
    assert len(scores) - 1 == first + scores[first:].index(max(scores[first:])) + 2, "a patience of its own"
    assert scores[:first] == curve(tmp_path / "plain", "valid ndcg@5")
    kept, without = (read_tensors(tmp_path / name / "model.safetensors")[0] for name in ("run", "plain"))
    assert all(torch.equal(kept[name], without[name]) for name in without if name != "item_vectors")
    assert not torch.equal(kept["item_vectors"], without["item_vectors"])
    assert separate.valid["ndcg@5"] == max(scores[first:]) != plain.valid["ndcg@5"]
    assert "not trained" in str(plain.warnings) and "not trained" not in str(separate.warnings)


def test_a_single_epoch_leaves_separate_with_untrained_vectors_and_says_so(run_toy: Any) -> None:
    assert "not trained" in str(run_toy("SeparateAlphaRec", epochs=1, **OFTEN).warnings)


@pytest.mark.parametrize("last", [1, 4, 6], ids=["first part", "its last epoch", "second part"])
def test_separate_killed_in_either_part_goes_on(toy: Any, tmp_path: Path, last: int) -> None:
    goes_on_after(last, toy, tmp_path, "SeparateAlphaRec", {**PARTS, "checkpoint_every": 2})


def kept(toy: Any, tmp_path: Path, **keys: Any) -> Path:
    """A run that keeps its refined vectors."""
    folder = tmp_path / "refined"
    run(**toy("BiFairAlphaRec", run_dir=str(folder), epochs=3, save_item_vectors=True, **OFTEN, **keys))
    return folder


def test_refined_vectors_are_read_by_another_run(toy: Any, tmp_path: Path) -> None:
    folder = kept(toy, tmp_path)
    stored, _ = read_tensors(folder / "model.safetensors")
    result = run(**toy("AlphaRec", item_encoder=str(folder), epochs=1, item_text=None))
    _, _, trainer = open_run(Path(result.run_dir))
    assert torch.equal(trainer.model.item_vectors, stored["item_vectors"].detach())
    assert str(folder) in result.environment["item_encoder"]


def test_their_content_is_in_the_hash_and_their_place_is_not(toy: Any, tmp_path: Path) -> None:
    first, second = kept(toy, tmp_path / "a"), kept(toy, tmp_path / "b", seed=7)
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / FILE).write_bytes((first / FILE).read_bytes())
    identity = [SavedVectors(folder).identity for folder in (first, second, moved)]
    assert identity[0] == identity[2] != identity[1]
    hashes = []
    for name, folder in (("x", first), ("y", second)):
        keys = toy("AlphaRec", item_encoder=str(folder), epochs=0, run_dir=str(tmp_path / name))
        hashes.append(run(**keys).config_hash)
    assert hashes[0] != hashes[1]


def test_a_finished_run_writes_its_vectors_when_asked_afterwards(toy: Any, tmp_path: Path) -> None:
    keys = toy("BiFairAlphaRec", epochs=3, **OFTEN)
    run(**keys)
    assert not (tmp_path / "run" / FILE).exists()
    run(**keys, save_item_vectors=True)
    stored, _ = read_tensors(tmp_path / "run" / "model.safetensors")
    written, about = read_tensors(tmp_path / "run" / FILE)
    assert torch.equal(written["vectors"], stored["item_vectors"][1:])
    assert len(about["tokens"]) == len(written["vectors"]) == 24


def test_vectors_of_other_data_or_none_are_refused(toy: Any, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    write_tensors(
        folder / FILE,
        {"vectors": torch.ones(1, 3)},
        {"format": "recbole_fair item vectors of a run 1", "tokens": ["c1"]},
    )
    with pytest.raises(UsageError, match="no vector for 23 of 24 items"):
        run(**toy("AlphaRec", item_encoder=str(folder)))
    run(**toy("Pop", run_dir=str(tmp_path / "pop")))
    with pytest.raises(UsageError, match="save_item_vectors=True"):
        run(**toy("AlphaRec", item_encoder=str(tmp_path / "pop")))


@pytest.mark.parametrize(
    "vectors", [torch.full((1, 3), torch.nan), torch.ones(2, 3), torch.ones(3)], ids=["nan", "rows", "flat"]
)
def test_damaged_vectors_are_refused(tmp_path: Path, vectors: torch.Tensor) -> None:
    about = {"format": "recbole_fair item vectors of a run 1", "tokens": ["c1"]}
    write_tensors(tmp_path / FILE, {"vectors": vectors}, about)
    with pytest.raises(UsageError, match="damaged"):
        SavedVectors(tmp_path).of(["c1"])
    write_tensors(tmp_path / FILE, {"vectors": torch.ones(1, 3)}, {**about, "format": "weights"})
    with pytest.raises(UsageError, match="holds no item vectors"):
        SavedVectors(tmp_path).of(["c1"])
    (tmp_path / FILE).write_bytes(b"not a tensor")
    with pytest.raises(UsageError, match="truncated"):
        SavedVectors(tmp_path).of(["c1"])
