"""XSimGCL: contrastive learning between layers of one noisy propagation (Yu et al., TKDE 2024).

Symbols: e the embeddings of users and items, A the normalised adjacency, L layers, l* the contrasted layer, r the
noise's radius, s a row of the batch.

    e_{l+1} = A e_l + d_l,  d_l = r * sign(.) * u / |u|, u uniform in (0, 1): noise in the same orthant as A e_l
    z = mean of layers 1..L (layer 0 is left out),  z' = e_{l*}
    loss = BPR(z) + L2 + ssl_weight * (contrast of users + contrast of items)
    contrast = mean_s -log( exp(cos(z_s, z'_s) / tau) / sum_t exp(cos(z_s, z'_t) / tau) ), s, t over the batch's ids

One pass serves both losses, and there is no noise outside training. Users and positives enter the contrast once however
often the batch has them, as in the released code. Where we differ: L2 is RecBole's LightGCN's, on the embeddings of
users, positives and negatives before propagation; the released code has it on the final vectors, without negatives.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from recbole_fair.errors import UsageError
from recbole_fair.host import LightGCN
from recbole_fair.models.graph import normalised_adjacency, symmetric_product
from recbole_fair.models.losses import cross_entropy


class XSimGCL(LightGCN):
    """RecBole's LightGCN with its propagation replaced and the contrast added to its loss."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.norm_adj_matrix = normalised_adjacency(dataset.inter_matrix(form="csr")).to(config["device"])
        self.noise_radius = float(config["noise_radius"])
        self.ssl_weight, self.ssl_tau = float(config["ssl_weight"]), float(config["ssl_tau"])
        self.contrasted_layer = int(config["contrast_layer"])
        if self.contrasted_layer > self.n_layers:
            raise UsageError(
                f"contrast_layer={self.contrasted_layer}: there are n_layers={self.n_layers}; choose one of these"
            )

    def forward(self) -> tuple[Tensor, Tensor]:
        """Vectors z of users and items; keeps z' beside them, for `calculate_loss`."""
        current, layers = self.get_ego_embeddings(), []
        for _ in range(self.n_layers):
            current = symmetric_product(self.norm_adj_matrix, current)
            if self.training:
                current = current + noise(current, self.noise_radius)
            layers.append(current)
        final = torch.stack(layers).mean(0)
        self._views = final, layers[self.contrasted_layer - 1]
        return self._split(final)

    def _split(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        return nodes[: self.n_users], nodes[self.n_users :]

    def calculate_loss(self, interaction: Any) -> Tensor:
        """LightGCN's loss and the contrast between layers."""
        recommendation = super().calculate_loss(interaction)
        ids = (interaction[self.USER_ID].unique(), interaction[self.ITEM_ID].unique())
        sides = zip(ids, *map(self._split, self._views), strict=True)
        contrasts = [contrast(one[chosen], other[chosen], self.ssl_tau) for chosen, one, other in sides]
        return recommendation + self.ssl_weight * (contrasts[0] + contrasts[1])


def noise(nodes: Tensor, radius: float) -> Tensor:
    """A random vector of length `radius` a row, in the row's own orthant."""
    return radius * functional.normalize(torch.rand_like(nodes) * nodes.detach().sign(), dim=-1)


def contrast(one: Tensor, other: Tensor, tau: float) -> Tensor:
    """InfoNCE between two views of the same nodes [S, D]; the other nodes are the negatives."""
    cosines = functional.normalize(one, dim=-1) @ functional.normalize(other, dim=-1).T  # [S, S]
    return cross_entropy(cosines / tau, torch.arange(len(one), device=one.device)).mean()
