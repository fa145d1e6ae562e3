"""Layers, checks and hashes of the configuration."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from recbole_fair import registry
from recbole_fair.commands import table
from recbole_fair.errors import UsageError
from recbole_fair.settings import keys, yamls
from recbole_fair.settings.config import Config, merge
from recbole_fair.settings.digest import config_hash

Toy = Callable[..., dict[str, Any]]


def config(toy: Toy, model: str = "MF", **more: Any) -> Config:
    return Config(overrides=toy(model, **more))


def test_later_layers_win(toy: Toy, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("epochs: 7\nembedding_size: 16\n")
    given = toy("LightGCN")
    del given["epochs"]
    made = Config(config_files=[file], overrides={**given, "embedding_size": 8})
    assert made["n_layers"] == 2  # RecBole's own model file
    assert made["stopping_step"] == 20  # our overall.yaml over RecBole's 10
    assert made["epochs"] == 7  # the user's file
    assert made["embedding_size"] == 8  # the command line


@pytest.mark.parametrize("layer", ["family", "model", "strategy"])
def test_only_a_data_set_says_whether_its_rows_have_an_order(layer: str) -> None:
    folder = Path(__file__).parents[2] / "properties" / layer
    files = sorted(folder.glob("*.yaml"))
    assert files
    for file in files:
        assert "order" not in (yamls.read_mapping(file).get("eval_args") or {}), file


@pytest.mark.parametrize("option", keys._ELSEWHERE)
def test_an_option_of_another_command_is_named_with_that_command(option: str) -> None:
    command = keys._ELSEWHERE[option]
    assert f"--{option}" in table.COMMANDS[command].load().usage()
    with pytest.raises(UsageError, match=f"`recbole-fair {command}` takes it"):
        keys.check_name(option, ())


def test_effective_configuration_reloads_to_the_same_hash(toy: Toy, tmp_path: Path) -> None:
    first = config(toy, "ReweightAlphaRec", learning_rate=1e-3, fair_group="genre")
    file = tmp_path / "effective.yaml"
    file.write_text(yamls.dump(first.effective))
    second = Config(config_files=[file])
    assert second.name == "ReweightAlphaRec"
    assert second.hash("data") == first.hash("data")
    third = tmp_path / "third.yaml"
    third.write_text(yamls.dump(second.effective))
    assert third.read_text() == file.read_text()


def test_strategy_prefix_and_strategy_key_are_one(toy: Toy) -> None:
    assert config(toy, "ReweightMF").hash("d") == config(toy, "MF", strategy="Reweight").hash("d")


def test_hash_knows_what_matters(toy: Toy) -> None:
    base = config(toy).hash("d")
    assert config(toy, seed=9, run_dir="elsewhere", resume=True, gpu_id="1").hash("d") == base
    for change in (
        {"learning_rate": 0.5},
        {"split_seed": 3},
        {"worker": 2},
        {"eval_args": {"split": {"RS": [0.5, 0.25, 0.25]}}},
    ):
        assert config(toy, **change).hash("d") != base
    assert config(toy).hash("other data") != base
    assert config(toy).hash("d", ["parent"]) != base


def test_eval_args_merge_by_key_others_whole() -> None:
    """Trap 5: RecBole falls back to a random 8:1:1 split when only the mode is given."""
    values: dict[str, Any] = {"eval_args": {"split": {"RS": [4, 3, 3]}, "order": "TO"}, "load_col": {"inter": ["a"]}}
    merge(values, {"eval_args": {"split": {"LS": "valid_and_test"}}, "load_col": {"item": ["b"]}})
    assert values == {"eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO"}, "load_col": {"item": ["b"]}}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"learnig_rate": 0.1}, "Did you mean 'learning_rate'"),
        ({"learning_rate": "text"}, "learning_rate='text': expected float"),
        ({"learning_rate": -1}, "out of bounds"),
        ({"learning_rate": float("nan")}, "out of bounds"),
        ({"epochs": True}, "epochs=True: expected int"),
        ({"epochs": 1.5}, "expected int"),
        ({"topk": [0]}, "topk"),
        ({"topk": 10**9}, "topk"),
        ({"metrics": ["Foo"]}, "no metric 'Foo'"),
        ({"valid_metric": "NDCG"}, "valid_metric"),
        ({"eval_args": {"spilt": {}}}, "eval_args: unknown ['spilt']"),
        ({"eval_args": {"split": {"TS": [0.8, 0.1, 0.1]}, "order": "RO"}}, "needs `order: TO`"),
        ({"eval_args": {"mode": "uni100"}}, "use eval_protocol=candidates"),
        ({"eval_args": {"mode": {"valid": "full", "test": "pop10"}}}, "use eval_protocol=candidates"),
        ({"threshold": {"rating": 3}}, "threshold"),
        ({"dataset": "nowhere"}, "no folder"),
        ({"dataset": "../toy"}, "a data set's name is"),
        ({"model": "LightGNC"}, "Did you mean 'LightGCN'"),
        ({"strategy": "Reweigh"}, "Did you mean 'Reweight'"),
        ({"save_dataset": True}, "stale pickle"),
        ({"dataset_save_path": "x.pth"}, "reading a pickle executes it"),
        ({"seed": -1}, "out of bounds"),
        ({"item_group_multi": "some"}, "choose one of"),
        ({"learner": "foo"}, "choose one of"),
        ({"user_inter_num_interval": "20"}, "not of the form"),
        ({"field_separator": ""}, "not of the form"),
        ({"metrics": [5]}, "no metric '5'"),
        ({"metrics": ["F1"]}, "needs eval_protocol=labeled"),
        ({"metrics": ["AUC", "Recall"]}, "needs eval_protocol=labeled"),
        ({"eval_protocol": "labeled", "metrics": ["NDCG"], "valid_metric": "AUC"}, "judges lists"),
        ({"eval_protocol": "labeled", "valid_metric": "AUC@5"}, "a metric of answers"),
        ({"eval_protocol": "../overall"}, "choose one of"),
        ({"yes_threshold": "half"}, "not of the form"),
        ({"clip_grad_norm": {"foo": 1}}, "max_norm and norm_type"),
        ({"nproc": 2}, "unknown key 'nproc'"),
    ],
)
def test_refusals_name_key_value_and_remedy(toy: Toy, given: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        Config(overrides={**toy("MF"), **given})
    assert says in str(caught.value)


def test_sequential_models_refuse_random_order(toy: Toy) -> None:
    with pytest.raises(UsageError, match="time order"):
        config(toy, "SASRec", eval_args={"order": "RO"})


def test_keys_of_other_models_are_set_aside_and_named(toy: Toy) -> None:
    made = config(toy, "Pop", ssl_tau=0.3, temperature=0.7, item_encoder="random")
    assert made.unused == ["ssl_tau", "temperature", "item_encoder"]
    assert not {"ssl_tau", "temperature", "item_encoder"} & set(made.final_config_dict)
    assert made.hash("d") == config(toy, "Pop").hash("d")


def test_valid_metric_is_always_computed(toy: Toy) -> None:
    made = config(toy, metrics=["Recall"], topk=[3], valid_metric="MRR@7")
    assert made["metrics"] == ["Recall", "MRR"]
    assert made["topk"] == [3, 7]


def test_values_follow_yaml_rules_and_are_never_evaluated(toy: Toy) -> None:
    """Trap 3: RecBole evaluates strings, with its local variables in reach."""
    assert yamls.value_of("1e-3", "k") == 0.001
    assert yamls.value_of("2024-01-01", "k") == "2024-01-01"
    assert yamls.value_of("[1, 2]", "k") == [1, 2]
    for text in ("config_dict", "key", "__import__('os').getcwd()", "1/0", "sys.exit()"):
        assert yamls.value_of(text, "k") == text
        assert config(toy, wandb_project=text)["wandb_project"] == text


def test_argv_of_the_surrounding_process_is_not_read(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 2."""
    monkeypatch.setattr(sys, "argv", ["pytest", "--seed=7", "--epochs=99", "--cov=x"])
    made = config(toy)
    assert (made["seed"], made["epochs"]) == (2020, 2)


