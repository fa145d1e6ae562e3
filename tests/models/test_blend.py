"""Blend: two trained runs as one model, its weight chosen on validation, offsets after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy import toy_keys

from recbole_fair import bases, run
from recbole_fair.cli import main
from recbole_fair.errors import UsageError
from recbole_fair.models.blend import choices, standardised
from recbole_fair.rundir.result import Result
from recbole_fair.runner import open_run
from recbole_fair.settings.config import Config


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the module, so that bases are made once."""
    return tmp_path_factory.mktemp("blend")


@pytest.fixture(scope="module")
def two(toy_root: Path, here: Path) -> dict[str, str]:
    """An EASE and a badly trained MF."""
    folders = {name: str(here / name) for name in ("EASE", "MF")}
    for name, folder in folders.items():
        run(**toy_keys(toy_root, Path(folder), name))
    return folders


def scores(folder: str, users: torch.Tensor) -> np.ndarray:
    """What a run says of users, by its own model."""
    _, data, trainer = open_run(Path(folder))
    batch = {data.dataset.uid_field: users}
    return trainer.model.full_sort_predict(batch).view(len(users), -1).detach().double().numpy()


def by_hand(parts: list[np.ndarray], weights: list[float]) -> np.ndarray:
    """The weighted sum of each user's standardised scores, user by user."""
    rows = []
    for user in range(len(parts[0])):
        items = [part[user, 1:] for part in parts]
        rows.append(sum(w * (s - s.mean()) / s.std() for w, s in zip(weights, items, strict=True)))
    return np.stack(rows)


def test_scores_are_weighted_sums_of_standardised_ones(toy: Any, two: dict[str, str], tmp_path: Path) -> None:
    weights = {"EASE": 1.0, "MF": 3.0}
    run(**toy("Blend", bases=two, blend_weight=weights, run_dir=str(tmp_path / "blend")))
    users = torch.arange(1, 9)
    ours = scores(str(tmp_path / "blend"), users)
    expected = by_hand([scores(two[name], users) for name in ("EASE", "MF")], [0.25, 0.75])
    np.testing.assert_allclose(ours[:, 1:], expected, atol=1e-4)
    _, _, trainer = open_run(tmp_path / "blend")
    pairs = {trainer.model.USER_ID: torch.tensor([3, 1, 3]), trainer.model.ITEM_ID: torch.tensor([5, 2, 1])}
    np.testing.assert_allclose(trainer.model.predict(pairs), [ours[2, 5], ours[0, 2], ours[2, 1]], atol=1e-6)


def test_auto_keeps_the_best_of_all_weights_on_validation(toy: Any, two: dict[str, str], tmp_path: Path) -> None:
    blend = run(**toy("Blend", bases=two, epochs=1))
    history = [line.split(",") for line in (tmp_path / "run" / "history.csv").read_text().splitlines()[1:]]
    tried = [float(value) for _, name, value in history if name == "weight[EASE]"]
    judged = [float(value) for _, name, value in history if name == "valid ndcg@5"]
    assert tried == pytest.approx(np.linspace(0, 1, 21).tolist(), abs=1e-6), "whatever `epochs` says"
    assert blend.valid["ndcg@5"] == max(judged)
    kept = float(open_run(tmp_path / "run")[2].model.weights[0])
    assert judged[round(kept * 20)] == max(judged)
    for place, name in ((0, "MF"), (20, "EASE")):
        assert judged[place] == pytest.approx(Result.read(Path(two[name])).valid["ndcg@5"])


class StopError(Exception):
    """Stands for whatever ends a process."""


def test_a_killed_choice_of_weights_goes_on(toy: Any, two: dict[str, str], tmp_path: Path) -> None:
    whole = run(**toy("Blend", bases=two, run_dir=str(tmp_path / "whole")))

    def stop(epoch: int, score: float) -> None:
        if epoch == 6:
            raise StopError

    with pytest.raises(StopError):
        run(**toy("Blend", bases=two), on_epoch=stop)
    assert run(**toy("Blend", bases=two, resume=True)).test == whole.test
    assert (tmp_path / "run/history.csv").read_bytes() == (tmp_path / "whole/history.csv").read_bytes()


