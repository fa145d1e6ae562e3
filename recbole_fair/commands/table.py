"""The table of sub-commands: where each lives, what `--help` says of it, and the switches that it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from recbole_fair.commands.arguments import Arguments, parse
from recbole_fair.errors import UsageError
from recbole_fair.registry import nearest

EVERYWHERE = ("debug", "help")


@dataclass(frozen=True)
class Command:
    """A sub-command: the module here that holds its `main`, a line of help, its own switches, what may be repeated."""

    module: str
    summary: str
    switches: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()

    def load(self) -> Any:
        """The module itself; none is imported before its command is typed."""
        return import_module(f"recbole_fair.commands.{self.module}")


# By what a user wants: `recbole-fair --help` prints them in this order.
_BY_AIM = {
    "train and judge": {
        "run": Command("run", "one model (the default)", ("quiet",)),
        "compare": Command("compare", "several models over seeds on the same data and split", ("quiet",)),
        "tune": Command("tune", "search over a model's keys with Ray Tune, choose by validation", ("quiet",)),
        "blend": Command("blend", "RUN RUN --weight=auto: trained runs of one split as one model", ("quiet",)),
    },
    "see what was found": {
        "report": Command(
            "report", "DIR [DIR...] --out OUT: tables, figures and a web page of finished runs", ("dossier", "quiet")
        ),
        "runs": Command("runs", "[DIR]: list the runs below a folder (runs/)"),
        "show": Command("show", "RUN: what a finished run found; its folder, or the beginning of its hash"),
        "probe": Command("probe", "RUN_DIR --sensitive_attribute=gender: what user states give away"),
    },
    "lists of any other system": {
        "audit": Command(
            "audit",
            "--recommendations F --interactions F --run_dir DIR: judge them",
            ("quiet",),
            ("recommendations", "variants"),
        ),
        "rerank": Command("rerank", "--recommendations F --items F --method M --out F: make them fairer"),
    },
    "use a model, hand it on": {
        "recommend": Command("recommend", "RUN_DIR --users=1,2 --k=20: top items of a saved run"),
        "card": Command("card", "RUN_DIR: the model card of a finished run"),
        "push": Command("push", "RUN_DIR --repo=OWNER/NAME: card, weights and result on the hub", ("private",)),
    },
    "data": {
        "convert": Command(
            "convert", "SOURCE --raw DIR: raw files to atomic files; csv FILE: your own", ("download", "quiet")
        ),
        "cache": Command("cache", "where cached item vectors lie and how big; --clear removes them", ("clear",)),
    },
    "what there is": {
        "models": Command("models", "every name that --model takes; --cite: its reference", ("cite",)),
        "datasets": Command("datasets", "what --dataset takes, and what convert can make"),
        "metrics": Command("metrics", "every name that --metrics takes"),
    },
}
COMMANDS = {name: command for commands in _BY_AIM.values() for name, command in commands.items()}

_OVERVIEW = """recbole-fair: train recommenders, judge how fairly they treat users and items, make them fairer

  recbole-fair --model=EASE --dataset=ml-100k              train and judge (these data come along)
  recbole-fair --strategy=Offset --base=RUN_DIR            fairer lists from that run, in seconds
  recbole-fair convert csv purchases.csv --name=shop       your own data, then --dataset=shop
  recbole-fair compare --models=MF,EASE --dataset=ml-100k  side by side; report makes a page of it

{commands}

recbole-fair run --help                every key of a run, with its default
recbole-fair run --help --model=NAME   what one model reads beside them
recbole-fair SUB-COMMAND --help        what another sub-command takes
"""


def overview() -> str:
    """What `recbole-fair --help` says: four first commands, and every sub-command by what it is for."""
    parts = [
        "\n".join([f"{aim}:", *(f"  {name:<10} {command.summary}" for name, command in commands.items())])
        for aim, commands in _BY_AIM.items()
    ]
    return _OVERVIEW.format(commands="\n\n".join(parts)).rstrip()


def usage(name: str, argv: Sequence[str] = ()) -> str:
    """The help of a sub-command: its own `usage()` if it has one, else its summary; `run` also explains a model."""
    module = COMMANDS[name].load()
    if not hasattr(module, "usage"):
        return f"recbole-fair {name}: {COMMANDS[name].summary}"
    models = [word.removeprefix("--model=") for word in argv if word.startswith("--model=")] if name == "run" else []
    return str(module.usage(*models[-1:]))


def arguments_of(name: str, argv: Sequence[str]) -> Arguments:
    """The parsed command line of a sub-command; a switch that only others read is refused."""
    own = {*COMMANDS[name].switches, *EVERYWHERE}
    for token in argv:
        switch, equals, _ = token.removeprefix("--").partition("=")
        readers = [other for other, command in COMMANDS.items() if switch in command.switches]
        if token.startswith("--") and equals and (readers or switch in EVERYWHERE):
            raise UsageError(f"{token}: --{switch} is a switch and takes no value; leave it out to switch it off")
        if token.startswith("--") and readers and switch not in own:
            raise UsageError(f"{name}: does not take {token}; it is a switch of {' and '.join(readers)}")
    return parse(argv, own, COMMANDS[name].repeated)


def find(name: str) -> Command:
    """The row of a sub-command, or a refusal that names the nearest one."""
    if name not in COMMANDS:
        raise UsageError(f"{name!r}: no such sub-command.{nearest(name, COMMANDS)} Known: {', '.join(COMMANDS)}")
    return COMMANDS[name]
