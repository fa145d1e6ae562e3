"""The forms in which a list, a number, a path or a nested key may be written: all give the same configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbole_fair.commands.arguments import parse
from recbole_fair.errors import UsageError
from recbole_fair.settings.config import Config, files_of

Toy = Callable[..., dict[str, Any]]

SAME = [
    ({"user_groups": "gender"}, {"user_groups": ["gender"]}),
    ({"user_groups": "gender,age"}, {"user_groups": ["gender", "age"]}),
    ({"item_groups": ("pop", "genre")}, {"item_groups": ["pop", "genre"]}),
    ({"topk": "3,5"}, {"topk": [3, 5]}),
    ({"topk": np.array([3, 5])}, {"topk": [3, 5]}),
    ({"metrics": "Recall,NDCG"}, {"metrics": ["Recall", "NDCG"]}),
    ({"unknown_values": "x"}, {"unknown_values": ["x"]}),
    ({"seed": np.int64(3)}, {"seed": 3}),
    ({"learning_rate": np.float64(0.01)}, {"learning_rate": 0.01}),
    ({"run_dir": Path("a/b")}, {"run_dir": "a/b"}),
    ({"eval_args.order": "RO"}, {"eval_args": {"order": "RO"}}),
    ({"eval_args.split.RS": "0.8,0.1,0.1"}, {"eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}}}),
    ({"load_col.user": "user_id,gender"}, {"load_col": {"user": ["user_id", "gender"]}}),
    ({"user_inter_num_interval": [2, 9]}, {"user_inter_num_interval": "[2,9]"}),
]


@pytest.mark.parametrize(("written", "meant"), SAME, ids=[str(written) for written, _ in SAME])
def test_all_forms_are_the_same_configuration(written: dict[str, Any], meant: dict[str, Any], toy: Toy) -> None:
    given = {key: value for key, value in toy("MF").items() if key not in {name.split(".")[0] for name in written}}
    one, other = (Config(overrides={**given, **keys}) for keys in (written, meant))
    assert one.effective == other.effective and one.hash("") == other.hash("")
    assert one["run_dir"] == other["run_dir"]


def test_what_is_typed_is_what_is_given(toy: Toy) -> None:
    typed = parse(["--user_groups=gender,age", "--topk=3,5", "--mlp_hidden_size=8,4"], ()).options
    made = Config(overrides={**toy("NeuMF"), **typed})
    assert (made["user_groups"], made["topk"], made["mlp_hidden_size"]) == (["gender", "age"], [3, 5], [8, 4])


def test_what_a_caller_gave_is_left_as_it_was(toy: Toy) -> None:
    mine = {"order": "TO"}
    Config(overrides={**toy("MF"), "eval_args": mine, "eval_args.order": "RO"})
    assert mine == {"order": "TO"}


def test_files_of_one_name_or_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert files_of("a.yaml") == files_of(Path("a.yaml")) == files_of(["a.yaml"]) == ["a.yaml"]
    assert files_of("a.yaml b.yaml") == files_of("a.yaml,b.yaml") == ["a.yaml", "b.yaml"]
    assert files_of(None) == files_of(()) == []
    Path("my settings.yaml").write_text("epochs: 3\n")
    assert files_of("my settings.yaml") == ["my settings.yaml"]


def test_one_file_as_text(tmp_path: Path, toy: Toy) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("user_groups: gender,age\neval_args.order: RO\n")
    given = {key: value for key, value in toy("MF").items() if key not in ("user_groups", "eval_args")}
    made = Config(config_files=str(file), overrides=given)
    assert made["user_groups"] == ["gender", "age"] and made["eval_args"]["order"] == "RO"
    file.write_text("topk: x,y\n")
    with pytest.raises(UsageError, match="topk"):
        Config(config_files=file, overrides={key: value for key, value in given.items() if key != "topk"})


def test_a_dataset_of_another_run_is_refused(toy: Toy, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model: MF\ndataset: toy\n")
    with pytest.raises(UsageError, match="is a run on toy, so it knows nothing of ml-100k"):
        Config(dataset="ml-100k", overrides={"load": str(tmp_path)})
    for wrong in (["a", "b"], str(tmp_path / "absent"), 3):
        with pytest.raises(UsageError, match="no run is there; give the folder"):
            Config(overrides={**toy("MF"), "load": wrong})
