"""AlphaRec (Sheng et al., ICLR 2025): language-model item vectors, a small projector, a graph, InfoNCE.

Symbols: z_i the language model's vector of item i's title, z_u = mean of z_i over u's training items, g the
projector, e = propagate(g(z)) the vector that scores.

Where we differ from the released code: we select on validation, it selected on test; our
epoch has one row an interaction, its epoch draws users uniformly (`user_sampling: user` gives that); our negatives
are redrawn until unseen. Equal: title-only texts, no normalisation of z, one projector for users and items, no edge
dropout, mean of layers 0..L, positive in the denominator, cosine at training and at scoring.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_fair.data.inputs import inputs_of
from recbole_fair.host import GeneralRecommender, InputType
from recbole_fair.models.contrastive import Contrastive
from recbole_fair.models.graph import normalised_adjacency, product, propagate, sparse_tensor


def mean_over_history(interactions: Any) -> Any:
    """The sparse matrix M [U, I] with M z = the mean of z over each user's training items."""
    matrix = (interactions.tocsr() != 0).astype("float32")
    counts = matrix.sum(axis=1).A1.clip(min=1)
    return matrix.multiply(1.0 / counts[:, None])


class TextRecommender(Contrastive, GeneralRecommender):
    """What AlphaRec and Linear share: frozen item vectors, user vectors as their mean, one projector for both."""

    input_type = InputType.PAIRWISE
    item_vectors: Tensor

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.interactions = dataset.inter_matrix(form="csr")
        item_vectors = inputs_of(dataset).item_vectors
        assert item_vectors is not None, "a row that reads item texts has an item_encoder"
        vectors = torch.from_numpy(item_vectors)  # [I, W]
        # Not persistent: the vectors are an input, found again in the encoder's cache; only what is trained is saved.
        self.register_buffer("item_vectors", vectors, persistent=False)
        mean = mean_over_history(self.interactions)
        self.history = sparse_tensor(mean).to(config["device"])  # M [U, I]
        self.audience = sparse_tensor(mean.T).to(config["device"])  # M^T [I, U]
        self.projector = self.build_projector(vectors.shape[1], int(config["embedding_size"]), config)

    def build_projector(self, width: int, size: int, config: Any) -> nn.Sequential:
        """g: vectors of `width` to vectors of `size`; a linear layer stands first."""
        raise NotImplementedError

    def projected(self) -> Tensor:
        """g(z_u), then g(z_i): [U + I, D].

        The first layer is applied to the items alone: a mean commutes with a linear map, W1 mean(z_i) = mean(W1 z_i),
        and the map of U users, or the mean of vectors as wide as the language model's, would cost far more. The bias
        comes after the mean, so that a user without training items gets it too.
        """
        first, rest = self.projector[0], self.projector[1:]
        assert isinstance(first, nn.Linear)
        items = functional.linear(self.item_vectors, first.weight)  # [I, H]
        both = product(self.history, self.audience, items), items
        return torch.cat([rest(part if first.bias is None else part + first.bias) for part in both])

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Without a graph, the projected vectors are final."""
        return self._split(self.projected())

    def _split(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        return nodes[: self.n_users], nodes[self.n_users :]


class AlphaRec(TextRecommender):
    """Projector Linear -> LeakyReLU -> Linear, then `n_layers` of LightGCN propagation."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.layers = int(config["n_layers"])
        self.adjacency = normalised_adjacency(self.interactions).to(config["device"])

    def build_projector(self, width: int, size: int, config: Any) -> nn.Sequential:
        """The hidden layer is `hidden_size_factor` times as wide as the language model's vectors.

        The activation works in place: at 100,000 items and 1,152 hidden units a copy is half a gigabyte.
        """
        hidden = max(1, round(float(config["hidden_size_factor"]) * width))
        return nn.Sequential(nn.Linear(width, hidden), nn.LeakyReLU(inplace=True), nn.Linear(hidden, size))

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Projected vectors, propagated over the training graph."""
        return self._split(propagate(self.adjacency, self.projected(), self.layers))


class Linear(TextRecommender):
    """e_i = W z_i, e_u = W mean(z_i)."""

    def build_projector(self, width: int, size: int, config: Any) -> nn.Sequential:
        """W alone."""
        return nn.Sequential(nn.Linear(width, size, bias=False))
