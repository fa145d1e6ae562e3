"""The point of smallest norm in a convex hull of gradients: a direction that lowers every loss (MGDA).

Désidéri 2012; Sener and Koltun, NeurIPS 2018; the solver of MultiFR and of BiFair's Algorithm 2.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def frank_wolfe(gram: FloatArray, steps: int) -> FloatArray:
    """Weights w that minimise w'Bw over the simplex, B [K, K] the Gram matrix of K gradients.

    From uniform weights, each step goes towards the vertex v = argmin_k (Bw)_k by the exact line search
    gamma = clip((w'Bw - v'Bw) / (w'Bw - 2 v'Bw + v'Bv), 0, 1); it ends early where no vertex is better by more than
    rounding.

    >>> frank_wolfe(np.array([[1.0, 0.0], [0.0, 3.0]]), 50).round(3).tolist()
    [0.75, 0.25]
    """
    weights = np.full(len(gram), 1.0 / len(gram))
    for _ in range(steps):
        product = gram @ weights  # [K]
        vertex = int(product.argmin())
        norm, cross = weights @ product, product[vertex]
        if norm - cross <= 1e-12 * abs(norm):
            break
        gamma = np.clip((norm - cross) / max(norm - 2 * cross + gram[vertex, vertex], 1e-300), 0.0, 1.0)
        weights *= 1 - gamma
        weights[vertex] += gamma
    return weights
