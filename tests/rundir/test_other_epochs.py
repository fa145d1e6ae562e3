"""An unfinished run is lengthened, or ended where it is, by asking for other `epochs` with --resume=True."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from recbole_fair import storage
from recbole_fair.errors import UsageError
from recbole_fair.rundir.result import Result
from recbole_fair.runner import run
from recbole_fair.training.trainer import FairTrainer

Ask = Callable[..., Result]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The epochs that were trained, from 0."""
    epochs: list[int] = []
    train = FairTrainer._train_epoch

    def counted(trainer: FairTrainer, data: Any, epoch: int, *args: Any, **keys: Any) -> Any:
        epochs.append(epoch)
        return train(trainer, data, epoch, *args, **keys)

    monkeypatch.setattr(FairTrainer, "_train_epoch", counted)
    return epochs


@pytest.fixture
def ask(toy: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """`ask(model, **keys)` runs in the usual place below a fresh folder; `until` is the epoch that stops it."""
    monkeypatch.chdir(tmp_path)

    def asked(model: str = "MF", until: int | None = None, **more: Any) -> Result:
        def stop(epoch: int, score: float) -> None:
            if epoch == until:
                raise KeyboardInterrupt

        keys = {key: value for key, value in toy(model, **more).items() if key != "run_dir"}
        return run(**keys, on_epoch=stop)

    return asked


def interrupt(ask: Ask, **keys: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        ask(until=2, **keys)


def log_of(result: Result) -> str:
    return Path(result.run_dir, "run.log").read_text()


def test_more_epochs_go_on_from_an_unfinished_run_to_what_a_run_of_them_gives(
    ask: Ask, trained: list[int], tmp_path: Path
) -> None:
    interrupt(ask, epochs=4)
    trained.clear()
    longer = ask(epochs=6, resume=True)
    assert trained == [3, 4, 5]
    assert "which differs in epochs" in log_of(longer)
    Path(longer.run_dir).rename(tmp_path / "longer")
    whole = ask(epochs=6)
    assert (whole.test, whole.valid) == (longer.test, longer.valid)
    weights = [load_file(Path(folder, "model.safetensors")) for folder in (tmp_path / "longer", whole.run_dir)]
    torch.testing.assert_close(*weights, rtol=0, atol=0)
    assert (tmp_path / "longer/history.csv").read_bytes() == Path(whole.run_dir, "history.csv").read_bytes()


def test_as_many_epochs_as_it_has_come_to_end_it_with_the_best_so_far(ask: Ask, trained: list[int]) -> None:
    interrupt(ask, epochs=300)
    trained.clear()
    ended = ask(epochs=3, resume=True)
    assert trained == []
    assert ended.status == "ok"
    with pytest.raises(UsageError, match="has come to epoch 3; --epochs=3 ends it there"):
        ask(epochs=2, resume=True)


def test_a_refusal_of_a_neighbours_weights_names_the_neighbours_file(ask: Ask, tmp_path: Path) -> None:
    interrupt(ask, epochs=4)
    (file,) = tmp_path.rglob("resume.safetensors")
    tensors, about = storage.read_sealed(file)
    name = next(name for name in tensors if name.startswith("model."))
    storage.write_sealed(file, {**tensors, name: torch.full_like(tensors[name], torch.nan)}, about)
    with pytest.raises(UsageError, match=f"{file.parent.name}/{file.name}: .* are not finite"):
        ask(epochs=6, resume=True)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"epochs": 4, "learning_rate": 0.5}, "differs in learning_rate; training starts anew"),
        ({"epochs": 5, "lr_schedule": "linear"}, "differs in epochs, lr_schedule; training"),
    ],
)
def test_what_an_unfinished_run_differs_in_is_told(
    ask: Ask, trained: list[int], keys: dict[str, Any], told: str
) -> None:
    interrupt(ask, epochs=4)
    trained.clear()
    assert told in log_of(ask(**keys, resume=True))
    assert trained[0] == 0


def test_a_finished_run_has_kept_nothing_to_go_on_from(ask: Ask, trained: list[int]) -> None:
    ask(epochs=2)
    trained.clear()
    longer = ask(epochs=3, resume=True)
    assert "differs in epochs, but has ended and kept no resume point; training starts anew" in log_of(longer)
    assert trained == [0, 1, 2]


def test_a_training_that_goes_by_the_number_of_epochs_starts_anew(ask: Ask, trained: list[int]) -> None:
    interrupt(ask, epochs=4, lr_schedule="linear")
    trained.clear()
    again = ask(epochs=5, lr_schedule="linear", resume=True)
    assert "differs in epochs, by whose number it trains; training starts anew" in log_of(again)
    assert trained[0] == 0
