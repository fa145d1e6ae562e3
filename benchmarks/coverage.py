"""How often a 95 % interval holds the truth: users are simulated, so the truth is known in closed form.

    python benchmarks/coverage.py [--repetitions=2000] [--users=400] [--samples=400]
    python benchmarks/coverage.py --population=RUN_DIR/users.csv

A user has a gender (30 % / 70 %), one of five age groups and about 12 test items of six genres, and finds each with
probability ability * gender factor * age factor * genre factor, ability ~ Beta(1.2, 1.2). Each repetition draws new
users; two runs that are compared judge the same users. The three worlds put the groups at the boundary (all equal),
near it and far from it. With `--population` the users of a finished run are the population, drawn from with
replacement, and the truth is the mean of all of them: for figures that no formula simulates, and their real skewness.
Prints rows for docs/benchmarks.md.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from time import process_time

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from recbole_fair.metrics import bootstrap
from recbole_fair.metrics.formulas import FloatArray, Terms

GENDERS = np.array([0.3, 0.7])  # shares of users
AGES = np.array([0.28, 0.32, 0.2, 0.1, 0.1])
GENRES = np.array([0.3, 0.2, 0.15, 0.1, 0.05, 0.2])  # shares of a user's test items
ITEMS = 12
ABILITY = 0.5


@dataclass(frozen=True)
class World:
    """Factors at most 1, so that products are probabilities."""

    name: str
    gender: FloatArray
    age: FloatArray
    genre: FloatArray


EQUAL = World("equal", np.ones(2), np.full(5, 0.8), np.full(6, 0.5))
NEAR = World(
    "near",
    np.array([0.9, 1]),
    0.8 * np.array([1, 1.1, 0.9, 1.06, 0.94]),
    0.5 * np.array([1, 1.2, 0.8, 1.15, 0.85, 1]),
)
FAR = World(
    "far",
    np.array([0.6, 1]),
    np.array([1, 0.8, 0.6, 0.4, 0.2]),
    np.array([0.9, 0.6, 0.45, 0.3, 0.2, 0.05]),
)
THIRD = replace(NEAR, name="near, a third as accurate", genre=NEAR.genre / 3)

AGE_COLUMNS, GENRE_COLUMNS = slice(3, 8), slice(8, 14)
AGGREGATES: dict[str, Callable[[FloatArray], FloatArray]] = {
    "CV": lambda groups: groups.std(-1) / groups.mean(-1),
    "max-min": lambda groups: groups.max(-1) - groups.min(-1),
    "MIN": lambda groups: groups.min(-1),  # of 5 or 6 groups the lowest one
}
BOUNDARIES = np.array([np.nan, np.nan, *([0.0, 0.0, np.nan] * 2)])
NAMES = ["Recall", "F - M", *(f"{name} of {kind}" for kind in ("ages", "genres") for name in AGGREGATES)]


def figures(columns: FloatArray) -> FloatArray:
    """All that is judged, [..., 14] -> [..., 8]."""
    plain = [columns[..., 0], columns[..., 1] - columns[..., 2]]
    parts = [columns[..., part] for part in (AGE_COLUMNS, GENRE_COLUMNS)]
    return np.stack([*plain, *(function(part) for part in parts for function in AGGREGATES.values())], axis=-1)


def truth(world: World) -> FloatArray:
    """Recall, by gender, by age and by genre, of infinitely many users: [14]."""
    gender, age, genre = (float(x @ y) for x, y in ((world.gender, GENDERS), (world.age, AGES), (world.genre, GENRES)))
    columns = [
        np.array([gender * age * genre]),
        world.gender * age * genre,
        gender * world.age * genre,
        gender * age * world.genre,
    ]
    return ABILITY * np.concatenate(columns)


def draw(worlds: tuple[World, ...], users: int, generator: np.random.Generator) -> Iterator[Terms]:
    """What each world's recommender does for the same users, [U, 14]."""
    gender, age = (generator.choice(len(shares), users, p=shares) for shares in (GENDERS, AGES))
    ability = generator.beta(1.2, 1.2, users)
    relevant = generator.multinomial(1 + generator.poisson(ITEMS - 1, users), GENRES)  # [U, 6]
    member = np.hstack([np.ones((users, 1)), np.eye(2)[gender], np.eye(5)[age]])
    denominator = np.hstack([member, relevant > 0])
    for world in worlds:
        chance = (ability * world.gender[gender] * world.age[age])[:, None] * world.genre
        hits = generator.binomial(relevant, chance)
        recall = hits.sum(1, keepdims=True) / relevant.sum(1, keepdims=True)
        yield Terms(np.hstack([recall * member, hits / np.maximum(relevant, 1)]), denominator)


def resampled_figures(run: Terms, samples: int, seed: int) -> FloatArray:
    """The columns of every sample of users, [S, C]."""
    drawn = bootstrap.counts(len(run.numerator), samples, seed)
    return np.concatenate([run.resampled(counts.astype(float)) for counts in drawn])


def resampled(run: Terms, samples: int, seed: int) -> FloatArray:
    """What is judged of every sample of users, [S, 8]."""
    return figures(resampled_figures(run, samples, seed))


@dataclass(frozen=True)
class Coverage:
    """Shares of the repetitions, [8] each; a row for each of NAMES."""

    truth: FloatArray
    percentile: FloatArray
    bias_corrected: FloatArray
    widened: FloatArray
    marked: FloatArray


