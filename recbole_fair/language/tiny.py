"""Tiny language models with random weights: folders like any other, small enough to train from scratch on a CPU."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recbole_fair import storage
from recbole_fair.errors import UsageError
from recbole_fair.language.checkpoints import ModelFolder, find
from recbole_fair.language.loading import bars_where_wanted

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

TinyKind = Literal["causal", "seq2seq"]
PAD, EOS = "<pad>", "<eos>"
_BYTES = 256  # every text can be spelt in them, so no token is unknown


def write(
    folder: Path,
    kind: TinyKind,
    texts: Iterable[str],
    *,
    seed: int,
    width: int = 64,
    layers: int = 2,
    heads: int = 2,
    vocabulary: int = 2000,
    positions: int = 2048,
    extra_tokens: Sequence[str] = (),
    names: Sequence[str] = (),
) -> ModelFolder:
    """Write a Qwen2 ("causal") or T5 ("seq2seq") with seeded random weights, and a tokenizer trained on the texts.

    The same inputs give the same bytes. `vocabulary` is the most tokens there can be, bytes and special tokens
    included. `extra_tokens` are special: no text is read as one of them, they are put into prompts by their ids. Each
    of `names` is one token wherever a text holds it, beyond the vocabulary.
    """
    special = [PAD, EOS, *extra_tokens]
    _check(folder, kind, special, width, heads, vocabulary)
    tokenizer = _tokenizer(kind, texts, special, vocabulary, positions)
    tokenizer.add_tokens(list(names))
    model = _model(kind, _sizes(len(tokenizer), width, layers, heads, positions), seed)
    with bars_where_wanted(), storage.whole_folder(folder) as partial:
        tokenizer.save_pretrained(partial)
        model.save_pretrained(partial)
    return find(str(folder))


def cached(cache: Path, kind: TinyKind, texts: Iterable[str], **options: Any) -> ModelFolder:
    """The tiny model that `write` makes of these texts and options, from the cache where it was made before."""
    content = json.dumps([kind, list(texts), sorted(options.items())]).encode()
    folder = cache / "tiny" / sha256(content).hexdigest()[:16]
    if not (folder / "config.json").is_file():
        return write(folder, kind, json.loads(content)[1], **options)
    return find(str(folder))


def _check(folder: Path, kind: str, special: Sequence[str], width: int, heads: int, vocabulary: int) -> None:
    if kind not in ("causal", "seq2seq"):
        raise UsageError(f"kind={kind!r}: a tiny model is causal or seq2seq")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: exists already; a tiny model is written into a new folder")
    if width % (2 * heads):
        raise UsageError(f"width={width}, heads={heads}: the width must be a multiple of twice the heads")
    if "" in special or len(set(special)) < len(special):
        raise UsageError(f"extra_tokens: must be distinct, not empty, and neither {PAD!r} nor {EOS!r}")
    if vocabulary < _BYTES + len(special):
        raise UsageError(
            f"vocabulary={vocabulary}: must be at least {_BYTES + len(special)}, for {_BYTES} bytes and "
            f"{len(special)} special tokens"
        )


def _tokenizer(
    kind: TinyKind, texts: Iterable[str], special: Sequence[str], vocabulary: int, positions: int
) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    words = _rules(kind)
    _train(words, texts, special, vocabulary)
    if kind == "seq2seq":  # as T5's own tokenizer does
        from tokenizers.processors import TemplateProcessing

        words.post_processor = TemplateProcessing(single=f"$A {EOS}", special_tokens=[(EOS, special.index(EOS))])
    wrapper: Any = PreTrainedTokenizerFast  # untyped in some releases
    return wrapper(
        tokenizer_object=words,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=EOS,  # never needed; unnamed, transformers would add one behind the model's vocabulary
        model_max_length=positions,
        padding_side="right",
    )


def _rules(kind: TinyKind) -> Tokenizer:
    """An empty byte-level BPE. For Qwen2, transformers goes by that model's own rules whatever the file says."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

    words = Tokenizer(models.BPE())
    words.decoder = decoders.ByteLevel()
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if kind == "causal":
        words.normalizer = normalizers.NFC()
        pieces = pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated", invert=False)
        to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        words.pre_tokenizer = pre_tokenizers.Sequence([pieces, to_bytes])
    return words


def _train(words: Tokenizer, texts: Iterable[str], special: Sequence[str], vocabulary: int) -> None:
    """Learn the merges; the special tokens get the first ids, in their order."""
    from tokenizers import pre_tokenizers, trainers

    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(special),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    words.train_from_iterator(texts, trainer)
    if words.get_vocab_size() <= _BYTES + len(special):
        raise UsageError("texts: hold no two characters in a row from which a tokenizer could learn a token")


def _sizes(tokens: int, width: int, layers: int, heads: int, positions: int) -> dict[str, Any]:
    return {"tokens": tokens, "width": width, "layers": layers, "heads": heads, "positions": positions}


def _model(kind: TinyKind, sizes: dict[str, Any], seed: int) -> PreTrainedModel:
    """The model in float32, with the caller's random state as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _qwen2(**sizes) if kind == "causal" else _t5(**sizes)


def _qwen2(tokens: int, width: int, layers: int, heads: int, positions: int) -> PreTrainedModel:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=tokens,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        pad_token_id=0,
        eos_token_id=1,
    )
    return Qwen2ForCausalLM(config)


def _t5(tokens: int, width: int, layers: int, heads: int, positions: int) -> PreTrainedModel:
    from transformers import T5Config, T5ForConditionalGeneration

    settings: dict[str, Any] = {
        "vocab_size": tokens,
        "d_model": width,
        "d_kv": width // heads,
        "d_ff": 4 * width,
        "num_layers": layers,
        "num_heads": heads,
        "n_positions": positions,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
    }
    return T5ForConditionalGeneration(T5Config(**settings))
