"""Names that tell rows apart: the model's, what it is made of, its strategies' settings, and what twins differ in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from recbole_fair import registry
from recbole_fair.errors import UsageError
from recbole_fair.report.runs import Run, config_of
from recbole_fair.settings import keys, yamls

_SHOWN = 4  # keys that twins differ in are all named up to so many, else the fewest that tell them apart
_PARTS = 3  # so many runs that a blend is made of are named


def labels(runs: Sequence[Run]) -> list[str]:
    """A different label for each of the runs, one a row; `--reference` takes it too."""
    configs = [_flat(config_of(run.folder)) for run in runs]
    of_name: dict[str, list[Mapping[str, Any]]] = {}
    for run, config in zip(runs, configs, strict=True):
        of_name.setdefault(_name(run), []).append(config)
    texts = [_label(run, config, of_name[_name(run)]) for run, config in zip(runs, configs, strict=True)]
    often = Counter(texts)
    return [
        f"{text} [{run.result.config_hash[:6]}]" if often[text] > 1 else text
        for run, text in zip(runs, texts, strict=True)
    ]


def strengths(runs: Sequence[Run]) -> list[float] | None:
    """What the runs of one model differ in, if that is one number; None where it is more or something else."""
    configs = [_flat(config_of(run.folder)) for run in runs]
    differing = _differing(configs)
    if len(differing) != 1:
        return None
    values = [config[differing[0]] for config in configs]
    return values if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values) else None


def _name(run: Run) -> str:
    """The model, and what it is made of where that is several runs: Blend of AlphaRec + EASE."""
    parts = sorted(run.result.bases)
    if len(parts) > _PARTS:
        return f"{run.result.model} of {len(parts)} runs"
    return f"{run.result.model} of {' + '.join(parts)}" if len(parts) > 1 else run.result.model


def _label(run: Run, config: Mapping[str, Any], twins: Sequence[Mapping[str, Any]]) -> str:
    """Its name, and the few keys in which its configuration differs from others of the same name."""
    shown = dict.fromkeys([*_telling(twins), *_set(run, config)])
    listed = ", ".join(f"{key}={config[key]}" for key in shown)
    return f"{_name(run)} ({listed})" if listed else _name(run)


def _telling(twins: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys that twins differ in; of many the few that tell most twins apart, each time the one that tells most."""
    left = _differing(twins)
    if len(left) <= _SHOWN:
        return left
    chosen: list[str] = []

    def apart(key: str) -> int:
        return len({repr([twin[name] for name in (*chosen, key)]) for twin in twins})

    while left and len(chosen) < _SHOWN and (not chosen or apart(chosen[-1]) < len(twins)):
        chosen.append(left.pop(left.index(max(left, key=apart))))
    return chosen


def _set(run: Run, config: Mapping[str, Any]) -> list[str]:
    """The keys of its strategies whose value is not the default: the method is not run as it is cited."""
    defaults: dict[str, Any] = {}
    for name in _strategies(run.result.model) if run.result.strategy else ():
        defaults |= _flat(yamls.packaged(f"strategy/{name}.yaml"))
    return [key for key, value in defaults.items() if key in config and config[key] != value]


def _strategies(model: str) -> list[str]:
    """The strategies in a row's name, the innermost first; none of a name that is not registered here."""
    with suppress(UsageError):
        return [row.name for row in registry.resolve(model).strategies]
    return []


def _differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys that all have, with unequal values; a key that only some have came with a later version."""
    shared = [key for key in configs[0] if keys.hashed(key) and all(key in config for config in configs)]
    return [key for key in shared if key != "seed" and len({repr(config[key]) for config in configs}) > 1]


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys as on the command line: eval_args.order."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat
