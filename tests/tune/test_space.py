"""Search spaces: what they may say, and what is refused before anything starts."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_fair import registry
from recbole_fair.errors import UsageError
from recbole_fair.jobs.job import Job
from recbole_fair.settings import yamls
from recbole_fair.settings.config import Config
from recbole_fair.tune import planning, space
from recbole_fair.tune.planning import SearchOptions
from recbole_fair.tune.record import Record, Trial


def job(options: dict[str, Any], model: str = "MF", **more: Any) -> Job:
    return Job(model, "toy", (), {**options, **more})


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        (0.1, "one word of Ray Tune"),
        ([0.1, 0.2], "one word of Ray Tune"),
        ({"uniform": [0, 1], "choice": [1]}, "one word of Ray Tune"),
        ({"loguniforn": [0.1, 1]}, "Did you mean 'loguniform'"),
        ({"choice": []}, "choice takes"),
        ({"grid_search": []}, "grid_search takes"),
        ({"choice": "abc"}, "choice takes"),
        ({"uniform": [1]}, "uniform takes"),
        ({"uniform": [1, 2, 3]}, "uniform takes"),
        ({"uniform": ["a", "b"]}, "of numbers"),
        ({"uniform": [True, 2]}, "of numbers"),
        ({"uniform": [0, float("inf")]}, "of numbers"),
        ({"uniform": [0, float("nan")]}, "of numbers"),
        ({"randint": [1.5, 3]}, "of whole numbers"),
        ({"uniform": [2, 1]}, "lower bound"),
        ({"uniform": [1, 1]}, "lower bound"),
        ({"loguniform": [0, 1]}, "logarithm"),
        ({"lograndint": [-1, 5]}, "logarithm"),
        ({"quniform": [0, 1, 0]}, "the step"),
        ({"quniform": [0, 1, 2]}, "the step"),
        ({"quniform": [0.1, 1, 0.25]}, "multiples of the step"),
        ({"quniform": [0, 1, 0.3]}, "multiples of the step"),
        ({"quniform": [0, 10, 1]}, r"ignores a step of 1; write randint: \[0, 11\]"),
        ({"qloguniform": [1, 10, 1.0]}, r"ignores a step of 1; write lograndint: \[1, 11\]"),
    ],
)
def test_refused_domains(domain: Any, expected: str) -> None:
    with pytest.raises(UsageError, match=expected) as refusal:
        space.parse({"learning_rate": domain}, "mine.yaml")
    assert "mine.yaml: learning_rate" in str(refusal.value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"learning_rat": {"uniform": [0.1, 1]}}, "Did you mean 'learning_rate'"),
        ({"ssl_tau": {"choice": [0.1]}}, "not used by MF"),
        ({"learning_rate": {"choice": [0.1, "much"]}}, "expected float"),
        ({"learning_rate": {"uniform": [-1, 1]}}, "out of bounds"),
        ({"embedding_size": {"loguniform": [8, 64]}}, "expected int"),
        ({"embedding_size": {"randint": [0, 64]}}, "out of bounds"),
        ({"rec_loss": {"choice": ["host", "guest"]}}, "choose one of"),
        ({"seed": {"choice": [1, 2]}}, "not searched over"),
        ({"split_seed": {"choice": [1, 2]}}, "not searched over"),
        ({"dataset": {"choice": ["a", "b"]}}, "not searched over"),
        ({"model": {"choice": ["MF", "SGL"]}}, "not searched over"),
        ({"strategy": {"choice": ["Reweight"]}}, "not searched over"),
        ({"eval_args": {"choice": [{"order": "RO"}]}}, "not searched over"),
        ({"eval_args.order": {"choice": ["RO"]}}, "not searched over"),
        ({"topk": {"choice": [[5], [10]]}}, "not searched over"),
        ({"valid_metric": {"choice": ["NDCG@5"]}}, "not searched over"),
        ({"sf_z": {"choice": [1.0, 3.0]}}, "not searched over"),
        ({"probe_average": {"choice": ["ovr", "ovo"]}}, "not searched over"),
        ({"run_dir": {"choice": ["a", "b"]}}, "not searched over"),
        ({"data_path": {"choice": ["a", "b"]}}, "not searched over"),
        ({"cache_dir": {"choice": ["a", "b"]}}, "not searched over"),
        ({"load": {"choice": ["a", "b"]}}, "not searched over"),
        ({"clip_grad_norm.norm": {"choice": [1.0]}}, "clip_grad_norm"),
        ({"epochs": {"choice": [1, 2]}}, "keep one"),  # toy_options gives epochs
        ({}, "names no key"),
    ],
)
def test_refused_spaces(values: dict[str, Any], expected: str, toy_options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=expected):
        planning.planned(job(toy_options), values, SearchOptions())


def test_a_space_that_can_be_searched(toy_options: dict[str, Any]) -> None:
    values = {
        "learning_rate": {"loguniform": [1e-4, 1e-1]},
        "embedding_size": {"randint": [1, 9]},
        "clip_grad_norm.max_norm": {"choice": [1.0, 5.0]},
        "weight_decay": {"grid_search": [0.0, 1e-5]},
    }
    plan = planning.planned(job(toy_options), values, SearchOptions(num_samples=3))
    assert (plan.trials, plan.epochs, plan.judged, plan.direction) == (6, 1, "ndcg@5", "max")
    assert plan.about()["space"] == values
    assert job(toy_options).over({"clip_grad_norm.max_norm": 5.0}).keys["clip_grad_norm"] == {"max_norm": 5.0}


@given(low=st.integers(-50, 50), width=st.integers(1, 50))
def test_probes_are_the_ends_of_what_is_drawn(low: int, width: int) -> None:
    ends = space.parse({"k": {"randint": [low, low + width]}}, "x")["k"].probes()
    assert ends == [low, low + width - 1]
    ends = space.parse({"k": {"uniform": [low, low + width]}}, "x")["k"].probes()
    assert ends == [low, low + width]
    assert all(isinstance(end, float) for end in ends)


@pytest.mark.parametrize(
    "domain",
    [
        {"uniform": [0.5, 2]}, {"loguniform": [1e-4, 1e-1]}, {"quniform": [0, 1, 0.25]}, {"randint": [2, 7]},
        {"lograndint": [1, 100]}, {"choice": ["a", None, 3]}, {"qloguniform": [0.1, 10, 0.1]},
    ],
)  # fmt: skip
def test_what_ray_draws_lies_between_the_probes(domain: dict[str, Any]) -> None:
    parsed = space.parse({"key": domain}, "x")["key"]
    drawn = [parsed.for_ray().sample() for _ in range(200)]
    if parsed.listed:
        assert set(drawn) == set(parsed.probes())
    else:
        low, high = parsed.probes()
        assert all(low - 1e-9 <= value <= high + 1e-9 for value in drawn)


@pytest.mark.parametrize("samples", [1, 4])
def test_draws_are_those_of_ray_tune_from_the_same_seed(samples: int) -> None:
    from ray.tune.search.variant_generator import generate_variants

    from recbole_fair.jobs.rays import BasicVariantGenerator

    domains = space.parse(
        {
            "z": {"uniform": [0.5, 2]}, "b": {"loguniform": [1e-4, 1e-1]}, "grid b": {"grid_search": [1, 2, 3]},
            "c": {"quniform": [0.3, 0.9, 0.1]}, "d": {"randint": [2, 70]}, "grid a": {"grid_search": ["x", None]},
            "e": {"lograndint": [1, 1000]}, "f": {"choice": ["a", None, 3, {"g": 1}]},
            "h": {"qloguniform": [0.1, 10, 0.1]}, "i": {"quniform": [2, 8, 2]},
        },
        "x",
    )  # fmt: skip
    # what BasicVariantGenerator does for each sample (its own method wants a trial class and a running Ray)
    state = BasicVariantGenerator(random_state=2020)._random_state
    param_space = {key: domain.for_ray() for key, domain in domains.items()}
    spec = {"config": param_space, "num_samples": samples}
    expected = [found["config"] for _ in range(samples) for _, found in generate_variants(spec, random_state=state)]
    drawn = space.drawn(domains, 2020, samples)
    assert drawn == expected and len(drawn) == 6 * samples
    assert [list(row) for row in drawn] == [list(domains)] * len(drawn)
    assert [[type(value) for value in row.values()] for row in drawn] == [
        [type(value) for value in row.values()] for row in expected
    ]


def test_a_grid_is_every_listed_value_once(toy_options: dict[str, Any]) -> None:
    values = {"learning_rate": {"choice": [0.1, 0.01]}, "embedding_size": {"choice": [4, 8, 16]}}
    assert planning.planned(job(toy_options), values, SearchOptions(search_algorithm="grid")).trials == 6
    with pytest.raises(UsageError, match="leave num_samples out"):
        planning.planned(job(toy_options), values, SearchOptions(search_algorithm="grid", num_samples=2))
    with pytest.raises(UsageError, match="a grid needs listed values"):
        wide = {"learning_rate": {"uniform": [0.1, 1]}}
        planning.planned(job(toy_options), wide, SearchOptions(search_algorithm="grid"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_samples": 0}, {"num_samples": 2.5}, {"max_concurrent": True}, {"grace_epochs": 0},
        {"gpus_per_trial": -1}, {"gpus_per_trial": "half"}, {"gpus_per_trial": float("nan")},
        {"search_algorithm": "best"}, {"search_algorithm": "hyperopt"}, {"scheduler": "ASHA!"},
    ],
)  # fmt: skip
def test_refused_ways_of_searching(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        SearchOptions(**wrong)


@pytest.mark.parametrize(
    ("objectives", "told"),
    [
        ({"ndgc@5": "max"}, "ndgc@5: not among what is reported"),
        ({"ndcg@7": "max"}, "ndcg@7: name one of the cutoffs in topk="),
        ({"cv@5[colour]": "min"}, "name one of the item groupings"),
    ],
)
def test_figures_that_no_trial_would_report_are_refused_before_any_starts(
    objectives: dict[str, str], told: str, toy_options: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        planning.planned(job(toy_options), {"learning_rate": {"choice": [0.1]}}, SearchOptions(objectives=objectives))


def test_what_a_scheduler_stopped_has_not_ended_for_a_search_without_one(tmp_path: Path) -> None:
    row = Trial(0, {}, status="stopped")
    for scheduler, complete in (("asha", True), ("none", False)):
        record = Record(tmp_path, {"scheduler": scheduler}, {"ndcg@5": "max"})
        record.remember([row])
        assert record.complete(1) is complete


def test_trained_weights_are_not_searched_over(toy_options: dict[str, Any], run_toy: Any) -> None:
    folder = run_toy("Pop").run_dir
    with pytest.raises(UsageError, match="nothing to search over"):
        planning.planned(Job(None, None, (), {"load": folder}), {"learning_rate": {"choice": [0.1]}}, SearchOptions())


def test_runs_without_gpus_reserve_none(toy_options: dict[str, Any]) -> None:
    def gpus(options: SearchOptions, **more: Any) -> float | None:
        return planning.planned(
            job({**toy_options, **more}), {"learning_rate": {"choice": [0.1]}}, options
        ).room.gpus_per_trial

    assert gpus(SearchOptions()) == 0  # the toy data's keys say use_gpu: False
    assert gpus(SearchOptions(), use_gpu=True) is None
    assert gpus(SearchOptions(gpus_per_trial=0.5), use_gpu=True) == 0.5


def test_looking_at_a_configuration_leaves_the_environment(
    toy_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """RecBole points CUDA_VISIBLE_DEVICES at its one GPU; Ray would then see no other."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    real = Config._init_device

    def as_with_a_gpu(config: Config) -> None:
        real(config)
        os.environ["CUDA_VISIBLE_DEVICES"] = "0"

    monkeypatch.setattr(Config, "_init_device", as_with_a_gpu)
    assert job(toy_options).config is not None
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recbole_fair.tune.algorithms.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install optuna"):
        SearchOptions(search_algorithm="optuna")