@pytest.mark.parametrize("named", [True, False], ids=["the blend named", "the blend made first"])
def test_offsets_may_follow(toy: Any, two: dict[str, str], tmp_path: Path, named: bool, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    keys = {"fair_group": "genre", "offset_steps": 5, "run_dir": str(tmp_path / "offset")}
    if named:
        run(**toy("Blend", bases=two, run_dir=str(tmp_path / "blend")))
        more = {"strategy": "Offset", "base": str(tmp_path / "blend")}
        result = run(**{key: value for key, value in toy("Blend", **keys, **more).items() if key != "model"})
    else:
        result = run(**toy("OffsetBlend", bases=two, **keys))
    assert result.model == "OffsetBlend" and set(result.bases) == {"EASE", "MF"}
    frontier = (tmp_path / "offset" / "frontier.csv").read_text().splitlines()
    blend = Result.read(Path(str(result.base)))
    assert float(frontier[1].split(",")[2]) == pytest.approx(blend.valid["ndcg@5"]), "no offset: the blend itself"
    assert open_run(tmp_path / "offset")[2].model.weights.sum() == pytest.approx(1)


def test_rows_named_by_auto_are_trained_first_and_enter_the_hash(toy: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(**toy("Blend", bases={"EASE": "auto", "Pop": "auto"}))
    assert {Result.read(Path(folder)).model for folder in result.bases.values()} == {"EASE", "Pop"}
    hashes = {
        bases.folder_of(Config(overrides=toy("Blend", run_dir=None, bases=dict.fromkeys(names, "auto"))))
        for names in (("EASE", "Pop"), ("EASE", "MF"), ("Pop", "EASE"))
    }
    assert len(hashes) == 2


@pytest.mark.parametrize(
    ("given", "refusal"),
    [({"bases": None}, "name two trained runs"), ({"bases": {"EASE": "auto"}}, "name two"),
     ({"bases": {"EASE": "auto", "EASI": "auto"}}, "EASI"),
     ({"blend_weight": {"EASE": 1}}, "give each of"), ({"blend_weight": {"EASE": 0, "Pop": 0}}, "not all 0"),
     ({"blend_weight": "best"}, "not of the form"),
     ({"bases": {"EASE": "auto", "MF": "auto", "Pop": "auto"}}, "weighs two runs"),
     ({"bases": {"EASE": "auto", "SASRec": "auto"}}, "histories")],
)  # fmt: skip
def test_what_cannot_be_blended_is_refused(
    toy: Any, here: Path, monkeypatch: Any, given: dict[str, Any], refusal: str
) -> None:
    monkeypatch.chdir(here)
    with pytest.raises(UsageError, match=refusal):
        run(**toy("Blend", **{"bases": {"EASE": "auto", "Pop": "auto"}, **given}))


def test_a_run_of_another_split_is_refused(toy: Any, two: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="another split"):
        run(**toy("Blend", bases=two, eval_args={"split": {"RS": [0.5, 0.2, 0.3]}}))


def test_constant_scores_say_nothing_and_three_runs_may_be_averaged() -> None:
    assert standardised(torch.tensor([[9.0, 2.0, 2.0, 2.0], [0.0, 1.0, 2.0, 3.0]])).sum(1).abs().max() < 1e-6
    assert choices("equal", ["a", "b", "c"]).tolist() == [pytest.approx([1 / 3] * 3)]


def test_the_command_takes_the_yardsticks_of_its_first_run(
    toy: Any, two: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = f"--run_dir={tmp_path / 'out'}"
    assert main(["blend", two["EASE"], two["MF"], "--weight=0.25", out, "--quiet"]) == 0
    assert "0.25 EASE, 0.75 MF" in capsys.readouterr().out
    blend, first = Result.read(tmp_path / "out"), Result.read(Path(two["EASE"]))
    assert blend.test.keys() == first.test.keys() and blend.data["split"] == first.data["split"]
    other = run(**toy("EASE", seed=7, run_dir=str(tmp_path / "seed7")))
    assert main(["blend", two["EASE"], other.run_dir, "--weight=equal", f"--run_dir={tmp_path / 'mean'}"]) == 0
    assert set(Result.read(tmp_path / "mean").bases) == {"EASE-s2020-1", "EASE-s7-2"}


@pytest.mark.parametrize("words", [["blend", "one"], ["blend", "a", "b", "c", "--weight=0.5"]])
def test_the_command_refuses_too_few_or_a_share_of_three(two: dict[str, str], words: list[str]) -> None:
    places = [two["EASE"] if word in "abc" else word for word in words]
    assert main(places) == 2
