"""PMF: probabilistic matrix factorisation (Mnih and Salakhutdinov 2007), the matching-based baseline of UP5.

    E = 1/2 sum over (u, i) of (r_ui - sigmoid(p_u . q_i))^2 + lambda/2 (sum |p_u|^2 + sum |q_i|^2)

the negative log posterior under Gaussian noise and Gaussian priors, with the products passed through the logistic
function. UP5 does not say what PMF is trained on; its tables rank unseen items, so here r is 1 for an interaction and 0
for an item drawn as a negative. (Under a pairwise loss it would be the row MF.)
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from recbole_fair.host import GeneralRecommender, InputType


class PMF(GeneralRecommender):
    """Scores are p_u . q_i; both priors act on the rows of a batch, once for each time that a row is in it."""

    input_type = InputType.POINTWISE

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        width = config["embedding_size"]
        self.prior, self.label = float(config["prior_weight"]), config["LABEL_FIELD"]
        self.user_embedding = nn.Embedding(self.n_users, width)
        self.item_embedding = nn.Embedding(self.n_items, width)
        for table in (self.user_embedding, self.item_embedding):
            nn.init.normal_(table.weight, std=0.1)  # a draw of the prior
        self.loss = nn.MSELoss(reduction="mean")

    def forward(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """The two factors of each pair."""
        return self.user_embedding(users), self.item_embedding(items)

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, Tensor]:
        """E of the batch, a mean over its pairs: the error and the priors."""
        user, item = self.forward(interaction[self.USER_ID], interaction[self.ITEM_ID])
        predicted = (user * item).sum(dim=1).sigmoid()
        priors = (user.pow(2).sum(dim=1) + item.pow(2).sum(dim=1)).mean()
        return self.loss(predicted, interaction[self.label]) / 2, self.prior / 2 * priors

    def predict(self, interaction: Any) -> Tensor:
        """Scores of the given pairs."""
        user, item = self.forward(interaction[self.USER_ID], interaction[self.ITEM_ID])
        return (user * item).sum(dim=1)

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of the given users with all items."""
        return (self.user_embedding(interaction[self.USER_ID]) @ self.item_embedding.weight.T).view(-1)
