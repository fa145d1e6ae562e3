"""A finished run on the hub: card, weights, configuration and result in one commit, or nothing.

Only files of the list below travel, and of them only what the run left: users.csv, lists and logs hold raw ids and
stay. Weights are safetensors; nothing that would be unpickled or executed is among them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, constants, get_token
from huggingface_hub.errors import HfHubHTTPError

from recbole_fair.errors import UsageError
from recbole_fair.handover.card import card, figures
from recbole_fair.language.hub import hub_answers
from recbole_fair.rundir.result import RESULT, Result
from recbole_fair.settings import yamls
from recbole_fair.storage import read_json, read_text, regular

CARD = "README.md"
_WEIGHTS = "model.safetensors"
_AS_THEY_ARE = (_WEIGHTS, "model.json", "run.json", "groups.csv", "history.csv")
_WITHOUT_PATHS = ("config.yaml", RESULT)  # of the machine that ran it
_PLACES = ("data_path", "cache_dir", "run_dir")
_LONGEST = 10_000_000

# What the hub's client raises where no answer comes: an error of the HTTP library that it is built on.
_UNREACHED: tuple[type[BaseException], ...] = (HfHubHTTPError.__bases__[0], OSError)


def push(folder: Path, repo: str, private: bool = False) -> str:
    """Upload a finished run; the address of the commit."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise UsageError(f"--repo={repo}: expected OWNER/NAME, a repository of the hub")
    operations = [CommitOperationAdd(name, content) for name, content in files(folder).items()]
    api = HfApi(endpoint=constants.ENDPOINT, token=_token())
    with _refusals(repo):
        api.create_repo(repo, private=private, exist_ok=True)
        if private and not api.repo_info(repo).private:
            raise UsageError(f"--private: {repo} exists and is public; name another repository, or leave --private out")
        made = api.create_commit(repo, operations, commit_message=f"recbole_fair: {Result.read(folder).model}")
    return str(made.commit_url)


def files(folder: Path) -> dict[str, bytes | Path]:
    """What travels, by its name there: contents that are made here, and files as they are."""
    result = Result.read(folder)
    if result.status == "failed" or not (folder / _WEIGHTS).exists():
        raise UsageError(f"{folder}: holds no {_WEIGHTS} of a finished run, so there is nothing to hand on")
    made: dict[str, bytes | Path] = {CARD: _card(folder, result).encode()}
    made |= {name: regular(folder / name) for name in _AS_THEY_ARE if (folder / name).exists()}
    stored = {**read_json(folder / RESULT), **_names_of_bases(result)}
    settings = {key: value for key, value in yamls.read_mapping(folder / "config.yaml").items() if key not in _PLACES}
    contents = (yamls.dump(settings), json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
    return made | {name: text.encode() for name, text in zip(_WITHOUT_PATHS, contents, strict=True)}


def _names_of_bases(result: Result) -> dict[str, Any]:
    """The runs it stands on by the names of their folders."""
    return {
        "base": Path(result.base).name if result.base else None,
        "bases": {name: Path(base).name for name, base in result.bases.items()},
    }


def _card(folder: Path, result: Result) -> str:
    """The card that lies in the folder, which its owner may have edited, or a new one; its figures are the run's."""
    path = folder / CARD
    if not path.exists():
        return str(card(result))
    text = read_text(path, _LONGEST)
    try:
        stated = getattr(ModelCard(text, ignore_metadata_errors=True).data, "eval_results", None) or []
    except ValueError as error:
        raise UsageError(f"{path}: no model card ({error}); remove it, or write it by `recbole-fair card`") from error
    if [(one.metric_type, one.metric_value) for one in stated] != [
        (one.metric_type, one.metric_value) for one in figures(result)
    ]:
        raise UsageError(f"{path}: states other figures than {RESULT}; write it anew: recbole-fair card {folder}")
    return text


def _token() -> str:
    if not (token := get_token()):
        raise UsageError("push: no token of the hub; run `hf auth login`, or set HF_TOKEN to one that may write")
    if not hub_answers():
        raise UsageError(
            f"push: {constants.ENDPOINT} cannot be reached; connect, unset HF_HUB_OFFLINE, or set another HF_ENDPOINT"
        )
    return str(token)


@contextmanager
def _refusals(repo: str) -> Iterator[None]:
    """What the hub or the network says, in one sentence."""
    try:
        yield
    except UsageError:
        raise
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no status"
        reason = " ".join((error.server_message or str(error)).split())[:200]
        raise UsageError(
            f"push: the hub refuses {repo} ({status}: {reason}); name a repository of yours and a token that may write"
            " to it. No file was changed there"
        ) from error
    except _UNREACHED as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"push: the hub went away ({reason}); try again, files are changed there all together or not at all"
        ) from error
