"""Models that answer or rank are asked for what is judged and for nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from recbole_fair import registry, run
from recbole_fair.groups.variants import NONE, OWN, Variant
from recbole_fair.host import GeneralRecommender, InputType, ModelType
from recbole_fair.report.statistics.evaluated import evaluated
from recbole_fair.report.users import read_users
from recbole_fair.runner import open_run

Toy = Callable[..., dict[str, Any]]
LABELED = {"eval_protocol": "labeled", "valid_metric": "AUC", "likes": "[4,inf)", "bootstrap": 0, "yes_threshold": 0.5}


class Asked(GeneralRecommender):
    """Says what `rule` says, and keeps what it was asked."""

    input_type = InputType.POINTWISE
    type = ModelType.TRADITIONAL
    calls: list[tuple[Variant, int]] = []

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.fake_loss = torch.nn.Parameter(torch.zeros(1))

    @staticmethod
    def rule(users: Tensor, items: Tensor, variant: Variant) -> Tensor:
        """Yes to men for even items, to women for those that 3 divides; without a word for all but every fourth."""
        if variant == NONE:
            return (items % 4 != 0).float()
        by_word = {"M": items % 2 == 0, "F": items % 3 == 0}.get(variant.value)
        return (by_word if by_word is not None else (users + items) % 2 == 0).float()

    def answer(self, users: Tensor, items: Tensor, variant: Variant) -> Tensor:
        Asked.calls.append((variant, len(users)))
        return self.rule(users, items, variant)

    def rank(self, users: Tensor, candidates: Tensor) -> Tensor:
        Asked.calls.append((OWN, int((candidates > 0).sum())))
        return candidates.float()

    def rank_under(self, users: Tensor, candidates: Tensor, variant: Variant) -> Tensor:
        """The smallest id first without a word, the largest with F, and with M as without but for odd users."""
        Asked.calls.append((variant, int((candidates > 0).sum())))
        sign = (
            torch.where(users % 2 == 1, 1, -1)[:, None] if variant.value == "M" else 1 if variant.value == "F" else -1
        )
        return candidates.float() * sign

    def calculate_loss(self, _: Any) -> Tensor:
        return self.fake_loss.sum()


@pytest.fixture(autouse=True)
def row(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {**registry.MODELS, "Asked": registry.Row("Asked", f"{__name__}:Asked", "host", "Pop")}
    monkeypatch.setattr(registry, "_models", rows)
    monkeypatch.setattr(registry, "MODELS", rows)
    Asked.calls = []


def f1(said_yes: list[bool], liked: list[bool]) -> float:
    right = sum(a and b for a, b in zip(said_yes, liked, strict=True))
    return 2 * right / (sum(said_yes) + sum(liked))


def test_pairs_times_variants_are_asked_and_figures_are_those_by_hand(toy: Toy) -> None:
    metrics = ["AUC", "F1", "GD", "GD_Given", "GD_Gap", "Flip"]
    result = run(**toy("Asked", **LABELED, metrics=metrics))
    _, loaded, _ = open_run(Path(result.run_dir))
    pairs, liked = list(loaded.test.labels), list(loaded.test.labels.values())
    variants = {NONE, OWN, Variant("gender", "F"), Variant("gender", "M")}
    judged = [(variant, len(pairs)) for variant in variants]
    assert sorted(Asked.calls[-4:]) == sorted(judged), "each pair once under each variant, and no other pair"

    def answers(variant: Variant, chosen: list[int]) -> list[bool]:
        users, items = torch.tensor([pairs[place] for place in chosen]).T
        return [bool(score >= 0.5) for score in Asked.rule(users, items, variant)]

    member = loaded.values("gender", "user_groups")
    own = {word: [n for n, (user, _) in enumerate(pairs) if member[user] == (word,)] for word in ("F", "M")}
    every, gaps, given = list(range(len(pairs))), [], []
    for word, chosen in own.items():
        labels = [liked[place] for place in chosen]
        gaps.append(f1(answers(OWN, chosen), labels) - f1(answers(NONE, chosen), labels))
        given.append(f1(answers(Variant("gender", word), every), liked) - f1(answers(NONE, every), liked))
    mean = sum(gaps) / 2
    assert result.test["gd[gender]"] == pytest.approx((sum(gap**2 for gap in gaps) / 2) ** 0.5)
    assert result.test["gd_given[gender]"] == pytest.approx((sum(gap**2 for gap in given) / 2) ** 0.5)
    assert result.test["gd_gap[gender]"] == pytest.approx((sum((gap - mean) ** 2 for gap in gaps) / 2) ** 0.5)
    differ = [a != b for a, b in zip(*(answers(Variant("gender", word), every) for word in ("F", "M")), strict=True)]
    assert result.test["flip[gender]"] == pytest.approx(sum(differ) / len(pairs))


def test_only_candidates_are_ranked(toy: Toy) -> None:
    result = run(**toy("Asked", eval_protocol="candidates", num_candidates=4, bootstrap=0, save_recommendations=True))
    _, loaded, _ = open_run(Path(result.run_dir))
    drawn = sum(map(len, loaded.test.candidates.values())) + len(loaded.parts["test"])
    asked = Asked.calls[-len(loaded.test) :]
    assert sum(count for _, count in asked) == drawn


STABILITY = ["NDCG", "Jaccard", "SNSR_PRAG", "SNSV_Jaccard", "SERP_Null", "PRAG_Drop"]
CANDIDATES: dict[str, Any] = {"eval_protocol": "candidates", "num_candidates": 4, "metrics": STABILITY}


def test_lists_under_each_value_are_compared_with_the_one_without(toy: Toy) -> None:
    result = run(**toy("Asked", **CANDIDATES, bootstrap=50))
    _, loaded, _ = open_run(Path(result.run_dir))
    asked = dict.fromkeys(variant for variant, _ in Asked.calls)
    assert set(asked) == {OWN, NONE, Variant("gender", "F"), Variant("gender", "M")}
    users = loaded.test.uid_list.tolist()
    pairs = list(loaded.test.pairs())
    pairs += zip(*(ids.tolist() for ids in loaded.pairs("test")), strict=True)
    of_user = {user: sorted({item for other, item in pairs if other == user}) for user in users}
    jaccards: dict[str, list[float]] = {"F": [], "M": []}
    agreeing: dict[str, list[float]] = {"F": [], "M": []}
    for user, items in of_user.items():
        plain, backwards = items[:3], items[::-1][:3]
        for value, listed in (("F", backwards), ("M", backwards if user % 2 else plain)):
            jaccards[value].append(len(set(plain) & set(listed)) / len(set(plain) | set(listed)))
            ordered = [(one, other) for place, one in enumerate(listed) for other in listed[place + 1 :]]
            agree = [one in plain and (other not in plain or one < other) for one, other in ordered]
            agreeing[value].append(sum(agree) / len(ordered))
    mean = {value: sum(of) / len(of) for value, of in jaccards.items()}
    prag = {value: sum(of) / len(of) for value, of in agreeing.items()}
    assert mean["F"] < mean["M"] < 1
    assert result.test["jaccard@3[gender]"] == pytest.approx((mean["F"] + mean["M"]) / 2)
    assert result.test["snsv_jaccard@3[gender]"] == pytest.approx((mean["M"] - mean["F"]) / 2)
    assert result.test["snsr_prag@3[gender]"] == pytest.approx(prag["M"] - prag["F"])
    assert result.test["serp_null@3"] == 1.0
    assert result.test["prag_drop@3[gender]"] == pytest.approx(1 - (prag["F"] + prag["M"]) / 2)
    low, high = result.interval["snsr_prag@3[gender]"] or (0.0, 0.0)
    assert low <= result.test["snsr_prag@3[gender]"] <= high  # type: ignore[operator]
    rows = {row["group"]: row for row in result.group_rows if row["field"] == "gender"}
    assert rows["F"]["jaccard@3"] == pytest.approx(mean["F"])
    kept = read_users(Path(result.run_dir))
    assert kept is not None
    assert evaluated(kept, "snsr_prag@3[gender]", result.test["snsr_prag@3[gender]"]) is not None  # type: ignore[arg-type]


def test_lists_of_a_model_without_prompts_are_the_same_under_all_and_it_is_said(toy: Toy) -> None:
    result = run(**toy("Pop", **CANDIDATES, bootstrap=0))
    assert result.test["jaccard@3[gender]"] == 1.0
    assert result.test["snsr_prag@3[gender]"] == 0.0
    assert any("no prompts" in warning and "jaccard" in warning for warning in result.warnings)


def test_nobody_is_asked_under_variants_that_no_metric_reads(toy: Toy) -> None:
    run(**toy("Asked", eval_protocol="candidates", num_candidates=4, bootstrap=0))
    assert {variant for variant, _ in Asked.calls} == {OWN}


def test_a_model_without_prompts_is_said_to_have_none(toy: Toy) -> None:
    result = run(**toy("Pop", **{**LABELED, "yes_threshold": "share"}, metrics=["AUC", "GD"]))
    assert result.test["gd[gender]"] == 0
    assert any("no prompts" in warning for warning in result.warnings)
