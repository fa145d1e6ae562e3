"""What every recommender, every strategy and every pair must do; a new one adds a row to the tests that inherit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy import toy_keys

from recbole_fair import run
from recbole_fair.runner import open_run
from recbole_fair.storage import read_tensors


class RecommenderContract:
    """Subclasses give `model`, what a trained model must reach on the toy data, and what it cannot promise."""

    model: str
    epochs = 6
    reaches = 0.9  # recall@5 on test: the held-out items of the user's own taste
    learns = True
    predicts_pairs = True
    keys: dict[str, Any] = {}

    @pytest.fixture(scope="class")
    @classmethod
    def trained(cls, toy_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
        """One run of this model, shared by the tests of its class."""
        folder = tmp_path_factory.mktemp("run") / "run"
        more = {"epochs": cls.epochs, "stopping_step": 100, "bootstrap": 0, **cls.keys}
        return run(**toy_keys(toy_root, folder, cls.model, **more)), folder

    def test_learns_what_was_planted(self, trained: tuple[Any, Path]) -> None:
        result, folder = trained
        history = (folder / "history.csv").read_text().splitlines()[1:]
        losses = [float(line.split(",")[2]) for line in history if line.split(",")[1] == "loss"]
        assert losses and np.isfinite(losses).all()
        if self.learns:
            assert losses[-1] < losses[0]
            assert result.test["recall@5"] >= self.reaches

    def test_reload_gives_the_same_figures_and_pairs_agree(self, trained: tuple[Any, Path]) -> None:
        result, folder = trained
        _, data, trainer = open_run(folder)
        again = trainer.evaluate(data.test, load_best_model=False)
        assert {name: again[name] for name in result.test} == result.test
        if self.predicts_pairs:
            self.check_pairs(data, trainer)

    def check_pairs(self, data: Any, trainer: Any) -> None:
        """`predict` on pairs equals `full_sort_predict` at the same places."""
        rows = [0, len(data.test.uid_list) - 1]
        batch, _, _, _ = data.test.collate_fn(rows)
        with torch.no_grad():
            full = trainer.model.full_sort_predict(batch.to(trainer.device)).view(len(rows), -1)
            for item in (1, 7, data.dataset.item_num - 1):
                pairs = data.test.collate_fn(rows)[0]
                pairs.update(type(pairs)({data.dataset.iid_field: torch.full((len(rows),), item)}))
                scores = trainer.model.predict(pairs.to(trainer.device))
                np.testing.assert_allclose(scores.view(-1).numpy(), full[:, item].numpy(), rtol=1e-4, atol=1e-5)

    def test_same_seed_same_figures(self, toy_root: Path, tmp_path: Path) -> None:
        keys = [
            toy_keys(toy_root, tmp_path / name, self.model, **{**self.keys, "epochs": 1, "bootstrap": 0})
            for name in "ab"
        ]
        first, second = (run(**given) for given in keys)
        assert first.test == second.test
        assert first.valid == second.valid

    def test_stores_trained_parameters_only(self, trained: tuple[Any, Path]) -> None:
        result, folder = trained
        stored, _ = read_tensors(folder / "model.safetensors")
        parameters = sum(value.numel() for name, value in stored.items() if not name.startswith("array."))
        assert result.parameters["trainable"] <= parameters < result.parameters["trainable"] + 10_000
