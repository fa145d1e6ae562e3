"""Text encoders: item texts in, one vector a text out.

All stand behind the small protocol `Encoder`, and none loads its model before `encode` is called: when the
cache holds every vector, a run needs the encoder's identity and width, not its weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from recbole_fair.errors import UsageError
from recbole_fair.language.checkpoints import ModelFolder, find
from recbole_fair.language.sentence_modules import module_kind
from recbole_fair.storage import RECORD_BYTES, read_text

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    Vectors = NDArray[np.float32]  # [N, D]

Pooling = Literal["mean", "last"]


class Encoder(Protocol):
    """What the cache and the recommenders need of an encoder."""

    @property
    def identity(self) -> str:
        """Everything that changes a vector, the text aside."""

    @property
    def source(self) -> str:
        """For the log: which model is really used, and where it came from."""

    @property
    def width(self) -> int:
        """D. An upper bound for an encoder that is fitted to its texts."""

    @property
    def per_text(self) -> bool:
        """False where a vector depends on all texts, so that vectors of two corpora must not be mixed."""

    def encode(self, texts: Sequence[str], progress: bool = False) -> Vectors:
        """One float32 row a text, [N, D]."""


class SentenceEncoder:
    """A sentence-transformers model, with its own pooling unless another is asked for."""

    per_text = True

    def __init__(self, model: ModelFolder, *, pooling: Pooling | None, device: str) -> None:
        self.source = f"{model.name} ({model.source})"
        self.width = _sentence_width(model, pooling)
        self.identity = _identity(model, device, pooling=pooling or "own", max_length="own")
        self._folder, self._device, self._pooling = model, device, pooling

    def encode(self, texts: Sequence[str], progress: bool = False) -> Vectors:
        """Batches by length and masks padding, as sentence-transformers does itself."""
        vectors = self._model.encode(list(texts), show_progress_bar=progress, convert_to_numpy=True)
        return np.asarray(vectors, dtype=np.float32).reshape(len(texts), self.width)

    @cached_property
    def _model(self) -> SentenceTransformer:
        model = self._folder.sentence_transformer(device=self._device, dtype=_dtype(self._device))
        if self._pooling is not None:
            _replace_pooling(model, self._pooling, _token_width(self._folder))
        return model


class LanguageModelEncoder:
    """Any language model as an encoder: the last layer's states pooled over a text's own tokens.

    Texts are sorted by length and cut into batches of `batch_tokens` tokens, padding included.
    Padding stands on the right, where causal attention never sees it and positions count from the first token.
    """

    per_text = True

    def __init__(
        self,
        model: ModelFolder,
        *,
        pooling: Pooling = "mean",
        device: str = "cpu",
        max_length: int = 512,
        batch_tokens: int = 4096,
    ) -> None:
        config = model.config().get_text_config()
        if config.is_encoder_decoder:
            raise UsageError(f"item_encoder={model.name!r}: encoder-decoders are not supported; use a causal model")
        self.source = f"{model.name} ({model.source})"
        self.width = int(config.hidden_size)
        self._max_length = min(max_length, getattr(config, "max_position_embeddings", None) or max_length)
        self._folder, self._pooling, self._device = model, pooling, device
        self._batch_tokens = batch_tokens
        self.identity = _identity(model, device, pooling=pooling, max_length=self._max_length)

    def encode(self, texts: Sequence[str], progress: bool = False) -> Vectors:
        """Pooled last hidden states; longest texts first, so that too large a batch fails at once."""
        from tqdm.auto import tqdm

        rows = self._token_rows(texts)
        vectors = np.empty((len(rows), self.width), dtype=np.float32)
        with tqdm(total=len(rows), desc="Encode", disable=not progress) as bar:
            for batch in _batches([len(row) for row in rows], self._batch_tokens):
                vectors[batch] = self._forward([rows[position] for position in batch])
                bar.update(len(batch))
        return vectors

    def _token_rows(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids a text; a text without any (the empty one of some tokenizers) gets a single marker."""
        if not texts:
            return []
        tokenizer = self._tokenizer
        tokens = tokenizer(list(texts), truncation=True, max_length=self._max_length, padding=False)
        markers = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
        marker = next((token for token in markers if token is not None), 0)
        return [list(row) or [marker] for row in tokens["input_ids"]]

    def _forward(self, rows: list[list[int]]) -> Vectors:
        import torch
        from torch.nn.utils.rnn import pad_sequence

        with torch.inference_mode():
            tokens = pad_sequence([torch.tensor(row) for row in rows], batch_first=True).to(self._device)  # [B, T]
            lengths = torch.tensor([len(row) for row in rows], device=self._device)  # [B]
            mask = (torch.arange(tokens.shape[1], device=self._device) < lengths[:, None]).long()  # [B, T]
            states = self._model(input_ids=tokens, attention_mask=mask).last_hidden_state.float()  # [B, T, D]
            pooled: Vectors = _pool(states, mask, self._pooling).cpu().numpy()
        return pooled

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        return self._folder.tokenizer(parse_special=True)  # what vectors in the caches were made with

    @cached_property
    def _model(self) -> PreTrainedModel:
        return self._folder.model("backbone", device=self._device, dtype=_dtype(self._device))


