"""What lists do to the catalogue, under RecBole's names: its own count the padding and divide entropy by the items.

RecBole fills an empty place of a list with its padding item 0 and counts that as one more item of the catalogue. Its
entropy is a mean over the listed items (RecBole pull request 2165), so that lists of a few items look more diverse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from recbole_fair.host import AbstractMetric, DataStruct, EvaluatorType
from recbole_fair.metrics import exposure
from recbole_fair.metrics.formulas import FloatArray
from recbole_fair.settings.host_metrics import offer


class OfCatalogue(AbstractMetric):
    """A formula over how often each item of the catalogue is listed within the first K."""

    metric_type = EvaluatorType.RANKING
    metric_need: ClassVar[list[str]] = ["rec.items", "data.num_items"]
    formula: ClassVar[Callable[..., FloatArray]]

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.topk = config["topk"]

    def calculate_metric(self, dataobject: DataStruct) -> dict[str, float]:
        """One value a K."""
        lists, size = dataobject.get("rec.items").numpy(), dataobject.get("data.num_items")
        name = type(self).__name__.lower()
        return {f"{name}@{k}": float(type(self).formula(exposure.times_listed(lists[:, :k], size))) for k in self.topk}


@offer
class ItemCoverage(OfCatalogue):
    """Share of the catalogue that is listed at least once."""

    formula = staticmethod(exposure.coverage)


@offer
class GiniIndex(OfCatalogue):
    """Gini index of how often each item is listed."""

    formula = staticmethod(exposure.gini)
    smaller = True


@offer
class ShannonEntropy(OfCatalogue):
    """Entropy of a list place: in which item it is."""

    formula = staticmethod(exposure.entropy)
