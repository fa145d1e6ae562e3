"""What a configuration key may be: known or not, of which type, within which bounds (properties/keys.yaml)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from math import isnan
from pathlib import PurePath
from typing import Any

from recbole_fair.errors import UsageError
from recbole_fair.registry import nearest
from recbole_fair.settings import yamls

# bool is an int in Python, but not here: `epochs: yes` is a mistake.
_CHECKS = {
    "none": lambda value: value is None,
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "str": lambda value: isinstance(value, str),
    "list": lambda value: isinstance(value, (list, tuple)),
    "dict": lambda value: isinstance(value, dict),
}
_TYPE_OF = {bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "dict"}


@cache
def declared() -> Mapping[str, Mapping[str, Any]]:
    """Every key of keys.yaml with its type, bounds and help."""
    return {key: rule for key, rule in yamls.packaged("keys.yaml").items() if "section" not in rule}


def sections() -> Mapping[tuple[str, str], list[str]]:
    """The keys of each section, by its title and by whose keys they are: of every model, or of some."""
    by_section: dict[tuple[str, str], list[str]] = {}
    for key, rule in yamls.packaged("keys.yaml").items():
        if "section" in rule:
            current = by_section.setdefault((key.strip("[]"), rule["section"]), [])
        else:
            current.append(key)
    return by_section


def by_full_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values with aliases (lr) under the names of their keys; a key that is given by both is refused."""
    names = {rule["alias"]: key for key, rule in declared().items() if "alias" in rule}
    if twice := next((name for name in names.keys() & values if names[name] in values), None):
        raise UsageError(f"{twice}: is {names[twice]}, which is given too; keep one")
    return {names.get(key, key): value for key, value in values.items()}


def hashed(key: str) -> bool:
    """Whether a key changes what a run computes."""
    return bool(declared().get(key, {}).get("hash", True))


def marked(mark: str) -> frozenset[str]:
    """The keys that carry a mark."""
    return frozenset(key for key, rule in declared().items() if rule.get(mark))


def taken_by(command: str) -> tuple[str, ...]:
    """The keys of a run that a sub-command takes as well, in the order of keys.yaml."""
    return tuple(key for key, rule in declared().items() if command in rule.get("of", ()))


def handed_down(key: str) -> bool | None:
    """Whether a run's base takes a key over: True any base, False none, None one of the same model only."""
    mark: bool | None = declared().get(key, {}).get("base")
    return mark


def counts(key: str, value: Any) -> bool:
    """Whether a value enters the hash: a key is left out at `neutral`, what runs did before there was such a key."""
    rule = declared().get(key, {})
    return hashed(key) and not ("neutral" in rule and rule["neutral"] == value)


def check_name(key: str, read: Iterable[str]) -> None:
    """Refuse a key that is neither read nor declared: RecBole would take it without a word."""
    names = {*read, *declared()}
    if key in _ELSEWHERE and key not in names:
        raise UsageError(f"unknown key {key!r}: `recbole-fair {_ELSEWHERE[key]}` takes it")
    if key not in names:
        raise UsageError(f"unknown key {key!r}.{nearest(key, names)} `recbole-fair run --help` lists the keys")


# What is no key of a run but an option of another sub-command.
_ELSEWHERE = {
    "models": "compare", "seeds": "compare", "search": "tune", "num_samples": "tune", "out": "report",
    "users": "recommend", "recommendations": "audit", "interactions": "audit", "method": "rerank", "weight": "blend",
}  # fmt: skip


def as_declared(key: str, value: Any, default: Any) -> Any:
    """A value as the type of its key has it: `a,b` and a single value for a list, plain numbers, paths as text.

    >>> as_declared("topk", "5,20", None), as_declared("user_groups", "gender", None), as_declared("likes", [4, 5], "")
    ([5, 20], ['gender'], '[4,5]')
    """
    value, rule = plain(value), declared().get(key, {})
    kinds = _kinds(rule, default)
    if "list" in kinds:
        return _listed(value, alone=kinds == ["list"])
    if key in _OF_LISTS and isinstance(value, dict):
        return {name: _OF_LISTS[key](entry) for name, entry in value.items()}
    interval = "pattern" in rule and isinstance(value, list) and len(value) == 2 and all(map(_CHECKS["float"], value))
    return f"[{value[0]},{value[1]}]" if interval else value


def _kinds(rule: Mapping[str, Any], default: Any) -> list[str]:
    """The types that a key takes: as declared, else that of the host's default."""
    kinds = rule.get("type") or _TYPE_OF.get(type(default), "")
    return kinds.split() if isinstance(kinds, str) else list(kinds)


def plain(value: Any) -> Any:
    """Numbers of numpy as Python's, paths as text, any sequence as a list."""
    if isinstance(value, Mapping):
        return {plain(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(entry) for entry in value]
    if isinstance(value, PurePath):
        return str(value)
    return plain(value.tolist()) if hasattr(value, "tolist") and hasattr(value, "dtype") else value


def _listed(value: Any, alone: bool = True) -> Any:
    """`a,b` as [a, b]; a single value as a list, and no value as none, where a key takes nothing else."""
    if isinstance(value, str) and "," in value and not value.startswith(("[", "(")):
        return [_number_or_word(word.strip()) for word in value.split(",") if word.strip()]
    if value == "" and alone:
        return []
    return value if isinstance(value, (list, dict)) or value is None or not alone else [value]


def _number_or_word(word: str) -> Any:
    value = yamls.value_of(word, "list")
    return value if _CHECKS["float"](value) else word


# Keys whose entries are lists.
_OF_LISTS = {"load_col": _listed, "unload_col": _listed, "eval_args": lambda value: (
    {way: _listed(shares, alone=False) for way, shares in value.items()} if isinstance(value, dict) else value
)}  # fmt: skip


def check_value(key: str, value: Any, default: Any) -> None:
    """Refuse a value of another type than declared (else: than the host's default), or out of bounds."""
    yamls.refuse_control(value, key)
    rule = declared().get(key, {})
    kinds = _kinds(rule, default)
    if not kinds or (value is None and default is None):
        return
    if not any(_CHECKS[kind](value) for kind in kinds):
        raise UsageError(f"{key}={value!r}: expected {' or '.join(kinds)}" + _about(rule))
    _check_bounds(key, value, rule)


def _check_bounds(key: str, value: Any, rule: Mapping[str, Any]) -> None:
    if "pattern" in rule and isinstance(value, str) and not re.fullmatch(rule["pattern"], value):
        raise UsageError(f"{key}={value!r}: not of the form {rule['pattern']}" + _about(rule))
    if "choices" in rule and value is not None and value not in rule["choices"]:
        raise UsageError(f"{key}={value!r}: choose one of {rule['choices']}" + _about(rule))
    if not _CHECKS["float"](value):
        return
    lower, upper = rule.get("above", rule.get("min")), rule.get("below", rule.get("max"))
    too_low = lower is not None and (value <= lower if "above" in rule else value < lower)
    too_high = upper is not None and (value >= upper if "below" in rule else value > upper)
    if too_low or too_high or isnan(value):
        raise UsageError(f"{key}={value!r}: out of bounds, allowed is {_interval(rule)}" + _about(rule))


def _interval(rule: Mapping[str, Any]) -> str:
    low = f"({rule['above']}" if "above" in rule else f"[{rule.get('min', '-inf')}"
    high = f"{rule['below']})" if "below" in rule else f"{rule.get('max', 'inf')}]"
    return f"{low}, {high}"


def _about(rule: Mapping[str, Any]) -> str:
    return f" ({rule['help']})" if rule.get("help") else ""
