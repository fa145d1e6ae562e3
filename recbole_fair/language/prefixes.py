"""Key/value prefixes (Li and Liang 2021) for every attention of a model: the one door to its attention registry.

An attention with a prefix (K_p, V_p) of P positions answers a query q with

    softmax([q K_p', q K' + bias]) [V_p; V]

so nothing is added to the hidden states' positions: T5's relative position bias of the prefix is 0, rotary positions
of the real keys do not move, and a cache holds real keys only. PEFT's prefix tuning reaches T5's decoder alone.

Transformers leaves the mask out where SDPA can do without one. With longer keys it cannot: SDPA would then align its
causal triangle to the first (prefix) keys and cut real keys off. So our mask function never leaves it out, and our
attention function refuses a prefix without a mask.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, cat, nn
from torch.nn import functional

from recbole_fair.errors import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "recbole_fair_prefixes"  # in transformers' two registries
_PREFIX = "attention_prefix"  # the attribute of an attention that holds its (keys, values)

# By part (encoder, decoder, cross): [layers, 2, heads, P, D] for all rows of a batch, [layers, 2, B, heads, P, D] for
# each its own. Index 0 of the second axis are keys, 1 values.
KeyValues = Mapping[str, Tensor]


@dataclass(frozen=True)
class Shape:
    """Key/value shape of one part's attentions."""

    layers: int
    heads: int
    width: int

    @property
    def numbers(self) -> int:
        """Numbers in one prefix position: keys and values of all layers."""
        return self.layers * 2 * self.heads * self.width

    def fits(self, key_values: Tensor) -> bool:
        """Whether a prefix [layers, 2, ..., heads, P, width] is of this shape, whatever its length."""
        sizes = key_values.shape
        return (*sizes[:2], sizes[-3], sizes[-1]) == (self.layers, 2, self.heads, self.width)


class Prefixes:
    """The attentions of a T5 or of a decoder-only model, by part, to which prefixes can be attached.

    with Prefixes(model).attached({"encoder": keys_and_values}):
        model(...)  # or model.generate(...)

    Outside the block the model is what it was. Inside, it may be trained, also with gradient checkpointing: then
    `backward` belongs inside the block too, since it runs the layers once more.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.attentions = _attentions(model)
        config = model.config
        heads = getattr(config, "num_key_value_heads", config.num_attention_heads)
        width = config.d_kv if config.is_encoder_decoder else _head_width(config)
        self.shapes = {part: Shape(len(layers), heads, width) for part, layers in self.attentions.items()}

    @contextmanager
    def attached(self, key_values: KeyValues) -> Iterator[None]:
        """Put prefixes before the keys and values of the parts that are named; a block inside replaces them."""
        self._check(key_values)
        _register()
        before = {module: getattr(module, _PREFIX, None) for module in self._modules()}
        implementation = self.model.config._attn_implementation
        self.model.set_attn_implementation(NAME)
        try:
            for part, layers in self.attentions.items():
                for number, attention in enumerate(layers):
                    setattr(attention, _PREFIX, key_values[part][number].unbind(0) if part in key_values else None)
            yield
        finally:
            for module, prefix in before.items():
                setattr(module, _PREFIX, prefix)
            self.model.set_attn_implementation(implementation)

    def _modules(self) -> Iterator[nn.Module]:
        return (module for layers in self.attentions.values() for module in layers)

    def _check(self, key_values: KeyValues) -> None:
        for part, tensor in key_values.items():
            if part not in self.shapes:
                raise UsageError(f"prefix of {part!r}: this model has attentions in: {', '.join(self.shapes)}")
            shape = self.shapes[part]
            if tensor.dim() not in {5, 6} or not shape.fits(tensor):
                raise UsageError(
                    f"prefix of {part!r} has the shape {list(tensor.shape)}; this model's is [{shape.layers}, 2,"
                    f" {shape.heads}, length, {shape.width}]: it was trained on another base"
                )
        if any(_checkpoints_reentrantly(module) for module in self.model.modules()):
            raise UsageError(
                "gradient checkpointing with use_reentrant=True gives prefixes no gradient; remedy:"
                ' gradient_checkpointing_enable({"use_reentrant": False})'
            )


def joined(first: KeyValues, second: KeyValues) -> KeyValues:
    """Two prefixes one behind the other, in every part that either has."""
    parts = dict.fromkeys([*first, *second])
    return {part: cat([prefix[part] for prefix in (first, second) if part in prefix], dim=-2) for part in parts}


def _head_width(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _attentions(model: PreTrainedModel) -> dict[str, list[nn.Module]]:
    """Attention modules by part, in the order of layers."""
    parts: dict[str, list[nn.Module]] = {}
    for name, module in model.named_modules():
        if hasattr(module, "layer_idx") and hasattr(module, "is_causal"):
            parts.setdefault(_part(name), []).append(module)
    first = next((layers[0] for layers in parts.values()), model)
    # An attention that does not ask the registry would ignore its prefix without a word.
    if not hasattr(sys.modules[type(first).__module__], "ALL_ATTENTION_FUNCTIONS"):
        raise UsageError(f"{type(model).__name__} takes no prefixes in this version of transformers; T5 needs >= 5.0")
    return parts


def _part(name: str) -> str:
    if "EncDecAttention" in name:
        return "cross"
    return "encoder" if "encoder" in name.split(".") else "decoder"


def _checkpoints_reentrantly(module: nn.Module) -> bool:
    if not (getattr(module, "gradient_checkpointing", False) and module.training):
        return False
    function = getattr(module, "_gradient_checkpointing_func", None)
    return isinstance(function, partial) and function.keywords.get("use_reentrant", True) is not False


@cache
def _register() -> None:
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, _mask)


def _mask(*values: Any, **named: Any) -> Tensor | None:
    """The whole boolean mask [B, 1, Q, K], always."""
    from transformers.masking_utils import sdpa_mask

    return sdpa_mask(*values, **{**named, "allow_is_causal_skip": False, "allow_is_bidirectional_skip": False})


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **named: Any
) -> tuple[Tensor, Tensor | None]:
    """SDPA over the module's prefix and its own keys: mask and position bias grow on the left."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    prefix = getattr(module, _PREFIX, None)
    if prefix is not None:
        if mask is None:
            raise RuntimeError("an attention with a prefix got no mask: SDPA would cut off real keys")
        length = prefix[0].shape[-2]
        key, value = (cat([_rows(part, len(key)), own], dim=2) for part, own in zip(prefix, (key, value), strict=True))
        mask = functional.pad(mask, (length, 0), value=0.0 if mask.is_floating_point() else 1.0)
        if named.get("position_bias") is not None:
            named["position_bias"] = functional.pad(named["position_bias"], (length, 0))
    return sdpa_attention_forward(module, query, key, value, mask, **named)


def _rows(prefix: Tensor, rows: int) -> Tensor:
    """[heads, P, D] for every row, or [B, heads, P, D] repeated for the beams of each row."""
    if prefix.dim() == 3:
        return prefix.expand(rows, -1, -1, -1)
    if rows % len(prefix):
        raise ValueError(f"prefixes of {len(prefix)} rows meet a batch of {rows}")
    return prefix.repeat_interleave(rows // len(prefix), dim=0)
