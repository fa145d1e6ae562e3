"""MoS: a mixture of stereotype experts that writes the soft prompt of a frozen recommender (MoS, Eq. 5-9 and 13).

B prompts, G stereotype groups, N experts of k virtual tokens each, d numbers an embedding. Everything here is computed
from embeddings and is trained in float32; what is done with the soft prompt stands in virtual_tokens.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_fair.errors import UsageError

Encode = Callable[[Tensor, Tensor], Tensor]  # embeddings [B, T, d] and their mask [B, T] to states [B, T, d]
Routing = Literal["top1", "top2", "stochastic"]
Gradient = Literal["straight_through", "printed"]
Div = Literal["unit", "hinge", "printed"]


class Routed(NamedTuple):
    """What the router decided for each c_i: the probabilities of Eq. 7, and which experts it took."""

    probabilities: Tensor  # [B, G, N]
    chosen: Tensor  # [B, G, K]


class SoftPrompt(NamedTuple):
    """The soft prompts e of Eq. 9, the weights of Eq. 8 and the experts that the groups' prompts met."""

    tokens: Tensor  # [B, k, d]
    weights: Tensor  # [B, N]
    chosen: Tensor  # [B, G, K]


class Router(nn.Module):
    """Q, a linear layer, and the choice of experts (Eq. 6-7).

    The paper calls Q's outputs probabilities and takes a softmax over the chosen ones; they are Q's linear scores here,
    so that this softmax is the only one. `routing` is top1, top2 or stochastic: one expert drawn from the softmax of
    all scores in training; in judging the mean over the draws, which for the soft prompt is exact (Eq. 8 and 9 are
    linear in p), so an answer depends on no draw.

    As printed, Eq. 7 over one expert is the constant 1 and Q gets no gradient at all. router_gradient:
    straight_through keeps the value of Eq. 7 and takes the gradient of the softmax over all scores; printed keeps both.
    """

    def __init__(
        self, width: int, experts: int, routing: Routing = "top1", gradient: Gradient = "straight_through"
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(width, experts)
        self.routing, self.gradient = routing, gradient

    def forward(self, inputs: Tensor) -> Routed:
        """Route the inputs [B, G, d] of the prompts c_i."""
        scores: Tensor = self.linear(inputs)
        over_all = scores.softmax(-1)
        chosen = self._chosen(scores)
        if self.routing == "stochastic" and not self.training:
            return Routed(over_all, chosen)
        absent = torch.full_like(scores, -torch.inf)
        probabilities = absent.scatter(-1, chosen, scores.gather(-1, chosen)).softmax(-1)
        if self.gradient == "straight_through":
            probabilities = probabilities.detach() + over_all - over_all.detach()
        return Routed(probabilities, chosen)

    def _chosen(self, scores: Tensor) -> Tensor:
        if self.routing == "stochastic" and self.training:
            scores = scores - torch.empty_like(scores).exponential_().log()  # its argmax is a draw from the softmax
        return scores.topk(2 if self.routing == "top2" else 1).indices


class LowRankExperts(nn.Module):
    """N experts E_n(x) = learned tokens [k, d] plus U_n V_n x on each of them, V_n [r, d] and U_n [d, r].

    As dense layers four experts would have 11.8 M parameters at T5-base, 5 % of it; with r = 9 the whole module has
    the 73,752 (.0331 %) that the paper prints. U_n starts at 0.
    """

    def __init__(self, width: int, experts: int, tokens: int, rank: int = 9) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(experts, tokens, width))
        self.down = nn.Parameter(torch.randn(experts, rank, width) / width**0.5)
        self.up = nn.Parameter(torch.zeros(experts, width, rank))

    def forward(self, context: Tensor, weights: Tensor) -> Tensor:
        """Sum_n w_n E_n(x) for contexts x [B, d] and weights [B, N]: [B, k, d]."""
        narrow = torch.einsum("bd,nrd->bnr", context, self.down) * weights[..., None]
        mapped = torch.einsum("bnr,ndr->bd", narrow, self.up)
        return torch.einsum("bn,nkd->bkd", weights, self.tokens) + mapped[:, None]

    def start_at(self, tokens: Tensor) -> None:
        """Begin with these embeddings [N, k, d]."""
        self.tokens.data.copy_(tokens)


