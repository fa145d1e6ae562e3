"""`recbole-fair run`: train and judge one model, or show a finished run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from recbole_fair.commands import reference
from recbole_fair.commands.arguments import Arguments
from recbole_fair.errors import UsageError

if TYPE_CHECKING:
    import torch

_USAGE = """usage: recbole-fair [run] --model=NAME --dataset=NAME [--config_files="a.yaml b.yaml"] [--key=value ...]

Trains one recommender, selects on validation, judges it on test and leaves a run directory
(runs/<dataset>/<model>/<hash>-s<seed>): result.json, users.csv, groups.csv, history.csv, weights and log.
Values follow YAML rules; --eval_args.order=RO sets one entry of a mapping. Switches: --quiet --debug --help --version

Keys, as in --epochs=20, with their defaults (~: none, or the model's own):

{keys}

What a model or strategy reads beside these: recbole-fair run --help --model=NAME"""


def main(arguments: Arguments) -> int:
    """Run, and print the table of results."""
    if arguments.words:
        raise UsageError(f"{arguments.words[0]!r}: expected --key=value; a list has no blanks, as in --topk=5,20")
    arguments.refuse("run", "on_epoch")
    from recbole_fair import parallel
    from recbole_fair.runner import run, train_along

    files = arguments.take("config_files") or ()
    if parallel.launched():
        parallel.start(_device(files, arguments.options))
    if parallel.rank():
        train_along()
        return 0
    result = run(config_files=files, quiet="quiet" in arguments.switches, **arguments.options)
    parallel.said()  # to the others: there is no other run
    print(result.table())
    return 0


def _device(files: Any, keys: Mapping[str, Any]) -> torch.device:
    """Where these keys have this rank train: on the GPU of its number, unless they say otherwise."""
    import torch

    from recbole_fair.runner import restoring_process_state
    from recbole_fair.settings.config import Config

    with restoring_process_state():
        config = Config(config_files=files, overrides={"gpu_id": os.environ["LOCAL_RANK"], **keys})
    return torch.device(config["device"])


def usage(model: str | None = None) -> str:
    """The help text: the keys of every run, or with a model what that one reads beside them."""
    if model is not None:
        return reference.of_model(model)
    return _USAGE.format(keys=reference.of_every_model())
