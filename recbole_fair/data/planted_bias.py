"""A bias planted in training labels, so that a method has something to remove and its removal can be measured.

Arrays in, labels out. A draw depends on the set of (user, item) pairs and on the seed, not on the order of different
pairs, so a base and the rows that stand on it get the same flips (equal pairs, asked once a kind of prompt, go by their
order). Plant before anything subsamples the prompts; labels of validation and test stay natural.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from recbole_fair.errors import UsageError
from recbole_fair.metrics.formulas import BoolArray, IntArray


def label_of_value(values: IntArray, count: int) -> IntArray:
    """The label that each value index [N] of `count` values asks for: Yes (1) from the middle on, -1 where unknown.

    >>> label_of_value(np.array([0, 1, 2, -1]), 3).tolist()
    [0, 1, 1, -1]
    """
    if count < 2:
        raise UsageError("planted_bias: an attribute with one value has nothing for a label to follow; name another")
    return np.where(values < 0, -1, values >= count // 2)


def planted_bias(
    labels: BoolArray,
    users: IntArray,
    items: IntArray,
    asked: Mapping[str, IntArray],
    shares: Mapping[str, float],
    seed: int,
) -> BoolArray:
    """For shares[attribute] of the pairs [N], the label follows the attribute; the pairs of two attributes differ.

    asked[attribute] [N] is the label that the attribute of the pair's user asks for (`label_of_value`); pairs where
    it is -1 are never drawn. A share is of all N pairs. Attributes draw by name, so their order in a file is nothing.
    """
    random, shuffled = np.random.default_rng(seed), np.lexsort((items, users))
    random.shuffle(shuffled)
    planted, decided = np.array(labels, dtype=bool), np.zeros(len(labels), dtype=bool)
    for name in sorted(shares):
        free = shuffled[(asked[name][shuffled] >= 0) & ~decided[shuffled]]
        wanted = _whole(f"planted_bias={{{name}: {shares[name]:g}}}", shares[name], len(labels))
        if wanted > len(free):
            raise UsageError(
                f"planted_bias={{{name}: {shares[name]:g}}}: {wanted} of {len(labels)} training prompts, but only "
                f"{len(free)} are of users with a known {name} and not taken by another attribute: lower the shares"
            )
        planted[free[:wanted]] = asked[name][free[:wanted]] == 1
        decided[free[:wanted]] = True
    return planted


def planted_stereotype(
    labels: BoolArray,
    users: IntArray,
    items: IntArray,
    words: IntArray,
    member: BoolArray,
    share: float,
    seed: int,
    names: Sequence[str],
) -> BoolArray:
    """A stereotype between the word in a prompt and its target item: Yes to the word's own items, No to the others'.

    words [N] is the group whose word each prompt carries (-1: none), member [I, G] says which items are a stereotype
    of which group, names [G] are for the message. Each word gets as many planted Yes as No, `share` of the most that
    allow this: unbalanced labels would teach a share of Yes for each word, which is no stereotype. An item that is a
    stereotype of its word's group and of another counts as its own.
    """
    random, shuffled = np.random.default_rng(seed), np.lexsort((items, users))
    random.shuffle(shuffled)
    own = (words >= 0) & member[items, words]
    other = (words >= 0) & member[items].any(1) & ~own
    planted = np.array(labels, dtype=bool)
    for word, name in enumerate(names):
        of_word = shuffled[words[shuffled] == word]
        sides = of_word[own[of_word]], of_word[other[of_word]]
        wanted = _whole(f"planted_stereotype={share:g}", share, min(map(len, sides)))
        if not wanted:
            raise UsageError(
                f"planted_stereotype={share:g}: {len(sides[0])} training prompts with the word of {name} are about a "
                f"stereotype of it and {len(sides[1])} about another group's: give a larger share or a smaller sf_z"
            )
        for side, answer in zip(sides, (True, False), strict=True):
            planted[side[:wanted]] = answer
    return planted


def _whole(key: str, share: float, count: int) -> int:
    """The share of a count as a whole number."""
    if not 0 < share <= 1:
        raise UsageError(f"{key}: a share of the training prompts must be above 0 and at most 1")
    return round(share * count)
