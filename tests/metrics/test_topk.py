"""The means over users beside RecBole's own classes, digit by digit."""

from __future__ import annotations

import numpy as np
import pytest
from recbole.evaluator import metrics as theirs

from recbole_fair.metrics.list_metrics import OF_HITS
from recbole_fair.metrics.metric import OfHits


@pytest.mark.parametrize("metric", OF_HITS, ids=lambda metric: metric.name)
def test_every_mean_over_users_is_recboles_to_the_bit(metric: OfHits) -> None:
    random = np.random.default_rng(0)
    hit = random.random((500, 20)) < random.random((500, 1)) ** 3
    relevant = hit.sum(axis=1) + random.integers(0, 30, 500)  # more than 20 among them
    relevant[relevant == 0] = 1
    hit[0], relevant[0] = False, 1
    made = getattr(theirs, metric.name)({"topk": [20], "metric_decimal_place": 4})
    lengths = [relevant] if metric.name in ("Recall", "NDCG", "MAP") else []
    np.testing.assert_array_equal(metric.of(hit, relevant), made.metric_info(hit, *lengths))
