"""Our metrics in RecBole's evaluator, beside its own: any model, the right direction, the host's figures unchanged."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import loops
import pytest
import torch
from planted import run_planted
from recbole.evaluator import Collector, Evaluator

from recbole_fair.data.load import Data
from recbole_fair.errors import TrainingError, UsageError
from recbole_fair.host import AbstractMetric, metric_register
from recbole_fair.metrics import Metric, declared, directions, register
from recbole_fair.rundir.result import Result
from recbole_fair.runner import open_run, run
from recbole_fair.settings import figures
from recbole_fair.settings.config import Config
from recbole_fair.training.trainer import FairTrainer

Toy = Callable[..., dict[str, Any]]

OF_LISTS = ["Recall", "NDCG", "Hit", "MRR", "MAP", "Precision", "GAUC"]
OF_CATALOGUE = ["AveragePopularity", "TailPercentage"]  # coverage, Gini and entropy are ours
OURS = ["CV", "MIN", "Gap_NDCG", "REO", "RSP", "Merit_CV"]


def opened(toy: Toy, model: str, **more: Any) -> tuple[Config, Data, FairTrainer]:
    return open_run(Path(run(**toy(model, **more)).run_dir))


# --- the host's own evaluator is the oracle


def by_the_host(config: Config, data: Data, trainer: FairTrainer) -> dict[str, float]:
    """RecBole's Collector and Evaluator on the same scores; the counts, on which its collector fails, are set after."""
    plain = config.replaced(metrics=[*OF_LISTS, *OF_CATALOGUE])
    collector = Collector(config.replaced(metrics=[*OF_LISTS, "ShannonEntropy"]))  # it asks for the lists
    trainer.tot_item_num = data.dataset.item_num
    with torch.no_grad():
        for batch in data.test:
            interaction, scores, positive_u, positive_i = trainer._full_sort_batch_eval(batch)
            collector.eval_batch_collect(scores, interaction, positive_u, positive_i)
    struct = collector.get_data_struct()
    struct.set("data.num_items", data.dataset.item_num)
    struct.set("data.count_items", Counter(data.pairs("train")[1].tolist()))
    return dict(Evaluator(plain).evaluate(struct))


@pytest.mark.parametrize("model", ["LightGCN", "SASRec", "EASE"])
@pytest.mark.parametrize("size", [100, 1 << 20], ids=["batches of 4 users", "one batch"])
def test_the_hosts_figures_are_the_hosts_own(model: str, size: int, toy: Toy) -> None:
    both = [*OF_LISTS, *OF_CATALOGUE, *OURS]
    config, data, trainer = opened(toy, model, metrics=both, eval_batch_size=size)
    ours = trainer.evaluate(data.test, load_best_model=False)
    expected = by_the_host(config, data, trainer)
    assert len(expected) == 2 * (len(OF_LISTS) + len(OF_CATALOGUE)) - 1, "GAUC has no K"
    for key, value in expected.items():
        assert ours[key] == pytest.approx(value, abs=1e-12), key
    assert {key.split("@")[0] for key in ours.keys() - expected.keys()} == {name.lower() for name in OURS}


def test_a_second_evaluation_equals_the_first(toy: Toy) -> None:
    """What belongs to one evaluation is forgotten after it: no list of validation reaches a figure of test."""
    _, data, trainer = opened(toy, "MF", metrics=[*OF_LISTS, *OF_CATALOGUE, *OURS])
    first = trainer.evaluate(data.test, load_best_model=False)
    on_valid = trainer.evaluate(data.valid, load_best_model=False)
    assert trainer.evaluate(data.test, load_best_model=False) == first
    assert on_valid != first
    assert trainer.evaluator.table.users.tolist() == data.test.uid_list.tolist()