class DenseExperts(nn.Module):
    """N experts E_n(x) = A_n x + b_n with A_n [k d, d]; A_n starts at 0."""

    def __init__(self, width: int, experts: int, tokens: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(experts, tokens, width, width))
        self.bias = nn.Parameter(torch.randn(experts, tokens, width))

    def forward(self, context: Tensor, weights: Tensor) -> Tensor:
        """Sum_n w_n E_n(x) for contexts x [B, d] and weights [B, N]: [B, k, d]."""
        weighted = torch.einsum("bn,bd->bnd", weights, context)
        return torch.einsum("bnd,nkcd->bkc", weighted, self.weight) + torch.einsum("bn,nkd->bkd", weights, self.bias)

    def start_at(self, tokens: Tensor) -> None:
        """Begin with these embeddings [N, k, d]."""
        self.bias.data.copy_(tokens)


class MixtureOfStereotypes(nn.Module):
    """Router, reweighting layer and experts: the trained part of MoS.

    The router reads each c_i = (c_rec, c_i_stereotype) as the mean of its token embeddings (`router_input:
    prompt_mean`) or as the frozen backbone's states of the stereotype tokens behind c_rec (`stereotype_states`, one
    pass of the backbone more for each group; one word hardly moves a mean). The experts read the mean embedding of
    c_rec alone. The reweighting layer R is linear and starts as the identity; without it the weights are R's input.
    """

    def __init__(
        self,
        width: int,
        experts: int = 4,
        tokens: int = 5,
        *,
        expert: Literal["low_rank", "dense"] = "low_rank",
        rank: int = 9,
        routing: Routing = "top1",
        router_gradient: Gradient = "straight_through",
        router_input: Literal["prompt_mean", "stereotype_states"] = "prompt_mean",
        reweighting: bool = True,
    ) -> None:
        super().__init__()
        if experts < 2:
            raise UsageError(f"experts={experts}: a mixture needs at least 2; for one soft prompt use prompt tuning")
        self.router_input = router_input
        self.router = Router(width, experts, routing, router_gradient)
        self.reweighting = _identity(experts) if reweighting else nn.Identity()
        self.experts: LowRankExperts | DenseExperts
        if expert == "dense":
            self.experts = DenseExperts(width, experts, tokens)
        else:
            self.experts = LowRankExperts(width, experts, tokens, rank)
        self.shape = (experts, tokens)

    def forward(
        self, recommendation: Tensor, mask: Tensor, words: Sequence[Tensor], encode: Encode | None = None
    ) -> SoftPrompt:
        """The soft prompts of c_rec's embeddings [B, T, d], right-padded as the mask [B, T] says.

        `words` holds the embeddings [S_i, d] of each group's stereotype tokens; they reach the router alone. `encode`
        is the backbone (`virtual_tokens.states_of`), read for stereotype_states.
        """
        routed = self.router(self._router_input(recommendation, mask, words, encode))
        weights = self.reweighting(routed.probabilities.mean(1))  # Eq. 8
        return SoftPrompt(self.experts(masked_mean(recommendation, mask), weights), weights, routed.chosen)

    def _router_input(
        self, recommendation: Tensor, mask: Tensor, words: Sequence[Tensor], encode: Encode | None
    ) -> Tensor:
        if self.router_input == "prompt_mean":
            return prompt_means(recommendation, mask, words)
        if encode is None:
            raise ValueError("router_input=stereotype_states reads the backbone: pass encode=states_of(model)")
        return stereotype_states(encode, recommendation, mask, words)

    def start_at_words(self, table: Tensor) -> None:
        """Begin with virtual tokens drawn from the rows of the backbone's embedding table [V, d]."""
        drawn = torch.randint(len(table), self.shape, device=table.device)
        self.experts.start_at(table.detach()[drawn])

    def diversity(self, div: Div = "unit", margin: float = 1.0) -> Tensor:
        """L_div of the experts' parameters."""
        parts = [parameter.flatten(1) for parameter in self.experts.parameters()]
        return diversity_loss(torch.cat(parts, 1), div, margin)


