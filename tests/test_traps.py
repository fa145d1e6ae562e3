"""The traps of RecBole 1.2.1 that have no better home; docs/traps.md says where each of the 31 is tested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from recbole_fair import registry, runner
from recbole_fair.data import load
from recbole_fair.errors import UsageError
from recbole_fair.host import InputType, get_trainer
from recbole_fair.settings.config import Config

Toy = Callable[..., dict[str, Any]]


def loaded(toy: Toy, model: str, **more: Any) -> load.Data:
    return load.load(Config(overrides=toy(model, **more)))


def copy_toy(toy_root: Path, target: Path, change: dict[str, Callable[[str], str]]) -> str:
    folder = target / "toy"
    folder.mkdir(parents=True)
    for file in (toy_root / "toy").iterdir():
        if file.is_file():
            text = file.read_text()
            (folder / file.name).write_bytes(change.get(file.suffix, lambda same: same)(text).encode())
    return str(target)


def test_08_an_unknown_model_is_refused_without_looking_for_lightgbm() -> None:
    with pytest.raises(UsageError, match="no such model"):
        registry.resolve("NoSuch")


def test_10_users_without_a_profile_lose_their_ratings_and_it_is_said(toy_root: Path, toy: Toy, tmp_path: Path) -> None:
    def drop_last(text: str) -> str:
        return "\n".join(text.splitlines()[:-3]) + "\n"

    root = copy_toy(toy_root, tmp_path / "cut", {".user": drop_last})
    result = runner.run(**toy("Pop", data_path=root))
    assert result.data["users"] == 39
    assert any("42 of 468 interactions" in warning and ".user" in warning for warning in result.warnings)


def test_12_item_zero_is_padding_and_never_recommended(run_toy: Callable[..., Any]) -> None:
    result = run_toy("MF", save_recommendations=True)
    text = (Path(result.run_dir) / "recommendations.tsv").read_text()
    assert "[PAD]" not in text


def test_13_what_is_drawn_before_does_not_move_the_split(toy: Toy) -> None:
    first = loaded(toy, "MF", eval_args={"order": "RO"}).split_digest()
    torch.rand(100)
    np.random.rand(7)
    assert loaded(toy, "MF", eval_args={"order": "RO"}).split_digest() == first
    assert loaded(toy, "AlphaRec", eval_args={"order": "RO"}).split_digest() == first


def test_14_group_sizes_come_from_judged_users(run_toy: Callable[..., Any]) -> None:
    groups = {row["group"]: row for row in run_toy("Pop").group_rows if row["field"] == "gender"}
    assert (groups["F"]["users"], groups["M"]["users"]) == (29, 12)


def test_17_18_every_model_is_judged_on_the_same_users_lists_and_masks(toy: Toy) -> None:
    general, sequential = loaded(toy, "MF"), loaded(toy, "SASRec")
    assert general.test.uid_list.tolist() == sequential.test.uid_list.tolist()
    for ours, theirs in zip(general.test, sequential.test, strict=True):
        for mine, other in zip((*ours[1], ours[2], ours[3]), (*theirs[1], theirs[2], theirs[3]), strict=True):
            assert torch.equal(mine, other)


def test_18_a_sequential_model_reads_exactly_the_items_before_the_judged_part(toy: Toy) -> None:
    found = loaded(toy, "SASRec")
    frame = {phase: found.parts[phase].inter_feat for phase in ("train", "valid", "test")}
    for phase, before in (("valid", ["train"]), ("test", ["train", "valid"])):
        loader = getattr(found, phase)
        for row, user in enumerate(loader.uid_list.tolist()):
            history = [
                (float(time), int(item))
                for part in before
                for time, item, owner in zip(
                    frame[part]["timestamp"], frame[part]["item_id"], frame[part]["user_id"], strict=True
                )
                if int(owner) == user
            ]
            expected = [item for _, item in sorted(history)][-8:]
            length = int(loader.user_df["item_length"][row])
            assert loader.user_df["item_id_list"][row][:length].tolist() == expected
            assert not loader.user_df["item_id_list"][row][length:].any()


def test_18_training_sequences_hold_training_items_only(toy: Toy) -> None:
    found = loaded(toy, "SASRec")
    users, items = found.pairs("train")
    known = set(zip(users.tolist(), items.tolist(), strict=True))
    feat = found.train.dataset.inter_feat
    for user, target, sequence in zip(feat["user_id"], feat["item_id"], feat["item_id_list"], strict=True):
        assert {(int(user), int(item)) for item in [target, *sequence[sequence > 0]]} <= known


def test_19_no_pickle_of_the_data_is_kept(run_toy: Callable[..., Any]) -> None:
    folder = Path(run_toy("MF").run_dir)
    assert not [path for path in folder.rglob("*") if path.suffix in (".pth", ".pt", ".pkl", ".pickle")]


def test_20_many_users_are_judged_in_one_batch(toy: Toy) -> None:
    assert len(loaded(toy, "MF").test) == 1


def test_21_autoencoders_keep_their_loader_of_users(toy: Toy) -> None:
    assert type(loaded(toy, "MultVAE").train).__name__ == "UserDataLoader"


def test_22_a_missing_kernel_stops_instead_of_predicting_item_by_item(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recbole.model.general_recommender import BPR

    def no_kernel(self: Any, interaction: Any) -> torch.Tensor:
        raise NotImplementedError("Could not run 'aten::x' with arguments from the 'CUDA' backend")

    monkeypatch.setattr(BPR, "full_sort_predict", no_kernel)
    with pytest.raises(RuntimeError, match="Could not run"):
        runner.run(**toy("MF"))


def test_22_a_model_without_full_ranking_is_still_judged(run_toy: Callable[..., Any]) -> None:
    assert run_toy("NeuMF", epochs=1).test["recall@5"] is not None


def test_23_metrics_that_need_counts_work_and_nothing_piles_up(run_toy: Callable[..., Any]) -> None:
    metrics = ["Recall", "NDCG", "ItemCoverage", "GiniIndex", "AveragePopularity"]
    result = run_toy("MF", metrics=metrics, epochs=3, save_recommendations=True)
    rows = [line.split("\t") for line in (Path(result.run_dir) / "recommendations.tsv").read_text().splitlines()[1:]]
    listed = {item for _, item, rank, _ in rows if int(rank) <= 3}
    assert result.test["itemcoverage@3"] == len(listed) / 24, "of one evaluation only, without the padding"
    counts = [*Counter(item for _, item, rank, _ in rows if int(rank) <= 5).values()]
    counts += [0] * (24 - len(counts))
    differences = sum(abs(one - other) for one in counts for other in counts)
    assert result.test["giniindex@5"] == pytest.approx(differences / (2 * 24 * sum(counts)))


def test_24_nothing_is_rounded(run_toy: Callable[..., Any]) -> None:
    assert any(value != round(value, 6) for value in run_toy("MF").test.values())


def test_26_selection_never_sees_test(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best epoch is the one with the best validation figure in history.csv, whatever test says."""
    import csv
    import json

    from recbole_fair.training.trainer import FairTrainer

    fitting, honest_fit, honest_evaluate = [], FairTrainer.fit, FairTrainer.evaluate

    def fit(self: Any, train_data: Any, valid_data: Any = None, **options: Any) -> Any:
        fitting.append(valid_data)
        try:
            return honest_fit(self, train_data, valid_data, **options)
        finally:
            fitting.clear()

    def evaluate(self: Any, eval_data: Any, **options: Any) -> Any:
        assert not fitting or eval_data is fitting[0], "only validation is looked at while training"
        return honest_evaluate(self, eval_data, **options)

    monkeypatch.setattr(FairTrainer, "fit", fit)
    monkeypatch.setattr(FairTrainer, "evaluate", evaluate)
    result = runner.run(**toy("MF", epochs=8, learning_rate=0.3, stopping_step=50))
    folder = Path(result.run_dir)
    with (folder / "history.csv").open() as stream:
        scores = [float(row["value"]) for row in csv.DictReader(stream) if row["metric"] == "valid ndcg@5"]
    scores = scores[:8]
    best = json.loads((folder / "model.json").read_text())["epoch"]
    assert scores[best] == max(scores)
    assert result.valid["ndcg@5"] == scores[best]


