"""`recbole-fair push RUN_DIR --repo=OWNER/NAME`: a finished run on the hub."""

from __future__ import annotations

from pathlib import Path

from recbole_fair.commands.arguments import Arguments
from recbole_fair.errors import UsageError
from recbole_fair.screen import visible

_USAGE = """usage: recbole-fair push RUN_DIR --repo=OWNER/NAME [--private]

Uploads a finished run in one commit: README.md (the card; a new one if RUN_DIR has none), model.safetensors,
model.json, run.json, config.yaml, result.json, groups.csv, history.csv. Nothing else: users.csv, lists and logs hold
raw ids, and paths of this machine are left out. Weights of a model of ids hold a state of every user in training.

  --repo      the repository; it is made if there is none
  --private   make it a private one

The token is that of `hf auth login`, or HF_TOKEN; HF_ENDPOINT names another hub."""


def main(arguments: Arguments) -> int:
    """Upload, and print the address."""
    if len(arguments.words) != 1:
        raise UsageError("push: give one run directory, as in `recbole-fair push RUN_DIR --repo=OWNER/NAME`")
    repo = arguments.take("repo")
    if not repo:
        raise UsageError("push: give --repo=OWNER/NAME, the repository of the hub that it goes to")
    arguments.refuse_rest("push", words=False)
    from recbole_fair.handover.upload import push

    print(visible(push(Path(arguments.words[0]), str(repo), "private" in arguments.switches)))
    return 0


def usage() -> str:
    """The help text."""
    return _USAGE
