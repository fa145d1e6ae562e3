"""The presets of properties/paper load over every row they are made for and say what the paper says."""

from __future__ import annotations

from pathlib import Path

import pytest

from recbole_fair.settings import yamls
from recbole_fair.settings.config import Config

PAPER = yamls.PROPERTIES / "paper"
BACKBONES = {"qwen2.5-7b": ("Qwen/Qwen2.5-7B", 3584), "llama-2-7b": ("meta-llama/Llama-2-7b-hf", 4096)}


def preset(tmp_path: Path, model: str, dataset: str, *more: str) -> Config:
    (tmp_path / dataset).mkdir(exist_ok=True)
    files = [PAPER / f"{name}.yaml" for name in (dataset, *more)]
    return Config(model, dataset, files, {"data_path": str(tmp_path)})


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
