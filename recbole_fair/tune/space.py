"""A search space in Ray Tune's own words, checked in full before anything starts.

learning_rate: {loguniform: [1e-4, 1e-2]}
n_layers: {choice: [1, 2, 3]}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import isclose, isfinite, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_fair import registry
from recbole_fair.errors import UsageError
from recbole_fair.jobs.job import Job
from recbole_fair.settings import keys, yamls

if TYPE_CHECKING:
    from recbole_fair.settings.config import Config

_LISTS = ("choice", "grid_search")
_WHOLE = ("randint", "lograndint")  # whole numbers, the upper end left out, as Ray has it
_LOGARITHMIC = ("loguniform", "qloguniform", "lograndint")
_ARGUMENTS = {
    "uniform": "[low, high]", "loguniform": "[low, high]", "quniform": "[low, high, step]",
    "qloguniform": "[low, high, step]", "randint": "[low, high)", "lograndint": "[low, high)",
    "choice": "[value, ...]", "grid_search": "[value, ...]",
}  # fmt: skip


@dataclass(frozen=True)
class Domain:
    """The values of one key: a word of Ray Tune and its arguments."""

    word: str
    arguments: tuple[Any, ...]

    @property
    def listed(self) -> bool:
        """Whether the values are named one by one."""
        return self.word in _LISTS

    def probes(self) -> list[Any]:
        """Values to be checked in place of all: the listed ones, or both ends as they would be drawn."""
        if self.listed:
            return list(self.arguments)
        low, high = self.arguments[:2]
        return [low, high - 1] if self.word in _WHOLE else [float(low), float(high)]

    def draw(self, rng: np.random.Generator) -> Any:
        """One value: u ~ U(low, high), or base^u for logarithms, in steps of q, or rounded down to a whole number."""
        if self.listed:
            return self.arguments[rng.choice(np.arange(len(self.arguments)), size=1)[0]]
        low, high, *step = self.arguments
        if self.word == "randint":
            return int(rng.integers(low, high, size=1)[0])
        if step:
            low, high = np.ceil(low / step[0]) * step[0], np.floor(high / step[0]) * step[0]
        value = _power(rng, low, high) if self.word in _LOGARITHMIC else rng.uniform(low, high, size=1)[0]
        if self.word in _WHOLE:
            return int(np.floor(value))
        return float(np.round(value / step[0]) * step[0] if step else value)

    def for_ray(self) -> Any:
        """The same in Ray's objects."""
        from recbole_fair.jobs.rays import tune

        word = getattr(tune, self.word)
        return word(list(self.arguments)) if self.listed else word(*self.arguments)


def _power(rng: np.random.Generator, low: float, high: float) -> Any:
    exponent = rng.uniform(np.log(low) / np.log(10), np.log(high) / np.log(10), size=1)
    return (10**exponent)[0]


Space = dict[str, Domain]


def parse(values: Mapping[str, Any], where: str) -> Space:
    """The domains of a search file."""
    return {key: _domain(f"{where}: {key}", value) for key, value in values.items()}


def _domain(where: str, value: Any) -> Domain:
    if not isinstance(value, dict) or len(value) != 1:
        raise UsageError(f"{where}={value!r}: one word of Ray Tune and its values, as in {{loguniform: [1e-4, 1e-2]}}")
    ((word, arguments),) = value.items()
    if word not in _ARGUMENTS:
        words = ", ".join(f"{word}: {arguments}" for word, arguments in _ARGUMENTS.items())
        raise UsageError(f"{where}: unknown word {word!r}.{registry.nearest(word, _ARGUMENTS)} Known: {words}")
    if not isinstance(arguments, list) or not arguments:
        raise UsageError(f"{where}: {word} takes {_ARGUMENTS[word]}, not {arguments!r}")
    if word not in _LISTS:
        _check_interval(where, word, arguments)
    return Domain(word, tuple(arguments))


def _check_interval(where: str, word: str, arguments: Sequence[Any]) -> None:
    """Bounds are finite numbers in order, whole where whole numbers are drawn, above 0 for logarithms."""
    kinds: tuple[type, ...] = (int,) if word in _WHOLE else (int, float)
    numbers = all(isinstance(number, kinds) and not isinstance(number, bool) for number in arguments)
    expected = 3 if word.startswith("q") else 2
    if len(arguments) != expected or not numbers or not all(map(isfinite, arguments)):
        kind = "whole numbers" if word in _WHOLE else "numbers"
        raise UsageError(f"{where}: {word} takes {_ARGUMENTS[word]} of {kind}, not {list(arguments)}")
    low, high, *step = arguments
    if low >= high:
        raise UsageError(f"{where}: {word} {list(arguments)}: the lower bound must be below the upper one")
    if word in _LOGARITHMIC and low <= 0:
        raise UsageError(f"{where}: {word} {list(arguments)}: a logarithm needs a lower bound above 0")
    if step:
        _check_step(f"{where}: {word} {list(arguments)}", word, low, high, step[0])


