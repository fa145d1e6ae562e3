"""Names that tell rows apart: the model's, and where two rows share it, what their configurations differ in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from recbole_fair import keys
from recbole_fair.report.reading import Run, config_of

_SHOWN = 3


def labels(runs: Sequence[Run]) -> list[str]:
    """A different label for each of the runs, one a row; `--reference` takes it too."""
    plain = [run.result.model for run in runs]
    told = [_told(run, [other for other in runs if other.result.model == run.result.model]) for run in runs]
    return [
        f"{label} [{run.result.config_hash[:6]}]" if count > 1 else label
        for run, label, count in zip(runs, told, _counts(told), strict=True)
    ] if len(set(told)) < len(plain) else told  # fmt: skip


def _counts(words: Sequence[str]) -> list[int]:
    counted = Counter(words)
    return [counted[word] for word in words]


def _told(run: Run, twins: Sequence[Run]) -> str:
    """The model, and the few keys in which it differs from others of its name."""
    if len(twins) < 2:
        return run.result.model
    configs = [_flat(config_of(twin.folder)) for twin in twins]
    differing = _differing(configs)
    if not 0 < len(differing) <= _SHOWN:
        return run.result.model
    own = _flat(config_of(run.folder))
    return f"{run.result.model} ({', '.join(f'{key}={own[key]}' for key in differing)})"


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
