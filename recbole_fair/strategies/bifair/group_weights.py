"""BiFair's group weights from the Gram matrix of the group gradients (section 3.3, Eq. 8-11 and Algorithm 2).

Symbols: l [N] the group losses, p = softmax(l), H the entropy of p, K [N, N] the Gram matrix of the group gradients.
Everything here is N x N: -grad H is a combination of the group gradients, so it needs no backward pass of its own.

    -grad H = sum_n c_n grad l_n,   c_n = p_n log p_n - p_n sum_i p_i log p_i                                  (Eq. 10)

The last line of the printed Eq. (12) has the opposite sign; autograd agrees with Eq. (10).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog
from scipy.special import log_softmax

from recbole_fair.errors import TrainingError
from recbole_fair.metrics.formulas import FloatArray
from recbole_fair.strategies.gradients import frank_wolfe


def entropy_coefficients(losses: FloatArray) -> FloatArray:
    """Coefficients c [N] of -grad H = sum_n c_n grad l_n (Eq. 10).

    They sum to 0 and are positive for groups of large loss.

    >>> entropy_coefficients(np.array([1.0, 2.0])).round(4).tolist()
    [-0.1966, 0.1966]
    """
    log_share = log_softmax(losses)
    share = np.exp(log_share)
    return share * (log_share - share @ log_share)


def column_scale(squared_norms: FloatArray, columns: str) -> FloatArray:
    """What each column is multiplied by: 1 (`raw`, as printed), or mean norm / its norm (`unit`).

    Unit columns have the mean of the norms, not 1, so that the step stays of the size of a gradient. A column of no
    length cannot be scaled and gets 0: it is left out.
    """
    if columns == "raw":
        return np.ones(len(squared_norms))
    norms = np.sqrt(squared_norms.clip(min=0))
    present = norms > 1e-6 * norms.max()
    return np.divide(norms[present].mean() if present.any() else 0.0, norms, out=np.zeros_like(norms), where=present)


def algorithm_2(gram: FloatArray, losses: FloatArray, columns: str, direction: str, steps: int) -> FloatArray:
    """Coefficients of the group gradients by Algorithm 2: the point of smallest norm of {grad l_1..N, -grad H}.

    With T = [identity | c] the Gram matrix of these N + 1 columns is T'KT. `direction: groups` forgets the weight of
    the entropy column, as Eq. (11) prints it, so that the others sum to less than 1; `renormalised` makes that 1
    again, without which a mixture with the plain loss would hold less of the groups than its share. `full` follows
    the whole point, T w.
    """
    columns_of = np.column_stack([np.eye(len(gram)), entropy_coefficients(losses)])  # [N, N + 1]
    scale = column_scale(np.einsum("nk,nm,mk->k", columns_of, gram, columns_of), columns)
    if not scale.any():
        return np.zeros(len(gram))  # no gradient has a length: there is nowhere to go
    columns_of = (columns_of * scale)[:, scale > 0]
    weights = frank_wolfe(columns_of.T @ gram @ columns_of, steps)
    if direction != "full" and scale[-1] > 0:
        weights[-1] = 0.0
    if direction == "renormalised" and weights.any():
        weights /= weights.sum()
    return columns_of @ weights


def linear_programme(gram: FloatArray, losses: FloatArray, columns: str) -> FloatArray:
    """Coefficients by Eq. (10): max_w d(w)' sum_n c_n grad l_n with d(w)' grad l_n >= 0 for all n, w on the simplex.

    d(w) = sum_n w_n grad l_n, so the objective is w'Kc and the constraints are Kw >= 0. The point of smallest norm
    satisfies them, so there is a solution. The paper's further guarantee for groups of low loss is not specified
    there and not built.
    """
    scale = column_scale(np.diag(gram), columns)
    scaled = gram * np.outer(scale, scale)
    scaled = scaled / max(float(np.trace(scaled)) / len(gram), 1e-300)  # to the solver's tolerances
    gain = scaled @ np.divide(entropy_coefficients(losses), scale, out=np.zeros_like(scale), where=scale > 0)
    solution = linprog(-gain, A_ub=-scaled, b_ub=np.zeros(len(gram)), A_eq=np.ones((1, len(gram))), b_eq=[1.0])
    if not solution.success:
        raise TrainingError(f"the linear programme of Eq. (10) has no solution ({solution.message})")
    return solution.x * scale
