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

from recbole_fair.contrastive import Contrastive
from recbole_fair.graph import normalised_adjacency, propagate, sparse_tensor
from recbole_fair.host import GeneralRecommender, InputType


def mean_over_history(interactions: Any) -> Tensor:
    """The sparse matrix M [U, I] with M z = the mean of z over each user's training items."""
    matrix = (interactions.tocsr() != 0).astype("float32")
    counts = matrix.sum(axis=1).A1.clip(min=1)
    return sparse_tensor(matrix.multiply(1.0 / counts[:, None]))


class TextRecommender(Contrastive, GeneralRecommender):
    """What AlphaRec and Linear share: frozen item vectors, user vectors as their mean, one projector for both."""

    input_type = InputType.PAIRWISE
    item_vectors: Tensor

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.interactions = dataset.inter_matrix(form="csr")
        vectors = torch.from_numpy(config["item_vectors"])  # [I, W], row 0 (padding) zero; runner.py encodes them
        # Not persistent: the vectors are an input, found again in the encoder's cache; only what is trained is saved.
        self.register_buffer("item_vectors", vectors, persistent=False)
        self.history = mean_over_history(self.interactions).to(config["device"])
        self.projector = self.build_projector(vectors.shape[1], int(config["embedding_size"]), config)

    def build_projector(self, width: int, size: int, config: Any) -> nn.Module:
        """g: vectors of `width` to vectors of `size`."""
        raise NotImplementedError

    def projected(self) -> tuple[Tensor, Tensor]:
        """g(z_u) and g(z_i)."""
        return self.projector(self.history @ self.item_vectors), self.projector(self.item_vectors)

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Without a graph, the projected vectors are final."""
        return self.projected()


class AlphaRec(TextRecommender):
    """Projector Linear -> LeakyReLU -> Linear, then `n_layers` of LightGCN propagation."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.layers = int(config["n_layers"])
        self.adjacency = normalised_adjacency(self.interactions).to(config["device"])

    def build_projector(self, width: int, size: int, config: Any) -> nn.Module:
        """The hidden layer is `hidden_size_factor` times as wide as the language model's vectors."""
        hidden = max(1, round(float(config["hidden_size_factor"]) * width))
        return nn.Sequential(nn.Linear(width, hidden), nn.LeakyReLU(), nn.Linear(hidden, size))

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Projected vectors, propagated over the training graph."""
        users, items = self.projected()
        nodes = propagate(self.adjacency, torch.cat([users, items]), self.layers)
        return nodes[: len(users)], nodes[len(users) :]
