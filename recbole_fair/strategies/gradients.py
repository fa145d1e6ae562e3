"""The point of smallest norm in a convex hull of gradients: a direction that lowers every loss (MGDA).

Désidéri 2012; Sener and Koltun, NeurIPS 2018; the solver of MultiFR and of BiFair's Algorithm 2.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def frank_wolfe(gram: FloatArray, steps: int) -> FloatArray:
    """Weights w that minimise w'Bw over the simplex, B [K, K] the Gram matrix of K gradients.

    From uniform weights, each step moves weight towards the vertex v = argmin_k (Bw)_k by the exact line search, and
    ends early where no vertex is better by more than rounding. The plain step takes that weight from all vertices
    alike and zigzags: after 1,000 steps it is still 1e-3 above the minimum. Ours takes it from the worst vertex that
    has any, a = argmax (Bw)_k (pairwise steps, Lacoste-Julien and Jaggi, NeurIPS 2015), which converges linearly:

        gamma = clip(((Bw)_a - (Bw)_v) / (B_vv - 2 B_va + B_aa), 0, w_a)

    >>> frank_wolfe(np.array([[1.0, 0.0], [0.0, 3.0]]), 50).round(3).tolist()
    [0.75, 0.25]
    """
    weights = np.full(len(gram), 1.0 / len(gram))
    for _ in range(steps):
        slope = gram @ weights  # [K]
        best, worst = int(slope.argmin()), int(np.where(weights > 0, slope, -np.inf).argmax())
        norm = weights @ slope
        if norm - slope[best] <= 1e-12 * norm:
            break
        curvature = gram[best, best] - 2 * gram[best, worst] + gram[worst, worst]
        gamma = np.clip((slope[worst] - slope[best]) / max(curvature, 1e-300), 0.0, weights[worst])
        weights[best] += gamma
        weights[worst] -= gamma
    return weights
