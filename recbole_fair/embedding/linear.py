"""Linear: one bias-free matrix from language-model vectors to the recommendation space, no graph.

The linear mapping with which Sheng et al. (ICLR 2025) show what item titles alone carry; trained as AlphaRec is.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from recbole_fair.models.alpharec import TextRecommender


class Linear(TextRecommender):
    """e_i = W z_i, e_u = W mean(z_i)."""

    def build_projector(self, width: int, size: int, config: Any) -> nn.Sequential:
        """W alone."""
        return nn.Sequential(nn.Linear(width, size, bias=False))