def test_cuda_visible_devices_is_respected(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 7."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    config(toy, use_gpu=True, gpu_id="0")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    made = config(toy, use_gpu=False)
    assert made["device"].type == "cpu"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_a_finished_configuration_can_be_given_back(toy: Toy, tmp_path: Path) -> None:
    """Trap 6: RecBole would join the data set's name to data_path once more."""
    file = tmp_path / "c.yaml"
    file.write_text(yamls.dump(config(toy).effective))
    assert Config(config_files=[file])["data_path"] == config(toy)["data_path"]


def test_own_ml_100k_wins_over_the_packaged_one(toy: Toy, tmp_path: Path) -> None:
    packaged = Config("Pop", "ml-100k", overrides={"data_path": str(tmp_path)})
    assert "dataset_example" in packaged["data_path"]
    (tmp_path / "ml-100k").mkdir()
    assert Config("Pop", "ml-100k", overrides={"data_path": str(tmp_path)})["data_path"] == str(tmp_path / "ml-100k")


def test_host_lists_are_not_changed_for_the_whole_process(toy: Toy) -> None:
    from recbole.utils.argument_list import dataset_arguments

    before = list(dataset_arguments)
    Config("Pop", "ml-100k")
    assert dataset_arguments == before


def test_subclasses_of_host_models_keep_the_hosts_keys(toy: Toy) -> None:
    """Trap 4: a class without a yaml of its name gets None for every hyper-parameter."""
    made = config(toy, rec_loss="infonce", model="LightGCN")
    assert type(made.model_class) is type
    assert made.model_class.__name__ == "InfoNCELightGCN"
    assert (made["embedding_size"], made["n_layers"], made["temperature"]) == (64, 2, 0.1)


# --- the table and the yaml files match one to one


def rows() -> list[str]:
    return [*registry.MODELS, *registry.STRATEGIES]


def test_every_row_can_be_loaded_and_has_its_files() -> None:
    references = yamls.packaged("references.yaml")
    for row in (*registry.MODELS.values(), *registry.STRATEGIES.values()):
        assert registry.load(row.target)
        for target in row.variants.values():
            assert registry.load(target)
        assert row.cite in references, row.name
        if row.family != "strategy":
            assert (yamls.PROPERTIES / f"family/{row.family}.yaml").is_file()


@pytest.mark.parametrize(("folder", "known"), [("model", registry.MODELS), ("strategy", registry.STRATEGIES)])
def test_every_yaml_has_a_row(folder: str, known: Any) -> None:
    for file in (yamls.PROPERTIES / folder).glob("*.yaml"):
        assert file.stem in known, file


def test_every_key_of_ours_is_declared_once_with_its_meaning() -> None:
    for file in (file for file in sorted(yamls.PROPERTIES.glob("*/*.yaml")) if file.parent.name != "prompts"):
        for key in yamls.read_mapping(file):
            assert key in keys.declared() or key in _host_keys(), f"{file}: {key}"
    for key, rule in keys.declared().items():
        assert set(rule) <= {"type", "min", "max", "above", "below", "choices", "pattern", "hash", "help", *MARKS}, key
        assert set(rule.get("of", ())) <= set(table.COMMANDS), key


MARKS = {"base", "yardstick", "encoder", "of", "neutral", "judged", "alias"}


def _host_keys() -> set[str]:
    from recbole_fair.settings.config import _HOST_PROPERTIES

    files = [*_HOST_PROPERTIES.glob("*.yaml"), *_HOST_PROPERTIES.glob("*/*.yaml")]
    return {key for file in files for key in (yaml.load(file.read_text(), yamls.Loader) or {})}


def test_defaults_pass_their_own_checks() -> None:
    files = [file for file in yamls.PROPERTIES.glob("*/*.yaml") if file.parent.name not in ("search", "prompts")]
    for file in [*files, yamls.PROPERTIES / "overall.yaml"]:
        for key, value in yamls.read_mapping(file).items():
            if value is not None:
                keys.check_value(key, value, value)


def test_prefixes_resolve_longest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    short = registry.STRATEGIES["Reweight"]
    from dataclasses import replace

    longer = replace(short, name="Reweight-Alg2")
    monkeypatch.setattr(registry, "STRATEGIES", {"Reweight": short, "Reweight-Alg2": longer})
    assert registry.resolve("Reweight-Alg2AlphaRec").strategy is longer
    assert registry.resolve("ReweightBPR").model.name == "MF"
    with pytest.raises(UsageError, match="already names"):
        registry.resolve("ReweightMF", "Reweight-Alg2")


def test_importing_the_package_and_listing_models_loads_nothing_heavy() -> None:
    heavy = ["torch", "transformers", "peft", "ray", "recbole", "matplotlib", "sentence_transformers", "pandas"]
    code = (
        "import sys, recbole_fair; from recbole_fair.cli import main; main(['models']); main(['run', '--help']);"
        f"print(sorted(set({heavy}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    ours = registry.MODELS.keys() - {"Planted"}  # which other tests add in this process
    assert {name for name in ours if name not in done.stdout} == set()


def test_hash_ignores_the_seed_only() -> None:
    assert config_hash({"a": 1, "seed": 1}, "f") == config_hash({"a": 1, "seed": 2}, "f")
    assert config_hash({"a": 1}, "f") != config_hash({"a": 2}, "f")