@pytest.mark.parametrize("model", ["MF", "SASRec", "EASE", "MultVAE", "Pop", "NeuMF"])
def test_a_property_file_that_names_them_is_enough(model: str, toy: Toy, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("metrics: [Recall, NDCG, CV, MIN]\ntopk: [5]\nvalid_metric: CV@5[genre]\nepochs: 1\n")
    keys = {key: value for key, value in toy(model).items() if key not in ("topk", "valid_metric", "epochs")}
    result = run(config_files=[file], **keys)
    expected = {"recall@5", "ndcg@5", *(f"{name}@5[{field}]" for name in ("cv", "min") for field in ("pop", "genre"))}
    assert result.test.keys() == result.valid.keys() == expected


# --- direction


SERVED = (0, 2, 6, 12, 8, 4, 2, 0, 0)  # men who are shown what they like, after so many steps of training


def improving_then_worse(user: str, item: str, step: int) -> float:
    if user[1] == "F":
        return float(item[0] == "c")
    return float((item[0] == "n") == (int(user[2:]) < SERVED[step]))


@pytest.mark.parametrize(
    "valid_metric",
    [
        "CV@5[pop]",
        "cv@5[genre]",
        "MIN@5[genre]",
        "Gap_Recall@5[gender]",
        "Ratio_NDCG@3[gender]",
        "NDCG@5",
        "REO@5[genre]",
    ],
)
def test_early_stopping_knows_which_way_is_better(valid_metric: str, toy: Toy) -> None:
    """All men are served after epoch 2, before and after it fewer."""
    keys = {"epochs": 8, "stopping_step": 2, "metrics": ["Recall"]}
    result = run_planted(toy, improving_then_worse, valid_metric=valid_metric, **keys)
    folder = Path(result.run_dir)
    assert json.loads((folder / "model.json").read_text())["epoch"] == 2
    history = loops.rows(folder / "history.csv")
    by_epoch = [float(row["value"]) for row in history if row["metric"] == f"valid {valid_metric.lower()}"]
    assert len(by_epoch) == 6, "stops at the third epoch in a row that is no better"
    better = max if valid_metric.startswith(("MIN", "Ratio", "NDCG")) else min
    assert by_epoch[2] == better(by_epoch)
    assert result.valid[valid_metric.lower()] == by_epoch[2], "computed though `metrics` does not name it"
    assert result.test["recall@5"] == 1


def test_direction_is_an_attribute_that_the_host_reads() -> None:
    smaller = [
        "CV",
        "REO",
        "RSP",
        "Exposure_CV",
        "Merit_CV",
        "Gap_NDCG",
        "CV_Hit",
        "GD",
        "Rate",
        "Gap_F1",
        "Non_Parity",
    ]
    bigger = ["MIN", "MIN_MRR", "Ratio_NDCG", "F1", "Yes_AUC", "Yes_Recall"]
    assert {name for name in [*smaller, *bigger] if name.lower() in metric_register.smaller_metrics} == set(smaller)
    assert not bigger_is_better("CV@20[pop]")
    assert bigger_is_better("AUC", "labeled") and not bigger_is_better("Non_Parity[gender]", "labeled")
    assert not bigger_is_better("AveragePopularity@5"), "the host's own"


def bigger_is_better(metric: str, protocol: str = "full") -> bool:
    return figures.bigger_is_better({"valid_metric": metric, "eval_protocol": protocol})


def test_reports_and_searches_know_the_same_directions() -> None:
    """They read a table of names, the host an attribute of the metric."""
    for name, metric in declared.by_host_name().items():
        key = metric.name.lower() + ("" if metric.answers else "@5")
        assert (directions.side(key) == "lower") is metric_register.metrics_dict[name].smaller, name


def test_the_utility_of_item_groups_is_followed_from_epoch_to_epoch(toy: Toy) -> None:
    result = run_planted(toy, improving_then_worse, epochs=5, stopping_step=9)
    rows = [row for row in loops.rows(Path(result.run_dir) / "history.csv") if "[genre:noir]" in row["metric"]]
    assert [row["metric"] for row in rows] == ["valid recall@5[genre:noir]"] * 5
    assert [float(row["value"]) for row in rows] == pytest.approx([served / 12 for served in SERVED[1:6]], abs=1e-12)


# --- what is refused


@pytest.mark.parametrize(
    ("valid_metric", "says"),
    [
        ("CV@5[nosuch]", r"\['pop', 'genre'\]"),
        ("CV@5", "item groupings"),
        ("CV@5[gender]", "item groupings"),
        ("Gap_NDCG@5[pop]", r"user groupings, \['gender'\]"),
        ("NDCG@5[pop]", "has no"),
        ("NDCG", "its K"),
        ("NDCG@x", "its K"),
        ("Sales@5", "no metric 'Sales'"),
        ("AUC@5", "eval_protocol=labeled"),
    ],
)
def test_a_valid_metric_that_will_not_be_reported_is_refused_at_once(valid_metric: str, says: str, toy: Toy) -> None:
    with pytest.raises(UsageError, match=says):
        Config(overrides=toy("MF", valid_metric=valid_metric))


def test_names_of_fields_keep_their_capitals(toy: Toy, toy_root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "toy"
    folder.mkdir(parents=True)
    for file in (toy_root / "toy").glob("toy.*"):
        (folder / file.name).write_text(file.read_text().replace("gender:token", "Gender:token"))
    keys = {"user_groups": ["Gender"], "valid_metric": "Gap_NDCG@5[Gender]", "epochs": 1}
    result = run(**toy("MF", data_path=str(tmp_path / "data"), **keys))
    assert "gap_ndcg@5[Gender]" in result.valid


def test_a_name_that_the_host_has_is_refused() -> None:
    class NDCG(AbstractMetric):
        """Not RecBole's."""

    with pytest.raises(UsageError, match="RecBole has one of this name"):
        register(NDCG)
    with pytest.raises(UsageError, match="RecBole has one of this name"):
        register(Metric("Recall", ["recall"]))
    with pytest.raises(UsageError, match="there is one of this name"):
        register(Metric("CV", ["recall"]))
    assert declared.METRICS["cv"].over == "item"


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("protocol", ["full", "candidates"])
def test_scores_that_are_no_numbers_stop_the_run(wrong: float, protocol: str, toy: Toy) -> None:
    """Even of one item, for one user."""
    with pytest.raises(TrainingError, match="scores contain NaN or infinity"):
        run_planted(
            toy,
            lambda user, item, _: wrong if (user, item[0]) == ("uM3", "n") else 1.0,
            eval_protocol=protocol,
        )
    stored = Result.read(Path(toy("MF")["run_dir"]))
    assert stored.status == "failed" and "NaN or infinity" in stored.error


def test_an_undefined_valid_metric_stops_the_run_with_a_reason(toy: Toy) -> None:
    """NaN compares with nothing: no epoch would ever be the best."""
    with pytest.raises(TrainingError, match=r"epoch 0: CV@5\[genre\] is undefined on validation"):
        run_planted(
            toy,
            lambda user, item, _: -float((user[1] == "F") == (item[0] == "c")),
            epochs=2,
            valid_metric="CV@5[genre]",
        )


def test_an_item_scored_minus_infinity_is_in_no_list_and_no_hit(toy: Toy) -> None:
    """A model may exclude items of its own accord; RecBole counts such hits, in whatever order ties have."""
    keys = {"topk": [3, 20], "valid_metric": "NDCG@3", "save_recommendations": True}
    result = run_planted(toy, lambda _, item, __: -math.inf if item[0] == "c" else 1.0, **keys)
    judged = loops.judged(Path(result.run_dir))
    assert {item[0] for listed in judged.lists.values() for item in listed} == {"n"}
    expected = loops.figures(judged, [3, 20], {}, {})
    for name in ("recall", "ndcg", "hit", "mrr", "precision"):
        assert result.test[f"{name}@20"] == pytest.approx(expected.test[f"{name}@20"], abs=1e-12)
    assert result.test["min@20[genre]"] == 0
