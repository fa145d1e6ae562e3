"""What a result says of its data and prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_fair.data.labeled import LabeledLoader
from recbole_fair.data.load import Data
from recbole_fair.evaluation.asking import Counts


def prompt_counts(loaded: Data, model: Any) -> dict[str, int]:
    """What a model that reads prompts has learnt from and was asked in the test, if it counts that."""
    if not isinstance(model, Counts):
        return {}
    left_out = len(loaded.parts["test"]) - len(loaded.test.labels) if isinstance(loaded.test, LabeledLoader) else 0
    learnt = model.training_counts(loaded.train.pairs)
    return {**learnt, **model.judged_counts(), "judged_left_out": left_out}


def prompt_warnings(counts: Mapping[str, int]) -> list[str]:
    """Judged prompts that tell nothing of a user's taste, where these are the most."""
    asked, bare = counts.get("judged_prompts", 0), counts.get("judged_without_history", 0)
    if 2 * bare <= asked:
        return []
    return [
        f"{bare} of {asked} judged prompts show no history: all that is known of most users is asked for; lower"
        " targets_per_user"
    ]


def data_facts(loaded: Data, fingerprint: str) -> dict[str, Any]:
    """What result.json says of the data."""
    return {
        "fingerprint": fingerprint,
        "split": loaded.split_digest(),
        "candidates": loaded.asked,
        "users": loaded.dataset.user_num - 1,
        "items": loaded.dataset.item_num - 1,
        "interactions": sum(len(loaded.pairs(phase)[0]) for phase in loaded.parts),
        "ties": loaded.tied_users(),
        "unseen": dict(loaded.unseen),
    }


def data_warnings(loaded: Data) -> list[str]:
    """Interactions that RecBole left out without a word (trap 10), and cuts that equal times leave to the file."""
    warnings = [
        f"{rows} of {loaded.rows_read} interactions are not used: {reason}"
        for reason, rows in loaded.dataset.dropped.items()
    ]
    if note := _unseen_note(loaded):
        warnings.append(note)
    if tied := loaded.tied_users():
        warnings.append(
            f"{tied} of {loaded.dataset.user_num - 1} users have interactions of one time on both sides of a cut"
            " between parts; there the order of the file decides (docs/data.md)"
        )
    return warnings


def _unseen_note(loaded: Data) -> str:
    """That held-out items were left out, or that many are there which no model can have learnt."""
    unseen, dropped = sum(loaded.unseen.values()), loaded.dataset.config["drop_unseen"]
    held_out = sum(len(loaded.pairs(phase)[0]) for phase in loaded.unseen) + (unseen if dropped else 0)
    if not unseen or not (dropped or unseen > 0.05 * held_out):
        return ""
    what = f"{unseen} of {held_out} validation and test interactions have an item that training does not hold"
    return f"{what}; they were left out (drop_unseen)" if dropped else f"{what}; drop_unseen=True leaves them out"
