"""Whom an attacker is asked about: the users of an attribute and the class of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from recbole_fair.data.subsets import held_back
from recbole_fair.errors import UsageError
from recbole_fair.groups.membership import Groups
from recbole_fair.metrics.formulas import IntArray
from recbole_fair.settings.config import Config

_MERGED = "small classes"


@dataclass(frozen=True)
class Target:
    """The users of one attribute and the class of each; `notes` name who was left out."""

    attribute: str
    names: tuple[str, ...]
    users: IntArray  # [U] places among the judged users
    classes: IntArray  # [U]
    notes: tuple[str, ...]

    @property
    def sizes(self) -> IntArray:
        """Users of each class."""
        return np.bincount(self.classes, minlength=len(self.names))


# Of whom: everybody, those whose labels a defence had, or those whose labels `hold_labels` kept from it.
Whose = Literal["", "seen", "unseen"]
_SAID: Mapping[Whose, str] = {
    "": "", "seen": " whose labels a defence has", "unseen": " whose labels hold_labels keeps from the defence"
}  # fmt: skip


def target_of(config: Config, groups: Groups, users: IntArray, whose: Whose = "") -> Target:
    """Users with exactly one known value of an attribute, in classes of at least `min_class_users`."""
    member = groups.membership[users]
    asked = np.ones(len(users), dtype=bool)
    if whose:
        asked = held_back(config, len(groups.membership))[users] == (whose == "unseen")
    labeled = np.flatnonzero(asked & (member.sum(axis=1) == 1))
    target = Target(groups.field, groups.names, labeled, member[labeled].argmax(axis=1), ())
    if unknown := int(asked.sum()) - len(labeled):
        target = _noted(target, f"{unknown} of {asked.sum()} users left out: no single known value")
    least = int(config["min_class_users"])
    target = _with_large(target, least, merge=config["small_classes"] == "merge")
    if len(target.names) < 2:
        raise UsageError(
            f"{groups.field}: a probe needs two classes of at least min_class_users={least} judged users"
            f"{_SAID[whose]}, found {', '.join(target.names) or 'none'}" + "".join(f"; {note}" for note in target.notes)
        )
    return target


def _with_large(target: Target, least: int, *, merge: bool) -> Target:
    """The target without classes of fewer than `least` users, or with these as one class if that is large enough."""
    small = np.flatnonzero(target.sizes < least)
    if not len(small):
        return target
    sizes = ", ".join(f"{target.names[place]} ({target.sizes[place]})" for place in small)
    large = np.setdiff1d(np.arange(len(target.names)), small)
    if not merge:
        return _noted(_only(target, large), f"classes of fewer than {least} users left out: {sizes}")
    together = len(target.names)
    classes = np.where(np.isin(target.classes, small), together, target.classes)
    merged = _only(replace(target, names=(*target.names, _MERGED), classes=classes), np.append(large, together))
    noted = _noted(merged, f"classes of fewer than {least} users merged: {sizes}")
    return _with_large(noted, least, merge=False)


def _only(target: Target, classes: IntArray) -> Target:
    """The users of some classes, numbered anew."""
    chosen = np.isin(target.classes, classes)
    names = tuple(target.names[place] for place in classes)
    return replace(
        target, names=names, users=target.users[chosen], classes=np.searchsorted(classes, target.classes[chosen])
    )


def _noted(target: Target, note: str) -> Target:
    return replace(target, notes=(*target.notes, note))
