"""Numbers and rare values put into bins."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from recbole_fair.errors import UsageError
from recbole_fair.groups.membership import Values

Bins = Mapping[str, str | Sequence[Any]]


OTHER = "other"


def binned(values: Values, bins: Bins | int, field: str, unknown: Sequence[str] = ()) -> tuple[Values, tuple[str, ...]]:
    """Replace raw values by the names of the bins that hold them; the new values and the names of all bins.

    A bin is an interval in RecBole's notation ("[0,35)") or a list of codes; a value outside every bin is unknown. A
    number instead of bins keeps that many values, those that most ids have, and calls the rest "other".

    >>> binned([(), ("17",), ("40",)], {"young": "[0,35)", "old": [40, 41]}, "age")
    ([(), ('young',), ('old',)], ('young', 'old'))
    >>> binned([(), ("Knopf",), ("Avon",), ("Avon",)], 1, "publisher")
    ([(), ('other',), ('Avon',), ('Avon',)], ('Avon', 'other'))
    """
    ignored = codes_of(unknown, "unknown_values")
    known = [tuple(value for value in entry if value not in ignored) for entry in values]
    if isinstance(bins, int) and not isinstance(bins, bool) and bins > 0:
        return _largest(known, bins)
    if not isinstance(bins, Mapping):
        raise UsageError(
            f"group_bins.{field}={bins!r}: name each bin, as in {{young: '[0,35)', old: '[35,inf)'}}, or say how many "
            "of the largest values to keep, as in 10"
        )
    holds = {name: _test_of(content, f"group_bins.{field}.{name}") for name, content in bins.items()}
    bin_of: dict[str, tuple[str, ...]] = {}
    for value in dict.fromkeys(value for entry in known for value in entry):
        bin_of[value] = tuple(name for name, test in holds.items() if test(value))
        if len(bin_of[value]) > 1:
            raise UsageError(
                f"group_bins.{field}: {value!r} is in {' and in '.join(bin_of[value])}; let bins not overlap"
            )
    return [tuple(name for value in entry for name in bin_of[value]) for entry in known], (*bins,)


def _largest(values: Values, count: int) -> tuple[Values, tuple[str, ...]]:
    """The `count` values that most ids have, ties by name, first; every other value becomes OTHER."""
    held = Counter(value for entry in values for value in entry)
    kept = sorted(held, key=lambda value: (-held[value], value))[:count]
    names = dict.fromkeys([*kept, OTHER] if len(held) > len(kept) else kept)
    return [tuple(dict.fromkeys(value if value in kept else OTHER for value in entry)) for entry in values], (*names,)


_INTERVAL = re.compile(r"([\[(])\s*([^,]+),\s*([^,]+)([\])])")


def _test_of(content: str | Sequence[Any], key: str) -> Callable[[str], bool]:
    if isinstance(content, (list, tuple)):
        return codes_of(content, key).__contains__
    return within(str(content), key)


def codes_of(values: Sequence[Any], key: str) -> frozenset[str]:
    """Values as the files have them; YAML turns the words NO and null into something else, which matches nothing.

    >>> sorted(codes_of([1, "NA"], "unknown_values"))
    ['1', 'NA']
    """
    for value in values:
        if value is None or isinstance(value, (bool, list, tuple, Mapping)):
            raise UsageError(f"{key}: {value!r} is no word; put it in quotes, as in ['NO', 'null', 'yes']")
    return frozenset(map(str, values))


def bounds(content: str, key: str) -> tuple[float, float, bool, bool]:
    """The ends of an interval such as "[18,35)", and whether each belongs to it; `key` names the setting."""
    found = _INTERVAL.fullmatch(content.strip())
    try:
        low, high = (float(found.group(2)), float(found.group(3))) if found else (1.0, 0.0)
    except ValueError:
        low, high = 1.0, 0.0
    if not found or not low <= high:
        raise UsageError(f"{key}={content!r}: an interval as in '[18,35)', or a list of codes")
    return low, high, found.group(1) == "[", found.group(4) == "]"


def within(content: str, key: str) -> Callable[[str], bool]:
    """A test of numbers written as text against an interval."""
    low, high, closed_low, closed_high = bounds(content, key)

    def holds(value: str) -> bool:
        try:
            number = float(value)
        except ValueError as error:
            raise UsageError(f"{key}: {value!r} is no number, yet the bin is an interval") from error
        return low < number < high or (closed_low and number == low) or (closed_high and number == high)

    return holds
