"""Re-rankers as strategies after training: the run's lists are those of the method on the base's scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import loops
import numpy as np
import pytest
import torch

from recbole_fair import cli, registry, run
from recbole_fair.errors import UsageError
from recbole_fair.rerank.candidates import Candidates
from recbole_fair.rerank.methods import METHODS
from recbole_fair.runner import open_run

Toy = Callable[..., dict[str, Any]]


@pytest.fixture
def base(toy: Toy, tmp_path: Path) -> str:
    return str(run(**toy("MF", epochs=3, run_dir=str(tmp_path / "base"))).run_dir)


def reranked(toy: Toy, folder: Path, base: str, method: str, **more: Any) -> Any:
    keys = {"data_path": toy("MF")["data_path"], "run_dir": str(folder), "fair_group": "genre", "base": base,
            "save_recommendations": True, "rerank_candidates": 8}  # fmt: skip
    return run(strategy=method, **{**keys, **more})


def listed(folder: Path) -> dict[str, list[str]]:
    return loops.judged(folder).lists


def test_every_method_but_ugf_has_a_row() -> None:
    rows = {name for name, row in registry.STRATEGIES.items() if row.target.endswith("rerank:Rerank")}
    assert rows == METHODS.keys() - {"UGF"}, "UGF moves known likes, which are masked in the lists of a run"


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"UGF"}))
def test_the_lists_are_the_methods_on_the_scores_of_the_base(method: str, toy: Toy, tmp_path: Path, base: str) -> None:
    result = reranked(toy, tmp_path / "new", base, method, ndcg_budget=0.0)
    assert (result.model, result.strategy, result.base) == (f"{method}MF", method, base)
    rows = loops.rows(tmp_path / "new" / "frontier.csv")
    chosen = [row for row in rows if row["chosen"] == "1"]
    assert len(rows) == len(METHODS[method].strengths) and len(chosen) == 1
    assert float(chosen[0]["valid cv"]) == min(float(row["valid cv"]) for row in rows)
    assert result.test["cv@5[genre]"] == pytest.approx(float(chosen[0]["test cv"]), abs=1e-12)
    assert result.test["ndcg@5"] == pytest.approx(float(chosen[0]["test accuracy"]), abs=1e-12)

    _, data, trainer = open_run(Path(base))
    tokens, users = data.tokens("item_id"), data.tokens("user_id")
    genres = data.values("genre", "test")
    names = sorted({word for words in genres for word in words})
    membership = np.array([[name in words for name in names] for words in genres])
    trainer.tot_item_num = data.dataset.item_num
    trainer.item_tensor = data.test.dataset.get_item_feature()
    with torch.no_grad():
        judged = [trainer.scores(batch) for batch in data.test]
    scores = torch.cat([one[1] for one in judged])
    order = scores.topk(8, dim=1)
    who = torch.cat([one[0]["user_id"] for one in judged]).numpy()
    profile = np.zeros((len(users), len(names)))
    for user, item in zip(*data.pairs("train"), strict=True):
        profile[user] += membership[item] / max(membership[item].sum(), 1)
    profile /= np.maximum(profile.sum(axis=1, keepdims=True), 1e-12)
    given = Candidates(order.indices.numpy(), order.values.double().numpy(), 5, membership, profile=profile[who])
    places = METHODS[method].choose(given, float(chosen[0]["strength"]))
    found = listed(tmp_path / "new")
    for row, user in enumerate(who):
        assert found[users[user]] == [tokens[given.items[row, place]] for place in places[row]]


def test_a_judged_user_without_training_rows_has_an_empty_profile(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Split by time, the last users of the file are in test alone."""
    monkeypatch.chdir(tmp_path)  # where the base is made
    late = {"eval_args": {"split": {"TS": [0.6, 0.2, 0.2]}, "order": "TO"}, "ndcg_budget": 0.0, "epochs": 1}
    result = run(**toy("CalibratedMF", **late, fair_group="genre", rerank_candidates=8))
    assert result.status == "ok"


def test_figures_are_those_of_the_lists_that_are_written(toy: Toy, tmp_path: Path, base: str) -> None:
    result = reranked(toy, tmp_path / "new", base, "MMR", ndcg_budget=0.0, topk=[3, 5])
    judged = loops.judged(tmp_path / "new")
    genres = loops.members(loops.atomic(Path(toy("MF")["data_path"]) / "toy" / "toy.item"), "genre", several=True)
    expected = loops.figures(judged, [3, 5], {"genre": genres}, {}).test
    for key in ("ndcg@3", "recall@5", "cv@3[genre]", "min@5[genre]"):
        assert result.test[key] == pytest.approx(expected[key], abs=1e-12)


def test_a_budget_of_all_accuracy_keeps_it(toy: Toy, tmp_path: Path, base: str) -> None:
    result = reranked(toy, tmp_path / "new", base, "TaxRank", ndcg_budget=1.0)
    rows = loops.rows(tmp_path / "new" / "frontier.csv")
    assert result.valid["ndcg@5"] >= float(rows[0]["valid accuracy"]) - 1e-12


def test_a_run_that_is_loaded_again_has_the_same_lists(toy: Toy, tmp_path: Path, base: str) -> None:
    result = reranked(toy, tmp_path / "new", base, "MinMax", ndcg_budget=0.0)
    (tmp_path / "new" / "recommendations.tsv").rename(tmp_path / "before.tsv")
    again = reranked(toy, tmp_path / "new", base, "MinMax", ndcg_budget=0.0)
    assert again.test == result.test
    assert (tmp_path / "new" / "recommendations.tsv").read_text() == (tmp_path / "before.tsv").read_text()


def test_recommend_does_not_show_lists_that_are_not_the_runs(
    toy: Toy, tmp_path: Path, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    reranked(toy, tmp_path / "new", base, "MinMax")
    assert cli.main(["recommend", str(tmp_path / "new"), "--users=uF1"]) == 2
    assert "save_recommendations=True" in capsys.readouterr().err


def test_as_a_prefix_the_base_is_made_first(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(**toy("CPFairReweightMF", fair_group="genre", epochs=1))
    assert "ReweightMF" in result.base


def test_groups_of_users_are_refused(toy: Toy, tmp_path: Path, base: str) -> None:
    with pytest.raises(UsageError, match="Rerank moves items"):
        reranked(toy, tmp_path / "new", base, "CPFair", fair_group="gender")
