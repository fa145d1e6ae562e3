"""Names that tell rows apart: the model's, and what its strategies are set to or twins of its name differ in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from recbole_fair import registry
from recbole_fair.errors import UsageError
from recbole_fair.report.runs import Run, config_of
from recbole_fair.settings import keys, yamls

_SHOWN = 4


def labels(runs: Sequence[Run]) -> list[str]:
    """A different label for each of the runs, one a row; `--reference` takes it too."""
    configs = [_flat(config_of(run.folder)) for run in runs]
    of_model: dict[str, list[Mapping[str, Any]]] = {}
    for run, config in zip(runs, configs, strict=True):
        of_model.setdefault(run.result.model, []).append(config)
    texts = [_label(run, config, of_model[run.result.model]) for run, config in zip(runs, configs, strict=True)]
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


def _label(run: Run, config: Mapping[str, Any], twins: Sequence[Mapping[str, Any]]) -> str:
    """The model, and the few keys in which its configuration differs from others of its name."""
    differing = _differing(twins)
    shown = [*(differing if len(differing) <= _SHOWN else ()), *_set(run, config)]
    listed = ", ".join(f"{key}={config[key]}" for key in dict.fromkeys(shown))
    return f"{run.result.model} ({listed})" if listed else run.result.model


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
