"""A search space in Ray Tune's own words, checked in full before anything starts.

learning_rate: {loguniform: [1e-4, 1e-2]}
n_layers: {choice: [1, 2, 3]}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import isfinite, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
# What every trial must share, or their validation figures could not be compared.
_YARDSTICK = frozenset(
    {"model", "dataset", "strategy", "split_seed", "base", "eval_args", "load_col", "val_interval", "likes", "window",
     "user_inter_num_interval", "item_inter_num_interval", "metrics", "topk", "valid_metric", "eval_protocol",
     "num_candidates", "targets_per_user", "yes_threshold", "item_groups", "user_groups", "genre_field", "group_bins",
     "unknown_values", "popular_share", "item_group_multi", "min_group_users", "group_utility", "group_utility_users",
     "sensitive_attribute", "probe", "probe_attackers", "probe_average", "probe_split", "probe_folds", "probe_repeats",
     "min_class_users", "small_classes", "sf_z", "sf_d", "sf_pairs", "max_eval_prompts", "learn_from", "rm_dup_inter",
     "filter_inter_by_user_or_item", "unload_col", "LABEL_FIELD", "threshold"}
)  # fmt: skip


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

    def for_ray(self) -> Any:
        """The same in Ray's objects."""
        from recbole_fair.jobs.rays import tune

        word = getattr(tune, self.word)
        return word(list(self.arguments)) if self.listed else word(*self.arguments)


Space = dict[str, Domain]


def parse(values: Mapping[str, Any], where: str) -> Space:
    """The domains of a search file."""
    return {key: _domain(f"{where}: {key}", value) for key, value in values.items()}


def _domain(where: str, value: Any) -> Domain:
    if not isinstance(value, dict) or len(value) != 1:
        raise UsageError(f"{where}={value!r}: one word of Ray Tune and its values, as in {{loguniform: [1e-4, 1e-2]}}")
    ((word, arguments),) = value.items()
    if word not in _ARGUMENTS:
        raise UsageError(f"{where}: unknown word {word!r}.{registry.nearest(word, _ARGUMENTS)} Known: {_words()}")
    if not isinstance(arguments, list) or not arguments:
        raise UsageError(f"{where}: {word} takes {_ARGUMENTS[word]}, not {arguments!r}")
    if word not in _LISTS:
        _check_interval(where, word, arguments)
    return Domain(word, tuple(arguments))


def _words() -> str:
    return ", ".join(f"{word}: {arguments}" for word, arguments in _ARGUMENTS.items())


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
    if step and not 0 < step[0] <= high - low:
        raise UsageError(f"{where}: {word} {list(arguments)}: the step must be above 0 and fit between the bounds")


def as_grid(space: Space, where: str) -> Space:
    """Every listed value tried once: each `choice` becomes a `grid_search`."""
    if intervals := [key for key, domain in space.items() if not domain.listed]:
        raise UsageError(
            f"{where}: {intervals[0]}: a grid needs listed values; use choice, or another search_algorithm"
        )
    return {key: Domain("grid_search", domain.arguments) for key, domain in space.items()}


def grid_size(space: Space) -> int:
    """Combinations of all `grid_search` values: 1 where there are none."""
    return prod(len(domain.arguments) for domain in space.values() if domain.word == "grid_search")


def check(space: Space, job: Job, where: str) -> None:
    """Refuse a space that some trial would be refused for: foreign keys, wrong types, values out of bounds."""
    job.config()  # what is wrong without any search is said first
    for key, domain in space.items():
        root = key.partition(".")[0]
        _check_key(f"{where}: {key}", root, job)
        for value in domain.probes():
            _check_probe(f"{where}: {key}", job.over({key: value}), root)


def _check_key(where: str, root: str, job: Job) -> None:
    if root in _YARDSTICK or not keys.hashed(root):
        raise UsageError(f"{where}: is not searched over; every trial has the same data, split, seed and figures")
    if root in job.keys:
        raise UsageError(f"{where}: is searched, and given as --{root} as well; keep one")


def _check_probe(where: str, job: Job, root: str) -> None:
    try:
        unused = job.config().unused
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
