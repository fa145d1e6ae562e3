"""What AlphaRec, Linear and the InfoNCE forms of MF and LightGCN share: cosine scores trained by sampled InfoNCE."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from recbole_fair.models.losses import SampledInfoNCE
from recbole_fair.models.sampled import pair_scores
from recbole_fair.models.sampling import PairSampler

# Scoring a batch's users against all items by one matrix product beats scoring the negatives alone while it gives at
# most this many times more scores than there are negatives: on the CPU, and on an accelerator.
_ALL_ITEMS_FACTOR, _ALL_ITEMS_FACTOR_ACCELERATED = 3, 64

Rows = tuple[Tensor, Tensor, Tensor]  # users [B], positives [B], negatives [B, n]


class Contrastive:
    """Mixin for a RecBole GeneralRecommender: a subclass says what its `vectors` are, this does the rest.

    Loss (BiFair, section 4.3): InfoNCE over `negatives` uniform negatives, scores cosine / temperature. These exclude
    the user's training items only; they are drawn on the device, because the host's loader would repeat every row
    256 times (trap 30).
    """

    # what the mixin reads from the RecBole model it is mixed into
    USER_ID: str
    ITEM_ID: str
    n_items: int

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)  # type: ignore[call-arg]
        self.temperature = float(config["temperature"])
        self.negatives = int(config["negatives"])
        self.uniform_users = config["user_sampling"] == "user"
        self.sampler = PairSampler(dataset.inter_matrix(form="csr"))
        self.loss = SampledInfoNCE()
        self._scoring: tuple[Tensor, Tensor] | None = None

    def vectors(self) -> tuple[Tensor, Tensor]:
        """User vectors [U, D] and item vectors [I, D] under the current parameters."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> Any:
        """Also forget the vectors kept for scoring: the parameters are about to change, or have changed."""
        self._scoring = None
        return super().train(mode)  # type: ignore[misc]

    def calculate_loss(self, interaction: Any) -> Tensor:
        """InfoNCE of one batch."""
        return self.pair_losses(self.draw(interaction), *self.unit_vectors())

    def draw(self, interaction: Any) -> Rows:
        """The batch's users [B] and positives [B], and fresh negatives [B, n]; all that is random in a loss."""
        users, items = interaction[self.USER_ID], interaction[self.ITEM_ID]
        if self.uniform_users:
            users, items = self.sampler.pairs(len(interaction))
        self._drawn = users, items
        return users, items, self.sampler.negatives(users, self.negatives)

    def sample_ids(self) -> tuple[Tensor, Tensor]:
        """Whose the losses of the latest draw are: users [B] and positives [B]."""
        return self._drawn

    def pair_losses(self, rows: Rows, user_vectors: Tensor, item_vectors: Tensor) -> Tensor:
        """InfoNCE of drawn rows under vectors of length 1, reduced as `self.loss` does."""
        users, positives, negatives = rows
        # index_select, gather and embedding, not indexing and take: their gradients do not depend on the threads.
        positive = (user_vectors.index_select(0, users) * item_vectors.index_select(0, positives)).sum(1)
        negative = self._negative_scores(users, user_vectors, item_vectors, negatives)
        return self.loss(positive / self.temperature, negative / self.temperature)

    def _negative_scores(self, users: Tensor, user_vectors: Tensor, item_vectors: Tensor, negatives: Tensor) -> Tensor:
        """Cosines [B, n], by whichever way is the least work."""
        scores, on_cpu = min(len(users), len(user_vectors)) * self.n_items, item_vectors.device.type == "cpu"
        if scores > (_ALL_ITEMS_FACTOR if on_cpu else _ALL_ITEMS_FACTOR_ACCELERATED) * negatives.numel():
            rows = user_vectors.index_select(0, users)
            if on_cpu:
                return pair_scores(rows, item_vectors, negatives)
            return torch.einsum("bd,bnd->bn", rows, functional.embedding(negatives, item_vectors))
        if len(user_vectors) > len(users):  # else users repeat: each is scored once
            user_vectors, users = user_vectors.index_select(0, users), torch.arange(len(users), device=users.device)
        cells = users.unsqueeze(1) * self.n_items + negatives
        return (user_vectors @ item_vectors.T).flatten().gather(0, cells.flatten()).view(cells.shape)

    def unit_vectors(self) -> tuple[Tensor, Tensor]:
        """`vectors`, each of length 1."""
        users, items = self.vectors()
        return unit(users), unit(items)

    def _scoring_vectors(self) -> tuple[Tensor, Tensor]:
        if self._scoring is None:
            self._scoring = self.unit_vectors()
        return self._scoring

    def predict(self, interaction: Any) -> Tensor:
        """Cosines of the given pairs."""
        users, items = self._scoring_vectors()
        return (users[interaction[self.USER_ID]] * items[interaction[self.ITEM_ID]]).sum(-1)

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Cosines of the given users with all items, flattened as the host expects."""
        users, items = self._scoring_vectors()
        return (users[interaction[self.USER_ID]] @ items.T).view(-1)


def unit(vectors: Tensor) -> Tensor:
    """Rows of length 1; a row of zeros (padding under a map without bias) stays so and passes no gradient on.

    torch's own `normalize` has no second derivative there: BiFair's implicit gradient would be NaN.

    >>> unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    empty = (vectors == 0).all(-1, keepdim=True)
    return functional.normalize(vectors.masked_fill(empty, 1.0), dim=-1).masked_fill(empty, 0.0)
