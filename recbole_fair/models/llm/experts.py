"""The mixture of LoRA experts on the linear layers of the FFN (CL-MoE, Eq. 10-12).

    f(x) = W_0 x + sum over j of R(x)_j E_j(x),   R(x) = softmax(x W_R),   E_j(x) = alpha / r * B_j A_j x

N experts of rank r are one LoRA of rank N r with a gate between A and B: the rows of A and the columns of B belong to
the experts in turn, and the gate multiplies the r numbers of expert j by R(x)_j. So there is one product with A and one
with B however many experts there are, and PEFT trains, saves and loads it as the LoRA that it is.

The router reads the layer's input, token by token, as printed (`router: token`). Section 4.2 also says that "the
activation of experts only depends on the sensitive attributes involved"; `router: attribute` is that reading: the
router's input is then one indicator an attribute, 1 where the prompt names it, the same at all tokens of a prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from recbole_fair.errors import UsageError
from recbole_fair.language.adapters import LoraLinear, lora, only_layers_of

if TYPE_CHECKING:
    from peft import PeftModel

FFN = ("gate_proj", "up_proj", "down_proj")


class Involved:
    """Which sensitive attributes each prompt of the batch names: [P, attributes], read by attribute routers.

    It stands for the time of a forward pass only, so a pass that was not told is refused instead of reading those
    of the pass before.
    """

    def __init__(self) -> None:
        self._indicators: Tensor | None = None

    @contextmanager
    def using(self, indicators: Tensor | None) -> Iterator[None]:
        """Within this block the prompts name the attributes where `indicators` [P, attributes] is 1."""
        before, self._indicators = self._indicators, indicators
        try:
            yield
        finally:
            self._indicators = before

    def indicators(self, prompts: int) -> Tensor:
        """Return those of the batch in work, which must have this many prompts."""
        if self._indicators is None:
            raise RuntimeError("router: attribute needs Involved.using(indicators) around each forward pass")
        if len(self._indicators) != prompts:
            raise RuntimeError(f"{len(self._indicators)} rows of indicators for a batch of {prompts} prompts")
        return self._indicators

    def again_in_backward(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Give a checkpointed block's second forward pass, inside backward, the indicators of its first."""
        return nullcontext(), self.using(self._indicators)


class ExpertLinear(LoraLinear):
    """A linear layer with N gated low-rank experts beside it."""

    # PEFT moves, freezes and switches what stands under these names.
    adapter_layer_names = (*LoraLinear.adapter_layer_names, "lora_router")

    def __init__(
        self, *args: Any, experts: int, attributes: int | None = None, involved: Involved | None = None, **kwargs: Any
    ) -> None:
        # Plain values survive the nn.Module.__init__ that runs inside PEFT's; modules would not.
        self.experts, self.attributes, self.involved = experts, attributes, involved
        super().__init__(*args, **kwargs)

    def update_layer(self, adapter_name: str, r: int, *args: Any, **kwargs: Any) -> None:
        """Make the adapter's router, then A and B as PEFT does: PEFT moves and freezes what it finds at the end."""
        if not hasattr(self, "lora_router"):
            self.lora_router = nn.ModuleDict()
        width: Any = self.in_features if self.attributes is None else self.attributes
        self.lora_router[adapter_name] = nn.Linear(width, self.experts, bias=False)
        super().update_layer(adapter_name, r, *args, **kwargs)

    def gate(self, x: Tensor, adapter: str = "default") -> Tensor:
        """Eq. (11): one weight an expert, [P, T, N] for tokens, [P, 1, N] for attributes; they sum to 1."""
        router: Any = self.lora_router[adapter]
        if self.involved is not None:
            x = self.involved.indicators(len(x)).unsqueeze(1)
        return torch.softmax(router(x.to(router.weight)), dim=-1)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Eq. (10)."""
        if "adapter_names" in kwargs:
            raise UsageError("a mixture of experts takes one adapter for the whole batch, not adapter_names")
        result: Tensor = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters:
            return result
        dtype = result.dtype
        for adapter in self.active_adapters:
            if adapter in self.lora_A:
                result = result + self._mixture(x, adapter)
        return result.to(dtype)

    def _mixture(self, x: Tensor, adapter: str) -> Tensor:
        down: Any = self.lora_A[adapter]
        up: Any = self.lora_B[adapter]
        x = self._cast_input_dtype(x, down.weight.dtype)
        inner = down(self.lora_dropout[adapter](x)).unflatten(-1, (self.experts, -1))
        gated = inner * self.gate(x, adapter).unsqueeze(-1)
        mixed: Tensor = up(gated.flatten(-2)) * self.scaling[adapter]
        return mixed

    def merge(self, *args: Any, **kwargs: Any) -> None:
        """Refuse: the update depends on the input, so no weight equals it."""
        raise UsageError("a mixture of experts cannot be merged into the base: its update depends on the input")

    def get_delta_weight(self, adapter: str) -> Tensor:
        """Refuse for the same reason."""
        raise UsageError("a mixture of experts has no delta weight: its update depends on the input")

    def supports_lora_conversion(self, adapter_name: str = "default") -> bool:
        """Say no: a plain LoRA cannot express it."""
        return False


def mixture_of_experts(
    model: nn.Module,
    *,
    experts: int,
    rank: int,
    alpha: int,
    dropout: float = 0.0,
    targets: Sequence[str] = FFN,
    router: Literal["token", "attribute"] = "token",
    attributes: int = 0,
) -> tuple[PeftModel, Involved | None]:
    """Put N = `experts` LoRA experts of this rank on the FFN's linear layers; the scale is alpha / rank.

    With `router: attribute` the second value is told, around each forward pass, which of the `attributes` sensitive
    attributes each prompt names.
    """
    if router == "attribute" and attributes < 1:
        raise UsageError("router: attribute needs sensitive attributes; name them, or take router: token")
    involved = Involved() if router == "attribute" else None
    width = attributes if involved is not None else None
    layer = partial(ExpertLinear, experts=experts, attributes=width, involved=involved)
    adapted = lora(
        model,
        rank=experts * rank,
        alpha=experts * alpha,  # a LoRA of rank N r scales by its alpha over N r
        dropout=dropout,
        targets=targets,
        layer=layer,
    )
    only_layers_of(adapted, ExpertLinear)
    return adapted, involved


def checkpoint_activations(model: PeftModel, involved: Involved | None = None) -> None:
    """Store the input of each block alone and compute the block again in backward, with the same indicators."""
    options: dict[str, Any] = {"use_reentrant": False}
    if involved is not None:
        options["context_fn"] = involved.again_in_backward
    base: Any = model.get_base_model()
    base.activation_checkpointing_enable(options)
