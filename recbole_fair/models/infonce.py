"""MF and LightGCN under sampled InfoNCE instead of BPR (`rec_loss: infonce`), as in the BiFair paper's tables."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_fair.host import BPR, LightGCN
from recbole_fair.models.contrastive import Contrastive


class InfoNCEMF(Contrastive, BPR):
    """RecBole's matrix factorisation under InfoNCE."""

    def vectors(self) -> tuple[Tensor, Tensor]:
        """All rows of the embedding tables; users' through the module, behind which C- puts its filters."""
        users = torch.arange(self.n_users, device=self.item_embedding.weight.device)
        return self.user_embedding(users), self.item_embedding.weight


class InfoNCELightGCN(Contrastive, LightGCN):
    """RecBole's LightGCN under InfoNCE; its L2 term (`reg_weight`) belongs to BPR and is not used."""

    def vectors(self) -> tuple[Tensor, Tensor]:
        """The propagated embeddings."""
        return self.forward()
