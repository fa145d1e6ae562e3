from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from torch import Tensor

from recbole_fair.errors import UsageError
from recbole_fair.models.erase import leace


def planted(rows: int, width: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Correlated Gaussian states whose means depend on the class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (rows,), generator=generator)
    means = torch.randn(classes, width, generator=generator, dtype=torch.double)
    mixing = torch.randn(width, width, generator=generator, dtype=torch.double)
    return torch.randn(rows, width, generator=generator, dtype=torch.double) @ mixing + means[labels] * 2, labels


def cross_validated_auc(states: Tensor, labels: Tensor) -> float:
    reader = LogisticRegression(max_iter=1000)
    scores = cross_val_predict(reader, states.numpy(), labels.numpy(), cv=10, method="predict_proba")
    scores = scores[:, 1] if scores.shape[1] == 2 else scores
    return float(roc_auc_score(labels.numpy(), scores, multi_class="ovr"))


@pytest.mark.parametrize("classes", [2, 4])
def test_a_logistic_attacker_is_at_chance_on_the_fitted_states(classes: int) -> None:
    states, labels = planted(10_000, 12, classes)
    assert cross_validated_auc(states, labels) > 0.7
    assert cross_validated_auc(leace(states, labels)(states), labels) < 0.52


def test_erasing_twice_is_erasing_once() -> None:
    states, labels = planted(500, 6, 3)
    eraser = leace(states, labels)
    once = eraser(states)
    torch.testing.assert_close(eraser(once), once, atol=1e-10, rtol=0)
    torch.testing.assert_close(leace(once, labels)(once), once, atol=1e-8, rtol=0)


def test_no_affine_map_that_hides_as_much_moves_states_less() -> None:
    """Least squares under the constraint A Sxz = 0, solved by its own normal equations with scipy."""
    states, labels = planted(400, 4, 3)
    x = (states - states.mean(0)).numpy()
    z = np.eye(3)[labels.numpy()]
    z = z - z.mean(0)
    covariance, crossed = x.T @ x / len(x), x.T @ z / len(x)
    # min tr((A - I) S (A - I)') subject to A B = 0: A = I - B (B' S^-1 B)^+ B' S^-1
    inverse = np.linalg.inv(covariance)
    best = np.eye(4) - crossed @ np.linalg.pinv(crossed.T @ inverse @ crossed) @ crossed.T @ inverse
    moved = leace(states, labels)(states).numpy() - states.numpy()
    np.testing.assert_allclose(moved, x @ best.T - x, atol=1e-8)
    # the whitening formula, by another root
    root = np.real(sqrtm(covariance))
    directions = np.linalg.inv(root) @ crossed
    projection = directions @ np.linalg.pinv(directions)
    np.testing.assert_allclose(moved, -x @ (root @ projection @ np.linalg.inv(root)).T, atol=1e-8)
    # any other map that hides the attribute moves states at least as far
    other = np.eye(4) - crossed @ np.linalg.pinv(crossed)  # the orthogonal projection
    assert np.allclose(other @ crossed, 0)
    assert (moved**2).sum() < ((x @ other.T - x) ** 2).sum()


def test_states_that_do_not_vary_in_some_direction_are_erased_too() -> None:
    states, labels = planted(300, 4, 2)
    wide = torch.cat([states, states[:, :1] * 2, torch.ones(300, 1)], dim=1)
    erased = leace(wide, labels)(wide)
    assert torch.isfinite(erased).all()
    torch.testing.assert_close(erased[labels == 0].mean(0), erased[labels == 1].mean(0), atol=1e-9, rtol=0)
    torch.testing.assert_close(erased[:, 5], torch.ones(300, dtype=torch.double))


def test_two_attributes_are_hidden_at_once_and_unlabelled_users_are_left_out() -> None:
    states, labels = planted(2000, 6, 2)
    second = (states[:, 0] + torch.randn(2000, generator=torch.Generator().manual_seed(1)) > 0).long()
    second[:100] = -1
    states[:100] += 1000  # would dominate the fit
    erased = leace(states, torch.stack([labels, second], 1))(states)[100:]
    for column in (labels[100:], second[100:]):
        torch.testing.assert_close(erased[column == 0].mean(0), erased[column == 1].mean(0), atol=1e-8, rtol=0)


def test_states_keep_their_type_and_shape() -> None:
    states, labels = planted(50, 4, 2)
    eraser = leace(states.float(), labels)
    assert eraser(states.float().view(5, 10, 4)).shape == (5, 10, 4)
    assert eraser(states.float()).dtype == torch.float


def test_one_class_and_broken_states_are_refused() -> None:
    states, labels = planted(50, 4, 2)
    with pytest.raises(UsageError, match="two classes"):
        leace(states, torch.where(labels == 1, -1, labels))
    states[3, 1] = torch.nan
    with pytest.raises(UsageError, match="not finite"):
        leace(states, labels)
