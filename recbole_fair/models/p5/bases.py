"""Which runs the rows on a frozen P5 stand on (bases.py of the package asks); no torch is needed to answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_fair.errors import UsageError

# What is given for a mixture is meant for its single prompts too; the P5 below is made with its own.
_OF_PROMPTS = """
    learning_rate weight_decay clip_grad_norm train_batch_size keep
    prefix_length prefix_width prefix_hidden prefix_dropout rounds joint_steps recommend_steps discriminate_steps
    discriminate_every adversary_weight adversary_learning_rate discriminate discriminator decay hold_labels
""".split()  # noqa: SIM905


def plain(_: Any) -> dict[str, Mapping[str, Any]]:
    """A P5 that knows of no attribute, so that one serves all attributes."""
    return {"": {"model": "P5", "sensitive_attribute": None}}


def single_prompts(config: Any) -> dict[str, Mapping[str, Any]]:
    """The same P5, and a CFP upon it for each attribute to be hidden."""
    given = config.external_config_dict
    named = {"base": config["base"]} if config["base"] else {}
    keys = {"model": "CFP", **named, **{key: given[key] for key in _OF_PROMPTS if key in given}}
    return {**plain(config), **{name: {**keys, "sensitive_attribute": name} for name in sensitive(config)}}


def sensitive(config: Any) -> list[str]:
    """The attributes to be hidden, at least one."""
    named = config["sensitive_attribute"]
    names = [named] if isinstance(named, str) else list(named or ())
    if not names:
        raise UsageError(f"{config.name}: name what is to be hidden, for example sensitive_attribute=gender")
    return names
