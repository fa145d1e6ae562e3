"""What may stand in one table: runs of one data set, split and candidates, each counted once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from recbole_fair.errors import UsageError
from recbole_fair.report.runs import Run

_FACTS = ("fingerprint", "split", "candidates")
Facts = tuple[str, ...]  # data set, then one value for each of _FACTS


def facts_of(run: Run) -> Facts:
    """What two runs must share to be compared: the data set's name and content, the split, the candidates."""
    return (run.result.dataset, *(str(run.result.data.get(key)) for key in _FACTS))


def described(facts: Facts, sets: Iterable[Facts]) -> str:
    """The data set and what was ranked; of several sets of one data set, the first digits of what they differ in.

    >>> described(("ml-1m", "0a", "1b", "None"), [("ml-1m", "0a", "1b", "None"), ("ml-1m", "0a", "2c", "None")])
    'ml-1m, full ranking, split 1b'
    """
    digests = list(zip(*(other for other in sets if other[0] == facts[0]), strict=True))
    differing = [
        f"{what} {own[:6]}"
        for what, own, of_sets in zip(("data", "split", "candidates"), facts[1:], digests[1:], strict=True)
        if len(set(of_sets)) > 1 and own != "None"
    ]
    return ", ".join([facts[0], "full ranking" if facts[-1] == "None" else "fixed candidates", *differing])


def counted_once(runs: Iterable[Run]) -> list[Run]:
    """One run for each configuration and seed; copies must agree, and a failed copy gives way to a finished one."""
    once: dict[tuple[str, str, str, int], Run] = {}
    for run in runs:
        former = once.get(run.identity)
        once[run.identity] = run if former is None else _merged(former, run)
    return list(once.values())


def _merged(former: Run, run: Run) -> Run:
    if former.finished and run.finished and _figures(former) != _figures(run):
        raise UsageError(
            f"{former.name} and {run.name}: the same configuration ({run.result.config_hash}) and seed"
            f" ({run.result.seed}) with different figures; find out which is right and leave the other out"
        )
    primary, copy = (run, former) if run.finished and not former.finished else (former, run)
    return replace(primary, copies=(*primary.copies, copy.name, *copy.copies))


def _figures(run: Run) -> tuple[object, ...]:
    return (facts_of(run), run.result.status, run.result.valid, run.result.test)


def comparable(runs: Sequence[Run]) -> dict[Facts, list[Run]]:
    """Runs by what they share: a table each, since figures of two sets must not be compared.

    A run that ended before it knew its data stands with runs of its configuration, else with the first of its data set.
    """
    sets: dict[Facts, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (not run.result.data, facts_of(run), run.name)):
        sets.setdefault(_home(run, sets), []).append(run)
    return dict(sorted(sets.items()))


def _home(run: Run, sets: dict[Facts, list[Run]]) -> Facts:
    own = facts_of(run)
    if run.result.data:
        return own
    of_hash = [
        facts for facts, runs in sets.items() if run.result.config_hash in {one.result.config_hash for one in runs}
    ]
    return next(iter([*of_hash, *(facts for facts in sets if facts[0] == own[0])]), own)
