"""The command line: `recbole-fair [SUB-COMMAND] [--key=value ...]`; without a sub-command it runs one model.

Options are `--key=value` or `--key value`; `--quiet`, `--debug` and `--help` stand alone. argv is read here, once;
what follows is handed on as a dictionary.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from recbole_fair.errors import TrainingError, UsageError
from recbole_fair.registry import nearest
from recbole_fair.settings import yamls

SWITCHES = frozenset({"quiet", "debug", "help", "cite", "clear", "download", "allow_mixed"})


@dataclass
class Arguments:
    """A parsed command line: bare words, `--key=value` options and switches."""

    words: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    switches: set[str] = field(default_factory=set)

    def take(self, key: str, default: Any = None) -> Any:
        """Remove and return an option that the sub-command itself reads."""
        return self.options.pop(key, default)

    def refuse_rest(self, command: str, words: bool = True) -> None:
        """Nothing that was typed is ignored."""
        if self.options or (words and self.words):
            rest = [*(f"--{key}" for key in self.options), *(self.words if words else [])]
            raise UsageError(f"{command}: does not take {' '.join(rest)}; `recbole-fair {command} --help`")


@dataclass(frozen=True)
class Command:
    """A sub-command: where it lives, and what `--help` says of it. Later ones only add a line to COMMANDS."""

    target: str
    summary: str


COMMANDS = {
    "run": Command("recbole_fair.commands.run:main", "train and judge one model (the default)"),
    "convert": Command(
        "recbole_fair.commands.convert:main", "SOURCE --raw DIR: raw files to atomic files; --check NAME"
    ),
    "models": Command("recbole_fair.commands.models:main", "list every name that --model takes; --cite: its reference"),
    "report": Command(
        "recbole_fair.commands.report:main", "DIR [DIR...] --out OUT: tables, figures and a web page of finished runs"
    ),
    "recommend": Command(
        "recbole_fair.commands.recommend:main", "RUN_DIR --users=1,2 --k=20: top items of a saved run"
    ),
    "audit": Command(
        "recbole_fair.commands.audit:main",
        "--recommendations F --interactions F --run_dir DIR: judge any system's lists",
    ),
    "probe": Command(
        "recbole_fair.commands.probe:main", "RUN_DIR --sensitive_attribute=gender: what user states give away"
    ),
    "tune": Command(
        "recbole_fair.commands.tune:main", "search over a model's keys with Ray Tune, choose by validation"
    ),
    "compare": Command("recbole_fair.commands.compare:main", "several models over seeds on the same data and split"),
    "cache": Command(
        "recbole_fair.commands.cache:main", "where cached item vectors lie and how big; --clear removes them"
    ),
}


def usage(name: str) -> str:
    """The help of a sub-command: its own `usage()` if it has one, else its summary."""
    module = import_module(COMMANDS[name].target.partition(":")[0])
    return str(module.usage()) if hasattr(module, "usage") else f"recbole-fair {name}: {COMMANDS[name].summary}"


def parse(argv: Sequence[str]) -> Arguments:
    """Split argv; values follow YAML rules, dotted keys make nested mappings."""
    arguments, rest = Arguments(), list(argv)
    given: set[str] = set()
    while rest:
        token = rest.pop(0)
        if not token.startswith("--"):
            arguments.words.append(token)
            continue
        key, equals, text = token[2:].partition("=")
        if key in SWITCHES and not equals:
            arguments.switches.add(key)
            continue
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise UsageError(f"--{key}: needs a value, as in --{key}=VALUE")
            text = rest.pop(0)
        if clash := next((other for other in given if _overlap(key, other)), None):
            raise UsageError(f"--{key}: given twice (--{clash} before it); keep one")
        given.add(key)
        yamls.set_dotted(arguments.options, key, yamls.value_of(text, key))
    return arguments


def _overlap(key: str, other: str) -> bool:
    """The same key, or one of them part of the other, as eval_args and eval_args.order."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status: 0, or 2 for a request that cannot be met."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(argv)
    except UsageError as error:
        if "--debug" in argv:
            raise
        print(f"recbole-fair: {error}", file=sys.stderr)
        return 2
    except TrainingError as error:
        if "--debug" in argv:
            raise
        print(f"recbole-fair: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        print("recbole-fair: interrupted; a started run goes on with --resume=True", file=sys.stderr)
        return 130


def _dispatch(argv: Sequence[str]) -> int:
    name, rest = (argv[0], argv[1:]) if argv and not argv[0].startswith("-") else ("run", argv)
    if name not in COMMANDS:
        raise UsageError(f"{name!r}: no such sub-command.{nearest(name, COMMANDS)} Known: {', '.join(COMMANDS)}")
    arguments = parse(rest)
    if "help" in arguments.switches:
        print(usage(name))
        return 0
    return _command(name)(arguments)


def _command(name: str) -> Callable[[Arguments], int]:
    module, _, function = COMMANDS[name].target.partition(":")
    return getattr(import_module(module), function)
