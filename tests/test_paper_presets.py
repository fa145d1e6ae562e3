"""The presets of properties/paper load over every row they are made for and say what the paper says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from recbole_fair.errors import UsageError
from recbole_fair.language.checkpoints import find
from recbole_fair.registry import MODELS
from recbole_fair.settings import keys, yamls
from recbole_fair.settings.config import Config

PAPER = yamls.PROPERTIES / "paper"
BACKBONES = {"qwen2.5-7b": ("Qwen/Qwen2.5-7B", 3584), "llama-2-7b": ("meta-llama/Llama-2-7b-hf", 4096)}


def preset(tmp_path: Path, model: str, dataset: str, *more: str, files: Sequence[str] = ()) -> Config:
    (tmp_path / dataset).mkdir(exist_ok=True)
    paths = [PAPER / f"{name}.yaml" for name in (files or (dataset, *more))]
    return Config(model, dataset, paths, {"data_path": str(tmp_path)})


@pytest.mark.parametrize(
    ("dataset", "temperature"), [("amazon-books", 0.15), ("amazon-movies", 0.15), ("amazon-games", 0.2)]
)
@pytest.mark.parametrize(
    "model", ["AlphaRec", "BiFairAlphaRec", "BiFair-Alg2AlphaRec", "SeparateAlphaRec", "BiFairLinear"]
)
def test_settings_are_those_of_section_4_3(tmp_path: Path, model: str, dataset: str, temperature: float) -> None:
    config = preset(tmp_path, model, dataset)
    assert config["temperature"] == temperature
    assert (config["negatives"], config["train_batch_size"], config["epochs"]) == (256, 4096, 500)
    assert (config["stopping_step"], config["valid_metric"], config["topk"]) == (20, "Recall@20", [20])
    assert config["eval_args"]["split"] == {"RS": [0.4, 0.3, 0.3]} and config["eval_args"]["order"] == "RO"
    assert config["drop_unseen"] is True
    assert config["user_inter_num_interval"] == "[20,inf)" and config["val_interval"] == {"rating": "[3,inf)"}
    assert config["item_encoder"] == "Salesforce/SFR-Embedding-Mistral"
    assert model == "BiFairLinear" or round(config["hidden_size_factor"] * 4096) == 1152


@pytest.mark.parametrize("backbone", BACKBONES)
def test_backbones_change_the_encoder_and_keep_the_size(tmp_path: Path, backbone: str) -> None:
    config = preset(tmp_path, "BiFairAlphaRec", "amazon-games", backbone)
    name, width = BACKBONES[backbone]
    assert config["item_encoder"] == name and config["temperature"] == 0.2
    hidden = round(config["hidden_size_factor"] * width)
    assert hidden * (width + 64) == pytest.approx(1152 * (4096 + 64), rel=1e-3)


UP5_MODELS = {
    "up5-t5-small": "google-t5/t5-small",
    "up5-t5-base": "google-t5/t5-base",
    "up5-openllama-3b": "openlm-research/open_llama_3b",
}


@pytest.mark.parametrize("preset_name", UP5_MODELS)
@pytest.mark.parametrize("model", ["P5", "CFP", "CFP-Mixture", "Erase"])
def test_up5_presets_load_over_its_rows_and_lie_in_the_printed_ranges(preset_name: str, model: str) -> None:
    config = Config(model, "ml-100k", [PAPER / f"{preset_name}.yaml"], {"sensitive_attribute": ["gender"]})
    assert config["base_llm"] == UP5_MODELS[preset_name]
    assert config["item_token"] is False and config["train_batch_size"] == 16
    if model == "CFP":
        assert config["adversary_weight"] in (1, 5, 10, 100) and config["prefix_length"] in (5, 15, 30)
        assert config["joint_steps"] == config["recommend_steps"] == config["discriminate_steps"]
        assert config["joint_steps"] in (10, 20) and config["discriminate_every"] == 20


@pytest.mark.parametrize("path", sorted(PAPER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_key_of_a_preset_exists_and_may_have_its_value(path: Path) -> None:
    values = yamls.read_mapping(path)
    for key in values:
        keys.check_name(key, {"hidden_size_factor", "n_layers"})
    for key, value in values.items():
        keys.check_value(key, value, None)


def family(name: str) -> list[str]:
    return [row.name for row in MODELS.values() if row.family == name]


@pytest.mark.parametrize("row", family("yesno"))
def test_the_yes_no_rows_take_section_5_1(row: str, tmp_path: Path) -> None:
    config = preset(tmp_path, row, "ml-1m", files=["cl-moe-qwen2-7b"])
    assert config.unused == []
    assert config["base_llm"] == "Qwen/Qwen2-7B-Instruct" and config["llm_dtype"] == "bfloat16"
    assert (config["lora_r"], config["lora_alpha"], config["lora_dropout"], config["num_experts"]) == (16, 32, 0.05, 3)
    assert (config["curriculum_lambda"], config["curriculum_delta"], config["epochs"]) == (0.25, 0.8, 5)
    assert (config["history"], config["history_length"], config["targets_per_user"]) == ("likes_dislikes", 10, 1)
    assert config["eval_args"]["split"] == {"US": [0.7, 0.1, 0.2]} and config["likes"] == "(3,inf)"
    assert config["learning_rate"] == 0.0003


def test_baichuan_is_named_and_refused(tmp_path: Path) -> None:
    config = preset(tmp_path, "CL-MoE", "ml-1m", files=["cl-moe-qwen2-7b", "cl-moe-baichuan2-13b"])
    with pytest.raises(UsageError, match=r"Baichuan2-13B-Chat.*no class for Baichuan.*never run"):
        find(config["base_llm"])


@pytest.mark.parametrize(
    ("more", "name", "kind"),
    [
        ([], "t5-base", "seq2seq"),
        (["mos-openllama-3b"], "openlm-research/open_llama_3b", "causal"),
        (["mos-llama-2-7b"], "meta-llama/Llama-2-7b-hf", "causal"),
    ],
)
@pytest.mark.parametrize("row", family("mos"))
def test_the_rows_of_mos_take_sections_4_1(row: str, more: list[str], name: str, kind: str, tmp_path: Path) -> None:
    config = preset(tmp_path, row, "book-crossing", files=["mos-t5-base", *more])
    assert config.unused == []
    assert (config["base_llm"], config["backbone"]) == (name, kind)
    assert config["eval_args"]["split"] == {"WS": [8, 1, 1]} and config["windows"] == 10_000
    assert (config["window"], config["history_length"], config["history_until"]) == (11, 10, "target")
    assert (config["sf_z"], config["num_experts"], config["likes"]) == (3.0, 4, "[5,inf)")


@pytest.mark.parametrize(("row", "rate"), [("MoS", 0.5), ("P-Tuning", 0.5), ("LoRA", 0.005), ("TALLRec", 0.005)])
def test_learning_rates_are_those_of_section_4_1_4(row: str, rate: float, tmp_path: Path) -> None:
    config = preset(tmp_path, row, "book-crossing", files=["mos-t5-base"])
    assert (config["learner"], config["learning_rate"]) == ("adafactor", rate)
