"""How much the order of MovieLens-100K alone tells: a control for the lead of sequential models in docs/results.md.

    python benchmarks/order_signal.py

A table of item-to-item transitions (windows of five, training part only) scores the next items from a user's last 1, 5,
20 or all items; no parameters, no training, nothing of this package but its split. NDCG@20, full ranking, masked.
"""

from __future__ import annotations

import numpy as np

from recbole_fair.data import load
from recbole_fair.settings.config import Config

Histories = dict[int, list[int]]


def in_order(loaded: load.Data, phase: str) -> Histories:
    """Each user's items of a part, oldest first."""
    feat = loaded.parts[phase].inter_feat
    order = np.argsort(feat["timestamp"].numpy(), kind="stable")
    found: Histories = {}
    for user, item in zip(feat["user_id"].numpy()[order], feat["item_id"].numpy()[order], strict=True):
        found.setdefault(int(user), []).append(int(item))
    return found


def transitions(histories: Histories, items: int, window: int = 5) -> np.ndarray:
    """How often b follows a within the window, nearer counting more, popular b damped."""
    table = np.zeros((items, items))
    for sequence in histories.values():
        for place, first in enumerate(sequence):
            for distance, second in enumerate(sequence[place + 1 : place + 1 + window], start=1):
                table[first, second] += 1 / distance
    return table / (np.sqrt(table.sum(0, keepdims=True)) + 1e-9)


def ndcg(scores: np.ndarray, known: list[int], relevant: list[int], k: int = 20) -> float:
    """NDCG@k of one user."""
    ranked = scores.copy()
    ranked[[0, *known]] = -np.inf
    gains = np.isin(np.argsort(-ranked)[:k], relevant) / np.log2(np.arange(2, k + 2))
    return float(gains.sum() / (1 / np.log2(np.arange(2, min(k, len(relevant)) + 2))).sum())


def main() -> None:
    loaded = load.load(Config("Pop", "ml-100k"))
    train, valid, test = (in_order(loaded, phase) for phase in ("train", "valid", "test"))
    table = transitions(train, loaded.dataset.item_num)
    for last in (1, 5, 20, 10**6):
        figures = []
        for user, relevant in test.items():
            known = [*train.get(user, []), *valid.get(user, [])]
            figures.append(ndcg(table[known[-last:]].sum(0), known, relevant))
        label = "all items" if last > 1000 else f"the last {last}"
        print(f"NDCG@20 on test from {label:<12} {np.mean(figures):.4f}")


if __name__ == "__main__":
    main()
