"""Names that tell rows apart: the model's, and where two rows share it, what their configurations differ in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recbole_fair import keys
from recbole_fair.report.reading import Run, config_of

_SHOWN = 3
_UNSET = object()


def labels(rows: Sequence[Sequence[Run]]) -> list[str]:
    """A label for each row of runs; `--reference` takes it too."""
    models = [runs[0].result.model for runs in rows]
    configs = {place: _flat(config_of(rows[place][0].folder)) for place in _twins(models)}
    return [
        _label(rows[place][0], configs, [other for other in configs if models[other] == model])
        for place, model in enumerate(models)
    ]


def _twins(models: Sequence[str]) -> list[int]:
    return [place for place, model in enumerate(models) if models.count(model) > 1]


def _label(run: Run, configs: Mapping[int, Mapping[str, Any]], twins: Sequence[int]) -> str:
    model = run.result.model
    if not twins:
        return model
    differing = _differing([configs[place] for place in twins])
    own = _flat(config_of(run.folder))
    if not differing or len(differing) > _SHOWN or not own:
        return f"{model} ({run.result.config_hash[:6]})"
    return f"{model} ({', '.join(f'{key}={own.get(key)}' for key in differing)})"


def _differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    known = dict.fromkeys(key for config in configs for key in config)
    return [
        key
        for key in known
        if keys.hashed(key) and key != "seed" and len({repr(config.get(key, _UNSET)) for config in configs}) > 1
    ]


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys as on the command line: eval_args.order."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat
