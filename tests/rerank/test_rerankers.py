"""Every re-ranker against exhaustive search, its published loop, or what its equations promise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations, product

import numpy as np
import pytest
from scipy.optimize import linprog, minimize
from scipy.stats import binom

from recbole_fair.errors import UsageError
from recbole_fair.rerank.candidates import Candidates
from recbole_fair.rerank.fa_ir import adjusted, failing, minimum_protected
from recbole_fair.rerank.methods import METHODS
from recbole_fair.rerank.pmmf import onto_simplex
from recbole_fair.rerank.taxrank import welfare

pytestmark = pytest.mark.newest
Places = np.ndarray


def lists(seed: int, users: int, width: int, k: int, groups: int = 2, several: int = 0) -> Candidates:
    """Random lists; `several` items are in more than one group."""
    random = np.random.default_rng(seed)
    item_count = 2 * width + 1
    membership = np.zeros((item_count, groups), dtype=bool)
    membership[np.arange(1, item_count), random.integers(0, groups, item_count - 1)] = True
    membership[random.integers(1, item_count, several), random.integers(0, groups, several)] = True
    items = np.stack([random.permutation(np.arange(1, item_count))[:width] for _ in range(users)])
    return Candidates(
        items,
        -np.sort(-random.random((users, width)), axis=1),
        k,
        membership,
        user_groups=np.eye(2, dtype=bool)[np.arange(users) % 2],
        profile=random.dirichlet(np.ones(groups), users),
        relevant=random.random((users, width)) < 0.3,
    )


def scaled(lists: Candidates) -> np.ndarray:
    low, high = lists.scores.min(1, keepdims=True), lists.scores.max(1, keepdims=True)
    return (lists.scores - low) / (high - low)


def every_choice(lists: Candidates) -> Iterator[Places]:
    """All ways to give every user K of its candidates."""
    users, width = lists.items.shape
    for sets in product(combinations(range(width), lists.k), repeat=users):
        yield np.array(sets)


def score_of(lists: Candidates, places: Places) -> float:
    values = scaled(lists)
    return sum(values[user, place] for user, row in enumerate(places) for place in row)


def counted(lists: Candidates, places: Places) -> np.ndarray:
    """List places by group in plain loops; an item of m groups counts 1/m in each."""
    found = np.zeros(lists.membership.shape[1])
    for user, row in enumerate(places):
        for place in row:
            groups = np.flatnonzero(lists.membership[lists.items[user, place]])
            found[groups] += 1 / max(len(groups), 1)
    return found


def due(lists: Candidates) -> np.ndarray:
    share = np.zeros(lists.membership.shape[1])
    for member in lists.membership[1:]:
        share[member] += 1 / max(member.sum(), 1)
    return share / share.sum()


# --- all of them


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("strength", [0.0, 0.1, 0.9, math.inf])
def test_a_list_holds_k_different_candidates(name: str, strength: float) -> None:
    given = lists(1, 40, 20, 6, groups=4, several=15)
    places = METHODS[name].choose(given, min(strength, METHODS[name].most, 1e4))
    assert places.shape == (40, 6)
    assert all(len(set(row)) == 6 and min(row) >= 0 and max(row) < 20 for row in places.tolist())


@pytest.mark.parametrize("name", METHODS)
def test_without_strength_lists_stay_as_they_are(name: str) -> None:
    given = lists(2, 30, 12, 5, groups=3, several=6)
    assert (METHODS[name].choose(given, 0.0) == np.arange(5)).all()


@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"FA-IR", "MMR"}))
def test_a_chosen_set_stays_in_the_order_of_its_list(name: str) -> None:
    places = METHODS[name].choose(lists(3, 20, 12, 5, groups=3, several=6), min(0.5, METHODS[name].most))
    assert (np.diff(places, axis=1) > 0).all()
    assert (places > np.arange(5)).any()  # it did choose


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("strength", [0.5, math.inf])
def test_an_empty_place_is_taken_only_where_nothing_else_is_left(name: str, strength: float) -> None:
    full = lists(3, 20, 10, 4, groups=3)
    items, scores = full.items.copy(), full.scores.copy()
    items[:, 4:], scores[:, 4:] = 0, -np.inf
    items[0, 3], scores[0, 3] = 0, -np.inf
    short = Candidates(items, scores, 4, full.membership, None, full.user_groups, full.profile, full.relevant)
    places = METHODS[name].choose(short, min(strength, METHODS[name].most, 1e4))
    assert (np.sort(places[1:], axis=1) == np.arange(4)).all()
    assert set(places[0]) >= {0, 1, 2}


@pytest.mark.parametrize("name", METHODS)
def test_users_are_told_apart_across_chunks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from recbole_fair.rerank import candidates, fairrec

    given = lists(4, 37, 12, 4, groups=3, several=5)
    whole = METHODS[name].choose(given, 0.3)
    monkeypatch.setattr(fairrec, "_ROWS", 5)
    monkeypatch.setattr(Candidates.chunks, "__defaults__", (5,))
    assert candidates.Candidates.chunks.__defaults__ == (5,)
    assert (METHODS[name].choose(given, 0.3) == whole).all()


def test_a_strength_without_a_meaning_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--strength=1\.5: p, the share"):
        METHODS["FA-IR"].check(1.5)
    with pytest.raises(UsageError, match="from 0"):
        METHODS["MinMax"].check(-1.0)
    with pytest.raises(UsageError, match=r"--strength=60: t, the tax rate, from 0 to 50"):
        METHODS["TaxRank"].check(60)
    with pytest.raises(UsageError, match="--strength=nan"):
        METHODS["MinMax"].check(math.nan)


# --- MinMax


@pytest.mark.parametrize("strength", [0.05, 0.5, 5.0])
def test_minmax_is_the_published_loop(strength: float) -> None:
    given = lists(5, 30, 12, 4, groups=3, several=8)
    values, wanted = scaled(given), due(given) * 30 * 4
    so_far, expected = np.zeros(3), []
    for user in range(30):
        relative = so_far / wanted
        penalised = []
        for place in range(12):
            groups = np.flatnonzero(given.membership[given.items[user, place]])
            penalty = sum(relative[g] - relative.min() for g in groups) / len(groups)
            penalised.append(values[user, place] - strength * penalty)
        expected.append(sorted(sorted(range(12), key=lambda place: (-penalised[place], place))[:4]))
        so_far += counted(given, np.array([[0] * 0]))
        for place in expected[-1]:
            groups = np.flatnonzero(given.membership[given.items[user, place]])
            so_far[groups] += 1 / len(groups)
    assert METHODS["MinMax"].choose(given, strength).tolist() == expected


@pytest.mark.parametrize("seed", range(5))
def test_a_strong_minmax_comes_near_the_most_that_the_worst_off_group_can_have(seed: int) -> None:
    given = lists(seed, 3, 5, 2, groups=2)
    most = max((counted(given, places) / due(given)).min() for places in every_choice(given))
    found = (counted(given, METHODS["MinMax"].choose(given, 50.0)) / due(given)).min()
    before = (counted(given, METHODS["MinMax"].choose(given, 0.0)) / due(given)).min()
    assert before <= found <= most + 1e-12
    assert found >= most - 1 / due(given).min(), "one place of the group less at most"


# --- CPFair


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("users", [False, True])
def test_cpfair_is_the_optimum_of_its_objective(seed: int, users: bool) -> None:
    given = lists(seed, 3, 5, 2, groups=2)
    if not users:
        given = Candidates(given.items, given.scores, given.k, given.membership)
    shown, wanted = counted(given, np.tile([0, 1], (3, 1))), due(given)
    ahead = shown / shown.sum() > wanted
    quality = given.scores[:, :2].mean(1) if given.relevant is None else given.relevant[:, :2].mean(1)
    sides = [quality[np.arange(3) % 2 == side].mean() > quality.mean() for side in (0, 1)]

    def objective(places: Places) -> float:
        values, total = scaled(given), 0.0
        for user, row in enumerate(places):
            for place in row:
                group = int(given.membership[given.items[user, place]].argmax())
                total += values[user, place] - 0.3 * (1 if ahead[group] else -1)
                if users:
                    total -= 0.3 * values[user, place] * (1 if sides[user % 2] else -1)
        return total

    found = METHODS["CPFair"].choose(given, 0.3)
    assert objective(found) == pytest.approx(max(map(objective, every_choice(given))), abs=1e-12)


# --- UGF


@pytest.mark.parametrize("seed", range(6))
def test_no_choice_with_as_small_a_difference_scores_higher_than_ugf(seed: int) -> None:
    given = lists(seed, 4, 5, 2)
    assert given.relevant is not None
    better = [given.relevant[side::2, :2].mean() > given.relevant[:, :2].mean() for side in (0, 1)]

    def difference(places: Places) -> float:
        hits = [np.mean([given.relevant[user, place] for place in row]) for user, row in enumerate(places)]
        sides = {True: [], False: []}  # type: dict[bool, list[float]]
        for user, hit in enumerate(hits):
            sides[bool(better[user % 2])].append(float(hit))
        return np.mean(sides[True]) - np.mean(sides[False]) if all(sides.values()) else -np.inf

    for strength in (0.5, 1.0):
        found = METHODS["UGF"].choose(given, strength)
        rivals = [places for places in every_choice(given) if difference(places) <= difference(found) + 1e-12]
        assert score_of(given, found) == pytest.approx(max(score_of(given, places) for places in rivals), abs=1e-9)


def test_ugf_brings_the_sides_together() -> None:
    given = lists(0, 400, 20, 5)
    assert given.relevant is not None
    given.relevant[::2, :5] |= True  # those served better

    def difference(places: Places) -> float:
        hits = np.take_along_axis(given.relevant, places, axis=1).mean(1)
        return float(hits[::2].mean() - hits[1::2].mean())

    gaps = [difference(METHODS["UGF"].choose(given, strength)) for strength in (0.0, 0.5, 1.0)]
    assert gaps[0] > 0.5
    assert gaps[1] <= 0.5 * gaps[0] + 1e-9 and gaps[2] <= 1e-9


# --- FA-IR


def test_minimum_counts_are_those_of_the_papers_table() -> None:
    """Table 2 of the paper, alpha = 0.1."""
    table = {
        0.1: [0] * 12,
        0.3: [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2],
        0.5: [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4],
        0.7: [0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 6, 6],
    }
    for p, expected in table.items():
        assert minimum_protected(12, p, 0.1).tolist() == expected


@pytest.mark.parametrize("p", [0.2, 0.5, 0.7])
def test_a_fair_list_fails_as_often_as_all_sequences_say(p: float) -> None:
    required, exact = minimum_protected(8, p, 0.1), 0.0
    for sequence in product((0, 1), repeat=8):
        if any(sum(sequence[: k + 1]) < required[k] for k in range(8)):
            exact += p ** sum(sequence) * (1 - p) ** (8 - sum(sequence))
    assert failing(required, p) == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("p", [0.2, 0.5, 0.7])
@pytest.mark.parametrize("k", [5, 20])
def test_the_adjusted_level_is_the_largest_that_keeps_the_promise(k: int, p: float) -> None:
    level = adjusted(k, p, 0.1)
    assert failing(minimum_protected(k, p, level), p) <= 0.1
    steps = sorted(binom.cdf(j, n, p) for n in range(1, k + 1) for j in range(n))
    following = next((step for step in steps if step > level + 1e-9), 1.0)
    assert level == 0.1 or following > 0.1 or failing(minimum_protected(k, p, following), p) > 0.1


@pytest.mark.parametrize("seed", range(5))
def test_fa_ir_is_the_best_list_whose_prefixes_hold_enough(seed: int) -> None:
    """In-group order aside, the paper's theorem: the largest total score among lists that pass every prefix."""
    given = lists(seed, 1, 6, 4)
    protected = [not given.ahead[pattern] for pattern in given.patterns(slice(None))[0]]
    required = minimum_protected(4, 0.7, adjusted(4, 0.7, 0.1))
    found = METHODS["FA-IR"].choose(given, 0.7)[0].tolist()
    enough = sum(protected) >= required[-1]
    prefixes = [sum(protected[place] for place in found[: k + 1]) for k in range(4)]
    assert not enough or all(held >= minimum for held, minimum in zip(prefixes, required, strict=True))
    rivals = [row for row in combinations(range(6), 4) if sum(protected[p] for p in row) >= required[-1]]
    if enough:
        assert score_of(given, np.array([found])) == pytest.approx(
            max(score_of(given, np.array([row])) for row in rivals)
        )


