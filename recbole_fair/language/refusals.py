"""What a library says about a model that cannot be read, turned into one sentence with a remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from recbole_fair.errors import UsageError
from recbole_fair.language.packaged import ALL

# What the libraries raise over files that are missing, damaged or hostile. RuntimeError, RecursionError aside,
# is not among them: it is also how a full GPU shows.
_LOADING_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RecursionError)


def remedy(name: str) -> str:
    """What a user can do to provide the model of this name."""
    packages = [f"`{model.install}`, or " for model in ALL if name in (model.name, model.repository)]
    return (
        f"Remedy: {''.join(packages)}name a local folder that holds config.json, the tokenizer's files and "
        f"safetensors weights, or fill the hub's cache when connected: hf download {name}"
    )


@contextmanager
def refusals(name: str) -> Iterator[None]:
    """Raise a library's error about a model as a UsageError that names the model."""
    from safetensors import SafetensorError

    try:
        yield
    except UsageError:
        raise
    except (*_LOADING_ERRORS, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UsageError(
            f"model {name!r} cannot be loaded: {type(error).__name__}: {reason}. {remedy(name)}"
        ) from error