def _check_step(where: str, word: str, low: float, high: float, step: float) -> None:
    """A step leads from one bound to the other, and is not 1, which Ray Tune takes for none."""
    if not 0 < step <= high - low:
        raise UsageError(f"{where}: the step must be above 0 and fit between the bounds")
    if not all(isclose(bound / step, round(bound / step)) for bound in (low, high)):
        raise UsageError(f"{where}: the bounds must be multiples of the step")
    if step == 1:
        integers = f"{word[1:].replace('uniform', 'randint')}: {[int(low), int(high) + 1]}"
        raise UsageError(f"{where}: Ray Tune ignores a step of 1; write {integers}")


def as_grid(space: Space, where: str) -> Space:
    """Every listed value tried once: each `choice` becomes a `grid_search`."""
    if intervals := [key for key, domain in space.items() if not domain.listed]:
        raise UsageError(
            f"{where}: {intervals[0]}: a grid needs listed values; use choice, or another search_algorithm"
        )
    return {key: Domain("grid_search", domain.arguments) for key, domain in space.items()}


def drawn(space: Space, seed: int, samples: int) -> list[dict[str, Any]]:
    """The values of all trials: `samples` draws for each combination of the grid, whose first key varies fastest.

    They are those that Ray Tune draws from the same seed, so that a search may change between the two.
    """
    rng = np.random.default_rng(seed)
    grid = sorted(key for key, domain in space.items() if domain.word == "grid_search")
    combinations = [
        dict(zip(grid, reversed(values), strict=True))
        for values in product(*(space[key].arguments for key in reversed(grid)))
    ]
    return [
        {key: fixed[key] if key in fixed else domain.draw(rng) for key, domain in space.items()}
        for _ in range(samples)
        for fixed in combinations
    ]


def grid_size(space: Space) -> int:
    """Combinations of all `grid_search` values: 1 where there are none."""
    return prod(len(domain.arguments) for domain in space.values() if domain.word == "grid_search")


def check(space: Space, job: Job, where: str) -> None:
    """Refuse a space that some trial would be refused for: foreign keys, wrong types, values out of bounds."""
    job.config  # noqa: B018 (what is wrong without any search is said first)
    for key, domain in space.items():
        root = key.partition(".")[0]
        _check_key(f"{where}: {key}", root, job)
        for value in domain.probes():
            _check_probe(f"{where}: {key}", job.over({key: value}), root)


def _check_key(where: str, root: str, job: Job) -> None:
    if root in keys.marked("yardstick") or not keys.hashed(root):
        raise UsageError(f"{where}: is not searched over; every trial has the same data, split, seed and figures")
    if root in job.keys:
        raise UsageError(f"{where}: is searched, and given as --{root} as well; keep one")


def _check_probe(where: str, job: Job, root: str) -> None:
    try:
        unused = job.config.unused
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    if root in unused:
        raise UsageError(f"{where}: not used by {job.model}")


def read(path: Path) -> Space:
    """The space of a search file."""
    return parse(yamls.read_mapping(path), str(path))


def find(config: Config, folder: Path | None = None, typed: str = "") -> Path | None:
    """The search file of a model: by its own name, its strategy's, its loss's, its base model's or its family's."""
    choice = config.choice
    strategies = [choice.name, *(row.name for row in reversed(choice.strategies))] if choice.strategies else []
    loss = [config.family] if config.family != choice.model.family else []
    names = dict.fromkeys([typed, *strategies, *loss, choice.model.name, choice.model.family])
    paths = ((folder or yamls.PROPERTIES / "search") / f"{name}.yaml" for name in names if name)
    return next((path for path in paths if path.is_file()), None)


def combinations(space: Space, names: frozenset[str]) -> Iterator[dict[str, Any]]:
    """Every combination of the listed values of some keys; one empty combination where none is searched over."""
    listed = {key: domain.arguments for key, domain in space.items() if key in names and domain.listed}
    for values in product(*listed.values()):
        yield dict(zip(listed, values, strict=True))