class TfidfEncoder:
    """Words without a language model: TF-IDF reduced by a truncated SVD; a control row."""

    per_text = False

    def __init__(self, width: int, seed: int) -> None:
        self.width = width
        self.source = "TF-IDF and truncated SVD of the item texts"
        self.identity = f"tfidf-svd|width={width}|seed={seed}"
        self._seed = seed

    def encode(self, texts: Sequence[str], progress: bool = False) -> Vectors:
        """At most `width` columns: there are no more directions than words or texts. Too quick for a bar."""
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        try:
            counts = TfidfVectorizer(dtype=np.float32).fit_transform(texts)
        except ValueError as error:
            raise UsageError("item_encoder='tfidf-svd': the item texts hold no words; check item_text") from error
        columns = min(self.width, *counts.shape)
        if counts.shape[1] == 1:  # nothing to reduce, and the SVD refuses a single column
            return np.asarray(counts.todense(), dtype=np.float32)
        svd = TruncatedSVD(columns, random_state=self._seed)
        with np.errstate(invalid="ignore"):  # the explained share of one text's variance, 0 / 0, is not read
            return np.asarray(svd.fit_transform(counts), dtype=np.float32)


class RandomEncoder:
    """Normal vectors that know only whether two texts are the same; the control for what text adds."""

    per_text = True

    def __init__(self, width: int, seed: int) -> None:
        self.width = width
        self.source = "random vectors"
        self.identity = f"random|width={width}|seed={seed}"

    def encode(self, texts: Sequence[str], progress: bool = False) -> Vectors:
        """Each row has its own generator, so that it depends on neither the other texts nor their order."""
        vectors = np.empty((len(texts), self.width), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            seed = hashlib.sha256(f"{self.identity}|{text}".encode("utf-8", "surrogatepass")).digest()
            np.random.default_rng(int.from_bytes(seed)).standard_normal(out=row, dtype=np.float32)
        return vectors


def make_encoder(
    name: str,
    *,
    pooling: str | None = None,
    revision: str | None = None,
    device: str = "cpu",
    seed: int = 0,
    width: int = 384,
    cache: Path | None = None,
) -> Encoder:
    """The encoder behind the key `item_encoder`.

    `tfidf-svd` and `random` read `seed` and `width`; models read the rest. A folder or repository with a
    modules.json is a sentence-transformers model, any other a language model, by default pooled by the mean.
    """
    if name == "tfidf-svd":
        return TfidfEncoder(width, seed)
    if name == "random":
        return RandomEncoder(width, seed)
    if pooling not in (None, "mean", "last"):
        raise UsageError(f"encoder_pooling={pooling!r}: choose mean or last")
    chosen: Any = pooling
    model = find(name, revision, cache=cache)
    if model.modules:
        return SentenceEncoder(model, pooling=chosen, device=device)
    return LanguageModelEncoder(model, pooling=chosen or "mean", device=device)


def _dtype(device: str) -> str:
    """Half precision is slow on most processors and not even always implemented."""
    return "float32" if device == "cpu" else "auto"


def _identity(model: ModelFolder, device: str, **settings: object) -> str:
    parts = [model.name, model.version, *(f"{key}={value}" for key, value in settings.items())]
    return "|".join([*parts, f"dtype={_dtype(device)}"])


def _sentence_width(model: ModelFolder, pooling: Pooling | None) -> int:
    """The width that the configuration files state: the last projection's, else the pooling's."""
    projections = [stated["out_features"] for stated in _stated(model, "Dense") if "out_features" in stated]
    if projections:
        return _positive(projections[-1], model)
    return _token_width(model) * (1 if pooling else _ways_of_pooling(model))


def _token_width(model: ModelFolder) -> int:
    widths = [
        stated.get("embedding_dimension") or stated.get("word_embedding_dimension")
        for stated in _stated(model, "Pooling")
    ]
    return _positive(widths[-1] if widths else None, model)


def _ways_of_pooling(model: ModelFolder) -> int:
    """A model that pools in several ways at once concatenates the results."""
    stated = _stated(model, "Pooling")[-1]
    older = [key for key, chosen in stated.items() if key.startswith("pooling_mode_") and chosen is True]
    modes = stated.get("pooling_mode", older)
    return 1 if isinstance(modes, str) else max(1, len(modes))


def _positive(width: object, model: ModelFolder) -> int:
    if not isinstance(width, int) or width < 1:
        raise UsageError(f"item_encoder={model.name!r}: {model.folder} states no width of its vectors")
    return width


def _stated(model: ModelFolder, kind: str) -> list[dict[str, Any]]:
    """The configuration files of all modules of one kind, in order."""
    places = [module["path"] for module in model.modules if module_kind(module) == kind]
    return [_read_json(model.folder / place / "config.json") for place in places]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(path, RECORD_BYTES))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: cannot be read as JSON ({error}); fetch the model again") from error
    return content if isinstance(content, dict) else {}


def _replace_pooling(model: SentenceTransformer, pooling: Pooling, width: int) -> None:
    """Swap the pooling module. Its class has moved between releases, but the instance knows where it is."""
    for position, module in enumerate(model):
        if type(module).__name__ == "Pooling":
            kind: Any = type(module)
            model[position] = kind(width, "lasttoken" if pooling == "last" else "mean")


def _batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Positions in batches of similar lengths, longest first, each within the budget or a single text."""
    batch: list[int] = []
    for position in sorted(range(len(lengths)), key=lambda n: (-lengths[n], n)):
        # The first of a batch is its longest, to which the others are padded.
        if batch and lengths[batch[0]] * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch


def _pool(states: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Pool [B, T, D] to [B, D] over the positions where `mask` [B, T] is 1; padding stands on the right."""
    if pooling == "last":
        last = (mask.sum(dim=1) - 1)[:, None, None].expand(-1, 1, states.shape[2])  # [B, 1, D]
        return states.gather(1, last)[:, 0]
    weights = mask[:, :, None].to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)
