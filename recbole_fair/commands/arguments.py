"""A command line split into bare words, options and switches."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from recbole_fair.errors import UsageError
from recbole_fair.settings import yamls


@dataclass
class Arguments:
    """A parsed command line: bare words, `--key=value` options and switches."""

    words: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    switches: set[str] = field(default_factory=set)
    typed: dict[str, str] = field(default_factory=dict)  # the options' values before YAML rules

    def take(self, key: str, default: Any = None) -> Any:
        """Remove and return an option that the sub-command itself reads."""
        return self.options.pop(key, default)

    def take_columns(self) -> tuple[str, str]:
        """What the files call their columns of user and item ids."""
        return str(self.take("user", "user_id")), str(self.take("item", "item_id"))

    def take_ids(self, key: str) -> list[str] | None:
        """Remove an option that names ids and return them as they were typed."""
        if key not in self.options:
            return None
        del self.options[key]
        return yamls.texts_of(self.typed[key], key)

    def refuse(self, command: str, *names: str) -> None:
        """Keys that the function behind a command takes from Python, or from the command itself."""
        if wrong := next((name for name in names if name in self.options), None):
            raise UsageError(f"{command}: does not take --{wrong}; `recbole-fair {command} --help`")

    def refuse_rest(self, command: str, words: bool = True) -> None:
        """Nothing that was typed is ignored."""
        if self.options or (words and self.words):
            rest = [*(f"--{key}" for key in self.options), *(self.words if words else [])]
            raise UsageError(f"{command}: does not take {' '.join(rest)}; `recbole-fair {command} --help`")


def parse(argv: Sequence[str], switches: Collection[str], repeated: Collection[str] = ()) -> Arguments:
    """Split argv; values follow YAML rules, dotted keys make nested mappings.

    A `repeated` option may be given several times and is the list of its values as they were typed.
    """
    arguments, rest = Arguments(), list(argv)
    given: set[str] = set()
    while rest:
        token = rest.pop(0)
        if not token.startswith("--"):
            arguments.words.append(token)
            continue
        key, equals, text = token[2:].partition("=")
        if key in switches and not equals:
            arguments.switches.add(key)
            continue
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise UsageError(f"--{key}: needs a value, as in --{key}=VALUE")
            text = rest.pop(0)
        if key in repeated:
            arguments.options.setdefault(key, []).append(text)
            continue
        if clash := next((other for other in given if _overlap(key, other)), None):
            raise UsageError(f"--{key}: given twice (--{clash} before it); keep one")
        given.add(key)
        arguments.typed[key] = text
        yamls.set_dotted(arguments.options, key, yamls.value_of(text, key))
    return arguments


def _overlap(key: str, other: str) -> bool:
    """The same key, or one of them part of the other, as eval_args and eval_args.order."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")
