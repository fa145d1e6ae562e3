"""Folders of the hub's cache, and what is downloaded into it: safetensors and text files, never pickles or code."""

from __future__ import annotations

from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from recbole_fair.errors import UsageError
from recbole_fair.language.refusals import refusals, remedy
from recbole_fair.language.weights import READ, has_weights

# Second copies of the weights, for other software.
_COPIES = ("consolidated*", "original/*", "onnx/*", "openvino/*")
_PROBE_SECONDS = 5.0


def cached(repository: str, revision: str | None) -> Path | None:
    """The snapshot of a repository in the hub's cache, None if it is not there with its weights."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(repository, revision=revision, local_files_only=True))
    except (OSError, ValueError):  # not cached; or not a name the hub could know, which `download` says
        return None
    # An interrupted download leaves a folder too, without its weights.
    return folder if has_weights(folder) else None


def download(repository: str, revision: str | None) -> Path:
    """The snapshot of a repository, fetched from the hub; refused within seconds where the hub cannot be reached."""
    from huggingface_hub import snapshot_download

    if not hub_answers():
        raise UsageError(
            f"model {repository!r}: not on this machine, and the hub cannot be reached. {remedy(repository)}"
        )
    patterns = [f"*{suffix}" for suffix in READ]
    with refusals(repository):
        return Path(
            snapshot_download(repository, revision=revision, allow_patterns=patterns, ignore_patterns=list(_COPIES))
        )


def hub_answers() -> bool:
    """One short request: the hub's own client retries each of a model's files for half a minute."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        request = Request(constants.ENDPOINT, method="HEAD")  # noqa: S310 - the hub's address, or who set HF_ENDPOINT
        urlopen(request, timeout=_PROBE_SECONDS).close()  # noqa: S310
    except HTTPError:  # an answer, if an unfriendly one
        return True
    except OSError:
        return False
    return True