def single(world: World, repetitions: int, users: int, samples: int) -> Coverage:
    """How often the intervals of one run hold the true figures."""
    true = figures(truth(world))
    found = np.array([_held(world, true, users, samples, seed) for seed in range(repetitions)])
    return Coverage(true, *found.mean(0))


def _held(world: World, true: FloatArray, users: int, samples: int, seed: int) -> list[npt.NDArray[np.bool_]]:
    (run,) = draw((world,), users, np.random.default_rng(seed))
    point, draws = figures(run.value()), resampled(run, samples, seed)
    intervals = [
        bootstrap.percentile_interval(draws),
        bootstrap.bias_corrected_interval(draws, point),
        bootstrap.widened_interval(draws, point, boundary=BOUNDARIES),
    ]
    return [*((low <= true) & (true <= high) for low, high in intervals), bootstrap.near_boundary(draws, point)]


@dataclass(frozen=True)
class PairCoverage:
    """Shares of the repetitions, [8] each; `overstated`: the interval misses a true difference that is smaller."""

    truth: FloatArray
    held: FloatArray
    overstated: FloatArray


def pair(worlds: tuple[World, World], repetitions: int, users: int, samples: int) -> PairCoverage:
    """How often the interval of the difference of two runs holds the true one."""
    true = np.subtract(*(figures(truth(world)) for world in worlds))
    found = np.array([_pair_held(worlds, true, users, samples, seed) for seed in range(repetitions)])
    return PairCoverage(true, *found.mean(0))


def _pair_held(
    worlds: tuple[World, World], true: FloatArray, users: int, samples: int, seed: int
) -> list[npt.NDArray[np.bool_]]:
    runs = list(draw(worlds, users, np.random.default_rng(seed)))
    difference = np.subtract(*(figures(run.value()) for run in runs))
    draws = np.subtract(*(resampled(run, samples, seed) for run in runs))
    low, high = bootstrap.widened_interval(draws, difference)
    held = (low <= true) & (true <= high)
    return [held, ~held & (np.abs(difference) > np.abs(true))]


def print_single(repetitions: int, users: int, samples: int) -> None:
    print("| groups | figure | truth | percentile | bias-corrected | widened | marked |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for world in (EQUAL, NEAR, FAR):
        found = single(world, repetitions, users, samples)
        for place, name in enumerate(NAMES):
            shares = (found.percentile, found.bias_corrected, found.widened, found.marked)
            cells = " | ".join(f"{share[place]:.1%}" for share in shares)
            print(f"| {world.name} | {name} | {found.truth[place]:.4f} | {cells} |", flush=True)


def print_pairs(repetitions: int, users: int, samples: int) -> None:
    print("| first | second | figure | true difference | interval holds it | overstates it |")
    print("| --- | --- | --- | --- | --- | --- |")
    for worlds in ((NEAR, NEAR), (NEAR, THIRD), (FAR, EQUAL)):
        found = pair(worlds, repetitions, users, samples)
        for place, name in enumerate(NAMES):
            cells = " | ".join(f"{share[place]:.1%}" for share in (found.held, found.overstated))
            print(f"| {worlds[0].name} | {worlds[1].name} | {name} | {found.truth[place]:.4f} | {cells} |", flush=True)


def figures_of_users(path: str) -> tuple[list[str], Terms]:
    """The figures of a run's users.csv that are means over its users, or ratios of sums over them."""
    table = pd.read_csv(path)
    means = [name for name in table if re.match(r"[a-z_]+@", name)]
    ratios = [name for name in table if name.startswith("above[")]
    below = table[[name.replace("above[", "below[") for name in ratios]].to_numpy()
    terms = Terms(table[means + ratios].to_numpy(), np.hstack([np.ones((len(table), len(means))), below]))
    return means + [name.removeprefix("above[").partition("|")[0] for name in ratios], terms


def print_population(path: str, repetitions: int, users: int, samples: int) -> None:
    names, everyone = figures_of_users(path)
    held = np.zeros(len(names))
    for seed in range(repetitions):
        sample = everyone.of(np.random.default_rng([7, seed]).integers(len(everyone.numerator), size=users))
        low, high = bootstrap.percentile_interval(resampled_figures(sample, samples, seed))
        held += (low <= everyone.value()) & (everyone.value() <= high)
    print("| figure | of all | skewness of users | percentile interval holds it |")
    print("| --- | --- | --- | --- |")
    for name, true, skewness, share in zip(
        names, everyone.value(), stats.skew(everyone.numerator), held / repetitions, strict=True
    ):
        print(f"| {name} | {true:.4f} | {skewness:.1f} | {share:.1%} |")


def main() -> None:
    given = dict(word.removeprefix("--").split("=") for word in sys.argv[1:])
    repetitions, users, samples = (
        int(given.get(key, usual)) for key, usual in (("repetitions", 2000), ("users", 400), ("samples", 400))
    )
    start = process_time()
    print(f"{repetitions} repetitions of {users} users, {samples} samples each\n")
    if "population" in given:
        print_population(given["population"], repetitions, users, samples)
    else:
        print_single(repetitions, users, samples)
        print()
        print_pairs(repetitions, users, samples)
    print(f"\n{process_time() - start:.0f} s of processor time")


if __name__ == "__main__":
    main()
