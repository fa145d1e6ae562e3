"""What the language-model families will need of a run: stages, loaders of other shapes, strategies with state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_fair import registry, runner, storage
from recbole_fair.data.inputs import inputs_of
from recbole_fair.errors import UsageError
from recbole_fair.host import BPR, GeneralRecommender, InputType
from recbole_fair.strategies.base import Strategy
from recbole_fair.training import checkpoint

Toy = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def own_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows added by a test are gone after it."""
    for name in ("models", "strategies"):
        rows = dict(getattr(registry, f"_{name}"))
        monkeypatch.setattr(registry, f"_{name}", rows)
        monkeypatch.setattr(registry, name.upper(), rows)


class Child(BPR):
    """Stands on a trained MF: takes over its item vectors and trains users only."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        if folder := inputs_of(dataset).bases.get(""):
            state, _ = storage.read_tensors(folder / "model.safetensors")
            self.item_embedding.weight.data.copy_(state["item_embedding.weight"])
        self.item_embedding.weight.requires_grad_(False)


def add_child() -> None:
    registry.add(registry.Row("Child", f"{__name__}:Child", family="host", cite="BPR", host="BPR", base="MF"))


def test_base_auto_trains_what_the_run_stands_on_once(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    add_child()
    child = runner.run(**toy("Child", base="auto", epochs=1, learning_rate=0.05))
    (base,) = (tmp_path / "runs" / "toy" / "MF").iterdir()
    assert child.base == str(base.relative_to(tmp_path))
    stamp = (base / "result.json").stat().st_mtime_ns
    again = runner.run(**toy("Child", base="auto", epochs=1, learning_rate=0.01, run_dir=str(tmp_path / "second")))
    assert (base / "result.json").stat().st_mtime_ns == stamp, "found, not made again"
    assert again.config_hash != child.config_hash
    trained, _ = storage.read_tensors(base / "model.safetensors")
    kept, _ = storage.read_tensors(tmp_path / "run" / "model.safetensors")
    assert set(kept) == {"user_embedding.weight"}, "frozen weights are not stored"
    _, _, trainer = runner.open_run(tmp_path / "run")
    assert torch.equal(trainer.model.item_embedding.weight, trained["item_embedding.weight"]), "bit-identical"


def test_the_hash_of_a_child_contains_its_parent(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    add_child()
    hashes = set()
    for seed, rate in ((1, 0.05), (1, 0.1)):
        parent = runner.run(**toy("MF", seed=seed, learning_rate=rate, run_dir=str(tmp_path / f"p{rate}")))
        child = runner.run(**toy("Child", seed=seed, base=parent.run_dir, run_dir=str(tmp_path / f"c{rate}")))
        hashes.add(child.config_hash)
    assert len(hashes) == 2


def test_a_finished_run_shows_the_intervals_that_are_asked_for(toy: Toy) -> None:
    first = runner.run(**toy("MF", epochs=1, bootstrap=200))
    again = runner.run(**toy("MF", epochs=1, bootstrap=200, interval=0.5))
    assert again.resampling["level"] == 0.5 and again.test == first.test
    wide, narrow = (result.interval["recall@5"] for result in (first, again))
    assert wide and narrow and wide[0] < narrow[0] < narrow[1] < wide[1]
    stored = storage.read_json(Path(first.run_dir) / "result.json")
    assert stored["resampling"]["level"] == 0.95, "what the run stated stays in its folder"


def test_a_base_of_another_split_is_refused(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    add_child()
    parent = runner.run(**toy("MF", epochs=1, run_dir=str(tmp_path / "parent")))
    stored = storage.read_json(tmp_path / "parent" / "result.json")
    stored["data"]["split"] = "of another time"
    storage.write_json(tmp_path / "parent" / "result.json", stored)
    with pytest.raises(UsageError, match="another split of toy"):
        runner.run(**toy("Child", epochs=1, base=parent.run_dir))


def test_a_base_that_is_no_finished_run_is_refused(toy: Toy, tmp_path: Path) -> None:
    add_child()
    with pytest.raises(UsageError, match="no finished run"):
        runner.run(**toy("Child", base=str(tmp_path)))


class Prompts:
    """A loader that is no RecBole loader: batches of unequal size, by a budget."""

    def __init__(self, dataset: Any) -> None:
        self.dataset, self.shuffle = dataset, True
        self.generator = torch.Generator().manual_seed(5)

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[Any]:
        order = torch.randperm(len(self.dataset), generator=self.generator)
        for rows in order.tensor_split([20, 100]):
            yield self.dataset[rows]


class Prompted(GeneralRecommender):
    """Counts what it saw; its batches come from its own loader."""

    input_type = InputType.POINTWISE
    seen: list[int] = []

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.bias = torch.nn.Parameter(torch.zeros(self.n_items))

    @classmethod
    def train_loader(cls, config: Any, part: Any) -> Prompts:
        return Prompts(part)

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        self.seen.append(len(interaction))
        logits = self.bias.log_softmax(0)
        return -logits[interaction[self.ITEM_ID]].mean()

    def full_sort_predict(self, interaction: Any) -> torch.Tensor:
        return self.bias.repeat(len(interaction), 1).view(-1)


def test_a_model_may_bring_a_loader_of_another_shape(toy: Toy) -> None:
    registry.add(registry.Row("Prompted", f"{__name__}:Prompted", family="host", cite="Pop"))
    Prompted.seen = []
    result = runner.run(**toy("Prompted", epochs=2, learning_rate=0.1))
    assert Prompted.seen[:2] == [20, 80] and len(Prompted.seen) == 6
    assert result.status == "ok"


class Adversarial(Strategy):
    """Has a network and an optimiser of its own, which the model's optimiser must never see."""

    def prepare(self, model: torch.nn.Module) -> None:
        self.opponent = torch.nn.Linear(64, 1)
        self.optimizer = torch.optim.Adam(self.opponent.parameters(), lr=0.1)
        self.rounds = 0

    def backward(self, model: Any, batch: Any) -> dict[str, torch.Tensor]:
        self.rounds += 1
        self.optimizer.zero_grad()
        self.opponent(model.user_embedding.weight.detach()).square().mean().backward()
        self.optimizer.step()
        return super().backward(model, batch)

    def end_epoch(self, epoch: int) -> dict[str, float]:
        return {"rounds": float(self.rounds)}

    def state_dict(self) -> dict[str, Any]:
        return {"net": self.opponent.state_dict(), "optimizer": self.optimizer.state_dict(), "rounds": self.rounds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.opponent.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rounds = state["rounds"]


def test_a_strategys_own_state_is_resumed(toy: Toy, tmp_path: Path) -> None:
    target = f"{__name__}:Adversarial"
    registry.add(registry.Row("Adversarial", target, family="strategy", cite="Reweight"))
    whole = runner.run(**toy("AdversarialMF", epochs=6, run_dir=str(tmp_path / "whole")))

    def stop(epoch: int, score: float) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.run(**toy("AdversarialMF", epochs=6), on_epoch=stop)
    resumed = runner.run(**toy("AdversarialMF", epochs=6, resume=True))
    assert resumed.test == whole.test
    histories = [(Path(result.run_dir) / "history.csv").read_text() for result in (whole, resumed)]
    assert histories[0] == histories[1]
    assert "5,rounds,30.0" in histories[0], "one count over all six epochs of five batches"


def test_nested_state_survives_flattening() -> None:
    state = {"a": [torch.ones(2), (1, "x", None)], 7: {"b": torch.tensor(3)}, "empty": {}, "f": 1e-3}
    tensors: dict[str, torch.Tensor] = {}
    stored = checkpoint.flatten(state, "s", tensors)
    import json

    back = checkpoint.unflatten(json.loads(json.dumps(stored)), tensors)
    assert back["a"][1] == (1, "x", None) and back["f"] == 1e-3 and back["empty"] == {}
    assert torch.equal(back["a"][0], torch.ones(2)) and back[7]["b"].item() == 3
    with pytest.raises(TypeError):
        checkpoint.flatten({"bad": object()}, "s", {})


def test_a_sensitive_attribute_that_the_data_lacks_is_refused(toy: Toy) -> None:
    with pytest.raises(UsageError, match=r"sensitive_attribute=.gendr.*Did you mean .gender."):
        runner.run(**toy("MF", sensitive_attribute=["gendr"]))
