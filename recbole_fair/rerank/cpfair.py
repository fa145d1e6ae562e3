"""CPFair: consumers and producers at once (Naghiaei, Rahmani and Deldjoo 2022), greedily by user.

    max  sum_ui s_ui A_ui - lambda_1 DCF(A) - lambda_2 DPF(A)   under sum_i A_ui = K
    DCF(A) = sum_{u served better} s_u A_u - sum_{other u} s_u A_u
    DPF(A) = list places of groups that are ahead - list places of the others

Who is ahead is fixed beforehand, so both differences stand without absolute values, the objective splits by user, and
the greedy choice is the optimum:

    s'_ui = (1 - lambda_1 z_u) s_ui - lambda_2 d_i,   z, d = 1 for those ahead, -1 for the others

Without user groups lambda_1 = 0; with them lambda_1 = lambda_2, below 1.
"""

from __future__ import annotations

import numpy as np

from recbole_fair.rerank.candidates import Candidates, IntArray, best


def cpfair(candidates: Candidates, strength: float) -> IntArray:
    """[U, K] chosen places."""
    users = np.ones(len(candidates.items))
    if candidates.user_groups is not None:
        users -= strength * np.where(candidates.served_better, 1.0, -1.0)
    items = strength * np.where(candidates.ahead, 1.0, -1.0)  # [P]

    def choose(rows: slice) -> IntArray:
        scores = candidates.scaled(rows) * users[rows, None]
        return best(scores - items[candidates.patterns(rows)], candidates.k)

    return candidates.by_user(choose)