def masked_mean(embeddings: Tensor, mask: Tensor) -> Tensor:
    """The mean embedding of the tokens under the mask, in float32: [B, T, d] and [B, T] to [B, d]."""
    counted = mask.to(torch.float32)
    return torch.einsum("btd,bt->bd", embeddings.to(torch.float32), counted) / counted.sum(1, keepdim=True)


def prompt_means(recommendation: Tensor, mask: Tensor, words: Sequence[Tensor]) -> Tensor:
    """The mean token embedding of each c_i = (c_rec, c_i_stereotype), [B, G, d]."""
    length = mask.sum(1).to(torch.float32)[:, None, None]
    added = torch.stack([word.to(torch.float32).sum(0) for word in words])
    count = torch.tensor([len(word) for word in words], device=mask.device)[None, :, None]
    return (masked_mean(recommendation, mask)[:, None] * length + added) / (length + count)


@torch.no_grad()
def stereotype_states(encode: Encode, recommendation: Tensor, mask: Tensor, words: Sequence[Tensor]) -> Tensor:
    """The mean of the backbone's states at the stereotype tokens of each c_i = (c_rec, c_i_stereotype), [B, G, d]."""
    rows, length = torch.arange(len(mask), device=mask.device)[:, None], mask.sum(1, keepdim=True)
    states = []
    for word in words:
        places = length + torch.arange(len(word), device=mask.device)  # right behind the last token of c_rec
        joined = functional.pad(recommendation, (0, 0, 0, len(word)))
        joined[rows, places] = word.to(joined.dtype)
        present = functional.pad(mask, (0, len(word)))
        present[rows, places] = 1
        states.append(encode(joined, present)[rows, places].to(torch.float32).mean(1))
    return torch.stack(states, 1)


def diversity_loss(experts: Tensor, div: Div = "unit", margin: float = 1.0) -> Tensor:
    """L_div = - min_{i != j} |w_i - w_j|^2 (Eq. 13) over the parameters [N, M] of the experts, to be minimised.

    As printed it has no lower bound, and the experts grow without end. `unit` takes the distances of the parameters
    scaled to length 1, so L_div >= -4; `hinge` stops pushing at a squared distance of `margin`.
    """
    vectors = functional.normalize(experts, dim=1) if div == "unit" else experts
    one, other = torch.triu_indices(len(vectors), len(vectors), 1, device=vectors.device)
    nearest = (vectors[one] - vectors[other]).square().sum(1).min()
    return functional.relu(margin - nearest) if div == "hinge" else -nearest


class ExpertShares:
    """Counts which experts the prompts of each group meet; groups that meet the same ones are not told apart."""

    def __init__(self, groups: Sequence[str], experts: int) -> None:
        self.groups = tuple(groups)
        self.counts = torch.zeros(len(self.groups), experts, dtype=torch.long)

    def add(self, chosen: Tensor) -> None:
        """Count the choices [B, G, K] of a batch."""
        met = functional.one_hot(chosen.cpu(), self.counts.shape[1])  # [B, G, K, N]
        self.counts += met.sum((0, 2))

    def by_group(self) -> dict[str, list[float]]:
        """The share of a group's choices that each expert has; nan before anything was counted."""
        shares = self.counts / self.counts.sum(1, keepdim=True)
        return dict(zip(self.groups, shares.tolist(), strict=True))


def _identity(experts: int) -> nn.Linear:
    layer = nn.Linear(experts, experts)
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