def test_29_a_strategy_owns_the_only_backward(toy: Toy) -> None:
    """Gradients after one step of the trainer equal those of one plain backward."""
    from recbole_fair.strategies.base import Strategy

    work = runner._Run(Config(overrides=toy("MF")), quiet=True, on_epoch=None)
    found, trainer = work.prepare()
    strategy = Strategy(SimpleNamespace(config=work.config))  # type: ignore[arg-type]
    trainer.optimizer.param_groups[0]["lr"] = 0.0  # a step that moves nothing
    trainer._start_schedule(found.train)
    batch = next(iter(found.train))
    trainer._step(strategy, batch, "here")
    got = [parameter.grad.clone() for parameter in trainer.model.parameters()]
    trainer.model.zero_grad()
    trainer.model.calculate_loss(batch).backward()
    for gradient, parameter in zip(got, trainer.model.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


def test_30_contrastive_models_get_plain_rows_from_the_loader(toy: Toy) -> None:
    found = loaded(toy, "AlphaRec")
    batch = next(iter(found.train))
    assert set(batch.interaction) == {"user_id", "item_id", "rating", "timestamp"}
    assert len(batch) == 64


def test_31_models_keep_the_trainer_the_host_has_for_them(toy: Toy) -> None:
    for name, host in {"EASE": "TraditionalTrainer", "NCL": "NCLTrainer", "RecVAE": "RecVAETrainer"}.items():
        config = Config(overrides=toy(name))
        assert get_trainer(config["MODEL_TYPE"], config["model"]).__name__ == host
    assert Config(overrides=toy("MF"))["MODEL_INPUT_TYPE"] is InputType.PAIRWISE


def test_32_sequential_models_train_without_anomaly_mode(toy: Toy, monkeypatch: Any) -> None:
    from recbole.model.sequential_recommender.sasrec import SASRec

    during = []
    honest = SASRec.calculate_loss
    monkeypatch.setattr(
        SASRec, "calculate_loss", lambda *given: during.append(torch.is_anomaly_enabled()) or honest(*given)
    )
    with torch.autograd.set_detect_anomaly(True):  # as the import leaves it in a fresh process
        runner.run(**toy("SASRec", epochs=1))
        assert torch.is_anomaly_enabled(), "the caller's own setting"
    assert during and not any(during)


@pytest.mark.parametrize(
    ("suffix", "change", "says"),
    [
        (".inter", lambda text: text.replace("user_id:token", "user_id"), "line 1"),
        (".inter", lambda text: text.replace("rating:float", "rating:number"), "rating:number"),
        (".inter", lambda text: text.replace("\n", "\r\n"), "CR LF"),
        (".inter", lambda text: text.replace("item_id:token", "movie:token"), "has no field 'item_id'"),
        (".inter", lambda text: "", "line 1"),
        (".inter", lambda text: text + "a\tb\tc\td\te\tf\n", "toy"),
        (".inter", lambda text: text.replace("\t3\t", "\tthree\t", 1), "toy"),
        (".inter", lambda text: text.splitlines()[0] + "\n", "holds no row"),
        (".item", lambda text: text.replace("title:token", "title:words"), "title:words"),
        (".user", lambda text: text.replace("user_id:token", "uid:token"), "has no field 'user_id'"),
    ],
)
def test_malformed_atomic_files_are_refused(
    suffix: str, change: Callable[[str], str], says: str, toy_root: Path, toy: Toy, tmp_path: Path
) -> None:
    root = copy_toy(toy_root, tmp_path / "bad", {suffix: change})
    with pytest.raises(UsageError) as caught:
        runner.run(**toy("Pop", data_path=root))
    assert says in str(caught.value)


def test_bytes_that_are_no_text_are_refused(toy_root: Path, toy: Toy, tmp_path: Path) -> None:
    root = copy_toy(toy_root, tmp_path / "bad", {})
    (tmp_path / "bad" / "toy" / "toy.item").write_bytes(b"item_id:token\ttitle:token\xff\xfe\n")
    with pytest.raises(UsageError, match="cannot be read as that"):
        runner.run(**toy("Pop", data_path=root))


def test_a_missing_interaction_file_is_named(toy_root: Path, toy: Toy, tmp_path: Path) -> None:
    root = copy_toy(toy_root, tmp_path / "bad", {})
    (tmp_path / "bad" / "toy" / "toy.inter").unlink()
    with pytest.raises(UsageError, match=r"toy\.inter: no such file"):
        runner.run(**toy("Pop", data_path=root))


def test_more_k_than_items_is_refused(toy: Toy) -> None:
    with pytest.raises(UsageError, match="only 24 items"):
        runner.run(**toy("Pop", topk=[50]))


def test_fields_that_the_data_lacks_are_refused(toy: Toy) -> None:
    with pytest.raises(UsageError, match="has no field 'occupation'"):
        runner.run(**toy("Pop", load_col={"user": ["user_id", "occupation"], "inter": None, "item": None}))
    with pytest.raises(UsageError, match="item_text='titel'"):
        runner.run(**toy("AlphaRec", item_text="titel"))
    with pytest.raises(UsageError, match="needs item texts"):
        runner.run(**toy("AlphaRec", item_text=None))


def test_15_users_with_one_row_are_not_judged(toy_root: Path, toy: Toy, tmp_path: Path) -> None:
    root = copy_toy(
        toy_root,
        tmp_path / "more",
        {".inter": lambda text: text + "lonely\tc1\t5\t999\n", ".user": lambda text: text + "lonely\tF\t30\n"},
    )
    result = runner.run(**toy("Pop", data_path=root))
    users = (Path(result.run_dir) / "users.csv").read_text().splitlines()
    assert result.data["users"] == 43
    assert len(users) == 1 + 42 and not any(line.startswith("lonely") for line in users)