# --- P-MMF


def exposure_objective(given: Candidates, places: Places, strength: float) -> float:
    size = places.size
    return score_of(given, places) / size + strength * (counted(given, places) / size / due(given)).min()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("strength", [0.1, 1.0])
def test_pmmf_comes_near_the_best_choice_of_all(seed: int, strength: float) -> None:
    given = lists(seed, 3, 5, 2, groups=2)
    best = max(exposure_objective(given, places, strength) for places in every_choice(given))
    found = exposure_objective(given, METHODS["P-MMF"].choose(given, strength), strength)
    plain = exposure_objective(given, np.tile([0, 1], (3, 1)), strength)
    assert plain - 1e-12 <= found <= best + 1e-12
    assert best - found <= 1.1 * strength / (6 * due(given).min()), "one place of six"


def test_pmmf_is_within_a_thousandth_of_the_linear_programme() -> None:
    given, strength = lists(7, 300, 12, 4, groups=3), 1.0
    values, wanted = scaled(given), due(given)
    users, width = given.items.shape
    size = users * given.k
    cost = np.append(-values.ravel() / size, -strength)
    member = given.membership[given.items].astype(float)  # [U, C, G]
    above = np.column_stack([-(member / size / wanted).reshape(-1, 3).T, np.ones(3)])
    rows = np.kron(np.eye(users), np.ones(width))
    solved = linprog(cost, above, np.zeros(3), np.column_stack([rows, np.zeros(users)]), np.full(users, given.k),
                     bounds=[*[(0, 1)] * (users * width), (None, None)])  # fmt: skip
    found = exposure_objective(given, METHODS["P-MMF"].choose(given, strength), strength)
    assert -solved.fun * 0.999 <= found <= -solved.fun + 1e-9
    assert found > exposure_objective(given, np.tile(np.arange(4), (users, 1)), strength)


