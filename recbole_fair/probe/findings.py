"""Attribute AUC: how well a user's attribute can be read from the state that a trained model keeps of the user.

UP5 (up5-cfp.md, A.3) trains a classifier on frozen states and reports its AUC. Where we differ: stratified 10-fold
cross-validation over users instead of one split of 9:1 (`probe_split: single` gives that), whose AUC on ML-100K has a
standard deviation of .06; and what chance gives stands beside. An AUC below .5 stays below: it is no leak turned round.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from recbole_fair.data.load import Data
from recbole_fair.errors import UsageError
from recbole_fair.groups import named
from recbole_fair.groups.membership import Groups
from recbole_fair.metrics.formulas import FloatArray, IntArray
from recbole_fair.probe.attack import (
    ATTACKERS,
    Attack,
    Plan,
    attack,
    attack_by,
    detectable_leak,
    null_aucs,
    told_from_chance,
)
from recbole_fair.probe.states import States, other_states, reader_of, user_states
from recbole_fair.probe.targets import Target, target_of
from recbole_fair.registry import nearest
from recbole_fair.screen import bars_wanted
from recbole_fair.settings.config import Config
from recbole_fair.training import checkpoint
from recbole_fair.training.trainer import FairTrainer

HEADER = ("user_id", "attribute", "fold", "class", "score")  # of probe.tsv


@dataclass(frozen=True)
class Finding:
    """What the attackers made of one attribute; the first of them was chosen before they were run.

    `reading` says which states and users where it is not the model's own of all users: decoder, seen, decoder_unseen.
    There only the chosen attacker is asked, and what chance gives is not (`null` is empty).
    """

    target: Target
    attacks: dict[str, Attack]
    null: FloatArray  # [S]
    reading: str = ""

    @property
    def chosen(self) -> Attack:
        """The attack that `attr_auc` is about."""
        return next(iter(self.attacks.values()))

    @property
    def values(self) -> dict[str, float]:
        """attr_auc[...] of the chosen attacker, attr_auc_<attacker>[...] of the others: never their maximum.

        attr_auc_null[...] is the mean under shuffled labels, attr_auc_<reading>[...] the chosen attacker's elsewhere.
        """
        chance = {self._key("attr_auc_null"): float(self.null.mean())} if len(self.null) else {}
        return {key: made.auc for key, made in self._named.items()} | chance

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Of the attacks over held-out users; of the null the range of its middle 95 %."""
        bounds = {key: made.interval for key, made in self._named.items()}
        if len(self.null):
            low, high = np.quantile(self.null, [0.025, 0.975])
            bounds[self._key("attr_auc_null")] = (low, high)
        return bounds

    @property
    def _named(self) -> dict[str, Attack]:
        _chosen, *others = self.attacks
        keys = [f"attr_auc_{self.reading}" if self.reading else "attr_auc", *(f"attr_auc_{name}" for name in others)]
        return {self._key(key): made for key, made in zip(keys, self.attacks.values(), strict=True)}

    def _key(self, metric: str) -> str:
        return f"{metric}[{self.target.attribute}]"

    @property
    def notes(self) -> list[str]:
        """What was left out, by name, and what an AUC below chance means."""
        absent = sorted({name for fold in self.chosen.folds for name in self._absent(fold.present)})
        parts = [*self.target.notes]
        if absent:
            parts.append(f"without held-out or training users in some fold, left out of its macro: {', '.join(absent)}")
        if self.chosen.interval[1] < 0.5:
            parts.append(
                "below chance: a draw, or states that were fitted on these users' labels and contradict them in folds"
                " of the same users; read attr_auc_unseen (hold_labels)"
            )
        return [f"{next(iter(self._named))}: {part}" for part in parts]

    def _absent(self, present: IntArray) -> list[str]:
        return [name for place, name in enumerate(self.target.names) if place not in present]

    def rows(self, tokens: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Rows of probe.tsv: the chosen attacker's probability of each class for each held-out user."""
        attribute = f"{self.target.attribute}@{self.reading}" if self.reading else self.target.attribute
        for number, fold in enumerate(self.chosen.folds, start=1):
            for user, row in zip(self.target.users[fold.users], fold.probabilities.tolist(), strict=True):
                for name, score in zip(self.target.names, row, strict=True):
                    if isfinite(score):  # the attacker saw the class
                        yield tokens[user], attribute, number, name, score


@dataclass(frozen=True)
class Probed:
    """All that a probe says of one run."""

    findings: tuple[Finding, ...]
    states: States
    tokens: tuple[str, ...]  # raw ids of the judged users

    @property
    def values(self) -> dict[str, float | None]:
        """Metrics of result.json; one that is undefined is None."""
        return {
            key: float(value) if isfinite(value) else None
            for finding in self.findings
            for key, value in finding.values.items()
        }

    @property
    def intervals(self) -> dict[str, list[float] | None]:
        """95 % bootstrap intervals over held-out users, by the same keys."""
        return {
            key: [float(bound) for bound in bounds] if np.isfinite(bounds).all() else None
            for finding in self.findings
            for key, bounds in finding.intervals.items()
        }

    @property
    def notes(self) -> list[str]:
        """For the warnings of result.json."""
        return [note for finding in self.findings for note in finding.notes]

    @property
    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Rows of probe.tsv under HEADER."""
        for finding in self.findings:
            yield from finding.rows(self.tokens)

    @property
    def table(self) -> str:
        """Attackers, chance and the majority class of each attribute, for the screen."""
        users, width = self.states.values.shape
        lines = [f"states: {users} users x {width}, read from {self.states.source}", *_lines(self.findings)]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def check(config: Config, data: Data, trainer: FairTrainer) -> None:
    """Refuse before training what could not be probed after it; leaves the random states as they were."""
    attributes = named.probed_groups(config, data)
    if not attributes:
        return
    attackers_of(config, trainer.model)
    for groups in attributes:
        _targets(config, groups, data.test.uid_list.numpy())
    before = checkpoint.random_state()
    try:
        reader_of(trainer, data)
    finally:
        checkpoint.set_random_state(*before)


def probe_run(config: Config, data: Data, trainer: FairTrainer, attributes: Sequence[Groups] | None = None) -> Probed:
    """Probe the states under the trainer's weights for `attributes`; without them for the key `probe`."""
    attackers, plan = attackers_of(config, trainer.model), plan_of(config)
    wanted = named.probed_groups(config, data) if attributes is None else attributes
    users, shuffles = data.test.uid_list.numpy(), int(config["probe_shuffles"])
    targets = [_targets(config, groups, users) for groups in wanted]
    states, elsewhere = user_states(trainer, data), other_states(trainer, data)
    readings = [
        ("_".join(filter(None, (place, whose))), own, target)
        for subsets in targets
        for place, own in {"": states, **elsewhere}.items()
        for whose, target in subsets.items()
    ]
    shown = bars_wanted() and bool(config["show_progress"])
    findings = [
        _finding(own, target, reading, attackers[:1] if reading else attackers, plan, shuffles, trainer.model)
        for reading, own, target in tqdm(readings, desc="probe", leave=False, disable=not shown)
    ]
    return Probed(tuple(findings), states, tuple(map(str, data.tokens(data.dataset.uid_field)[states.users])))


def plan_of(config: Config) -> Plan:
    """Folds go by `split_seed`: all training seeds of a comparison are probed on the same folds."""
    repeats, folds = int(config["probe_repeats"]), int(config["probe_folds"])
    return Plan(config["probe_split"], folds, repeats, config["probe_average"], int(config["split_seed"]))


def attackers_of(config: Config, model: Any = None) -> list[str]:
    """`probe_attackers`, the chosen one first, which reads states; others may be prompts that a model offers (P5)."""
    setting = config["probe_attackers"]
    names = list(dict.fromkeys([setting] if isinstance(setting, str) else setting))
    offered = [*ATTACKERS, *getattr(model, "prompt_attackers", ())]
    for name in names:
        if name not in offered:
            raise UsageError(
                f"probe_attackers={name!r}: no such attacker of {config.name}.{nearest(name, offered)}"
                f" Known: {', '.join(offered)}"
            )
    if not names:
        raise UsageError(f"probe_attackers: name at least one of {', '.join(ATTACKERS)}")
    if names[0] not in ATTACKERS:
        raise UsageError(
            f"probe_attackers={names}: attr_auc and what chance gives are of a classifier; name"
            f" {' or '.join(ATTACKERS)} first"
        )
    return names


def _targets(config: Config, groups: Groups, users: IntArray) -> dict[str, Target]:
    """All judged users, and where labels are held back those whose labels a defence had and the others."""
    targets = {"": target_of(config, groups, users)}
    if config["hold_labels"]:
        targets["unseen"] = target_of(config, groups, users, "unseen")
        with suppress(UsageError):  # too few to be attacked: nothing is lost that is judged
            targets["seen"] = target_of(config, groups, users, "seen")
    return targets


def _finding(
    states: States, target: Target, reading: str, attackers: Sequence[str], plan: Plan, shuffles: int, model: Any
) -> Finding:
    values = states.values[target.users]
    attacks = {
        name: attack(values, target.classes, name, plan)
        if name in ATTACKERS
        else _asked(model.prompt_attackers[name], states.users[target.users], target, plan)
        for name in attackers
    }
    null = np.empty(0) if reading else null_aucs(values, target.classes, attackers[0], plan, shuffles)
    return Finding(target, attacks, null, reading)


def _asked(attacker: Any, users: IntArray, target: Target, plan: Plan) -> Attack:
    """One draw of the folds, for an attacker that asks the model in words."""

    def asked(seen: IntArray, held_out: IntArray, seed: int) -> FloatArray:
        shown = users[seen], target.classes[seen]
        answers: FloatArray = attacker(target.attribute, target.names, *shown, users[held_out], seed)
        return answers

    return attack_by(asked, target.classes, replace(plan, repeats=1))


def _lines(findings: Sequence[Finding]) -> Iterator[str]:
    yield _line("attribute", "attacker", "auc", "95 % interval", "sd folds", "sd draws", "accuracy")
    for finding in findings:
        label, sizes = finding.target.attribute, finding.target.sizes
        for place, (name, made) in enumerate(finding.attacks.items()):
            interval = "-".join(map(_shown, made.interval)) if np.isfinite(made.auc) else "-"
            spreads = (_shown(_spread(made.by_fold)), _shown(_spread(made.by_draw)))
            shown = finding.reading or (name if place else f"{name} (chosen)")
            yield _line(label, shown, _shown(made.auc), interval, *spreads, _shown(made.accuracy))
        if finding.reading:
            continue
        yield _line(label, "shuffled labels", _shown(finding.null.mean()), "", "", _shown(_spread(finding.null)))
        yield _line(label, "majority class", _shown(0.5), "", "", "", _shown(sizes.max() / sizes.sum()))
        yield _resolution(finding)


def _resolution(finding: Finding) -> str:
    target, null = finding.target, finding.null
    sizes = ", ".join(f"{name} {size}" for name, size in zip(target.names, target.sizes, strict=True))
    return (
        f"  {len(target.users)} users ({sizes}); above {_shown(told_from_chance(null))} an AUC is told from chance,"
        f" from {_shown(detectable_leak(null))} on in 4 of 5 attempts"
    )


def _line(attribute: str, attacker: str, *cells: str) -> str:
    widths = (6, 13, 8, 8, 8)
    padded = (f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=False))
    return "  ".join([f"{attribute:<12}", f"{attacker:<17}", *padded]).rstrip()


def _shown(value: float) -> str:
    return f"{value:.4f}" if np.isfinite(value) else "-"


def _spread(values: FloatArray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")