def test_search_files_are_found_by_model_strategy_loss_base_and_family(
    tmp_path: Path, toy_options: dict[str, Any]
) -> None:
    for name in ("ReweightMF", "Reweight", "MF", "infonce", "embedding"):
        (tmp_path / f"{name}.yaml").write_text("learning_rate: {choice: [0.1]}\n")

    def found(model: str, **more: Any) -> str | None:
        path = space.find(job(toy_options, model, **more).config, tmp_path, model)
        return path.stem if path else None

    assert [found(model) for model in ("ReweightMF", "ReweightSGL", "BPR", "AlphaRec", "EASE")] == [
        "ReweightMF", "Reweight", "MF", "embedding", None,
    ]  # fmt: skip
    assert found("MF", rec_loss="infonce") == "MF"  # a user's own file of that name
    assert space.find(job(toy_options, "MF", rec_loss="infonce").config, tmp_path) == tmp_path / "infonce.yaml"
    (tmp_path / "BPR.yaml").write_text("")
    assert found("BPR") == "BPR"


FILES = sorted((yamls.PROPERTIES / "search").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_ready_search_files_suit_every_model_they_are_for(path: Path, toy_options: dict[str, Any]) -> None:
    keys = {key: value for key, value in toy_options.items() if key not in ("epochs", "train_batch_size")}
    lists = [row.name for row in registry.MODELS.values() if row.family not in ("yesno", "mos", "p5")]
    jobs = [job(keys, name) for name in lists]
    jobs += [job(keys, f"{path.stem}MF")] if path.stem in registry.STRATEGIES else []
    of_prompts = {key: value for key, value in keys.items() if key not in ("metrics", "topk", "valid_metric")}
    jobs += [job(of_prompts, path.stem)] if path.stem in registry.MODELS and path.stem not in lists else []
    jobs += [job(keys, "LightGCN", rec_loss="infonce")]
    own = [candidate for candidate in jobs if space.find(candidate.config) == path]
    assert own, "no model uses this file"
    for candidate in own[:6]:
        assert planning.planned(candidate, path, SearchOptions()).space
