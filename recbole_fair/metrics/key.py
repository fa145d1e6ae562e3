"""The name of a figure: a metric, its cutoff, and the grouping that it compares, as in cv@20[pop]."""

from __future__ import annotations

import re
from dataclasses import dataclass

from recbole_fair.errors import UsageError

_FORM = re.compile(r"(?P<name>\w+)(?:@(?P<k>\d+))?(?:\[(?P<grouping>.+)\])?")


@dataclass(frozen=True)
class MetricKey:
    """`str` of it is the key in result.json: the metric in lower case, the grouping as it is named."""

    name: str
    k: int | None = None
    grouping: str = ""

    def __str__(self) -> str:
        cutoff = "" if self.k is None else f"@{self.k}"
        return f"{self.name.lower()}{cutoff}{f'[{self.grouping}]' if self.grouping else ''}"

    @classmethod
    def parse(cls, text: str) -> MetricKey:
        """The key that a user typed or a result holds; anything of another form is refused.

        >>> MetricKey.parse("CV@20[pop]")
        MetricKey(name='CV', k=20, grouping='pop')
        >>> str(MetricKey.parse("CV@20[pop]")), str(MetricKey("f1"))
        ('cv@20[pop]', 'f1')
        """
        parts = _FORM.fullmatch(text)
        if parts is None:
            raise UsageError(f"{text!r}: no key of a metric; give METRIC, METRIC@K or METRIC@K[grouping]")
        k = parts["k"]
        return cls(parts["name"], None if k is None else int(k), parts["grouping"] or "")