@pytest.mark.parametrize("seed", range(10))
def test_the_projection_is_the_nearest_point(seed: int) -> None:
    random = np.random.default_rng(seed)
    values, total = random.normal(size=5), random.uniform(0.1, 3)
    nearest = minimize(
        lambda v: ((v - values) ** 2).sum(),
        np.full(5, total / 5),
        bounds=[(0, None)] * 5,
        constraints={"type": "eq", "fun": lambda v: v.sum() - total},
        options={"ftol": 1e-14},
    )
    np.testing.assert_allclose(onto_simplex(values, total), nearest.x, atol=1e-6)


# --- FairRec


@pytest.mark.parametrize("strength", [0.3, 0.8, 1.0])
@pytest.mark.parametrize("groups", [2, 4])
def test_fairrec_gives_every_group_its_minimum(strength: float, groups: int) -> None:
    given = lists(8, 60, 20, 5, groups=groups)
    guaranteed = int(strength * 60 * 5 / groups)
    found = counted(given, METHODS["FairRec"].choose(given, strength))
    assert found.min() >= guaranteed


def test_fairrec_takes_turns_as_the_published_loop_does() -> None:
    given = lists(9, 25, 12, 4, groups=3)
    lacking = [int(0.9 * 25 * 4 / 3)] * 3
    chosen = [[] for _ in range(25)]  # type: list[list[int]]
    for _ in range(4):
        for user in range(25):
            for place in range(12):
                group = int(given.membership[given.items[user, place]].argmax())
                if lacking[group] > 0 and place not in chosen[user]:
                    chosen[user].append(place)
                    lacking[group] -= 1
                    break
    for row in chosen:
        row.extend([place for place in range(12) if place not in row][: 4 - len(row)])
    assert METHODS["FairRec"].choose(given, 0.9).tolist() == [sorted(row) for row in chosen]


