"""Which settings make two runs the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from recbole_fair.settings import keys


def config_hash(effective: Mapping[str, Any], fingerprint: str, parents: Sequence[str] = ()) -> str:
    """Twelve hex digits of all that a run computes from: keys, data and its parents; not its seed.

    Parents are digests of what else it reads: the run it stands on, weights it loads, its text encoder.
    """
    values = {key: value for key, value in effective.items() if keys.counts(key, value) and key != "seed"}
    text = json.dumps([values, fingerprint, list(parents)], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