# --- TaxRank


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_taxrank_comes_near_the_best_welfare_of_all(seed: int, rate: float) -> None:
    given = lists(seed, 3, 5, 2, groups=2)
    wanted, values = due(given), scaled(given)

    def value(places: Places) -> float:
        worth = np.zeros(2)
        for user, row in enumerate(places):
            for place in row:
                worth[given.membership[given.items[user, place]].argmax()] += values[user, place] / 6
        each = [max(one, 1e-6) for one in worth / wanted]
        return sum(
            share * (math.log(y) if rate == 1 else y ** (1 - rate) / (1 - rate))
            for share, y in zip(wanted, each, strict=True)
        )

    all_values = sorted(map(value, every_choice(given)))
    found = value(METHODS["TaxRank"].choose(given, rate))
    assert value(np.tile([0, 1], (3, 1))) - 1e-12 <= found <= all_values[-1] + 1e-12
    assert found >= np.quantile(all_values, 0.97)


def test_welfare_by_hand() -> None:
    worth, shares = np.array([0.2, 0.3]), np.array([0.4, 0.6])
    assert welfare(worth, shares, 0.0) == pytest.approx(0.5)
    assert welfare(worth, shares, 1.0) == pytest.approx(math.log(0.5))


def test_the_highest_tax_rate_still_tells_lists_apart_where_a_group_has_no_place() -> None:
    unshown = welfare(np.array([0.0, 0.5]), np.array([0.4, 0.6]), METHODS["TaxRank"].most)
    assert math.isfinite(unshown)
    assert unshown < welfare(np.array([0.1, 0.4]), np.array([0.4, 0.6]), METHODS["TaxRank"].most)


# --- Calibrated


def calibration(given: Candidates, user: int, row: tuple[int, ...] | list[int], strength: float) -> float:
    """Steck's objective in plain loops."""
    assert given.profile is not None
    p, q = given.profile[user], np.zeros(given.membership.shape[1])
    for place in row:
        groups = np.flatnonzero(given.membership[given.items[user, place]])
        q[groups] += 1 / len(groups) / len(row)
    blended = 0.99 * q + 0.01 * p
    divergence = sum(p[g] * math.log(p[g] / blended[g]) for g in range(len(p)) if p[g] > 0)
    return float((1 - strength) * sum(scaled(given)[user, place] for place in row) - strength * divergence)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("strength", [0.2, 0.5, 0.9])
def test_calibrated_is_the_greedy_loop_and_keeps_its_bound(seed: int, strength: float) -> None:
    given = lists(seed, 3, 8, 3, groups=3, several=5)
    found = METHODS["Calibrated"].choose(given, strength)
    for user in range(3):
        row: list[int] = []
        for _ in range(3):
            free = [place for place in range(8) if place not in row]
            row.append(max(free, key=lambda place: (calibration(given, user, [*row, place], strength), -place)))
        assert found[user].tolist() == sorted(row)
        values = [calibration(given, user, chosen, strength) for chosen in combinations(range(8), 3)]
        floor = strength * math.log(0.01)  # of -lambda KL: the shift that makes the objective no less than 0
        reached = calibration(given, user, row, strength)
        assert reached - floor >= (1 - 1 / math.e) * (max(values) - floor)


# --- MMR


@pytest.mark.parametrize("strength", [0.2, 0.7, 1.0])
def test_mmr_is_its_loop(strength: float) -> None:
    given = lists(10, 6, 12, 5, groups=4, several=10)
    values = scaled(given)

    def similar(one: int, other: int) -> float:
        a, b = (given.membership[item].astype(float) for item in (one, other))
        return float(a @ b / math.sqrt((a @ a) * (b @ b)))

    found = METHODS["MMR"].choose(given, strength)
    for user in range(6):
        items, row = given.items[user], []  # type: np.ndarray, list[int]
        for _ in range(5):
            free = [place for place in range(12) if place not in row]

            def worth(place: int, user: int = user, items: np.ndarray = items, row: list[int] = row) -> float:
                nearest = max((similar(items[place], items[other]) for other in row), default=0.0)
                return float((1 - strength) * values[user, place] - strength * nearest)

            row.append(max(free, key=lambda place: (round(worth(place), 12), -place)))
        assert found[user].tolist() == row


# --- due shares


def test_a_target_takes_the_place_of_the_catalogues_shares() -> None:
    given = lists(11, 200, 20, 5, groups=2)
    told = Candidates(given.items, given.scores, 5, given.membership, target=np.array([0.8, 0.2]))
    shares = counted(told, METHODS["MinMax"].choose(told, 20.0)) / 1000
    assert shares == pytest.approx([0.8, 0.2], abs=0.02)


def test_a_group_that_no_list_could_show_is_due_nothing() -> None:
    given = lists(12, 20, 8, 3, groups=2)
    wide = np.column_stack([given.membership, np.zeros(len(given.membership), dtype=bool)])
    wide = np.vstack([wide, [False, False, True]])  # an item that stands in no list
    told = Candidates(given.items, given.scores, 3, wide)
    assert told.due[2] == 0 and told.due.sum() == pytest.approx(1)
    for name in ("MinMax", "P-MMF", "TaxRank", "FairRec"):
        assert (METHODS[name].choose(told, 0.5) == METHODS[name].choose(given, 0.5)).all()
