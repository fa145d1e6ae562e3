"""Reading YAML and command-line values: YAML rules, RecBole's float pattern, and nothing that is executed."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from recbole_fair import storage
from recbole_fair.errors import UsageError

_HALF_OPEN = re.compile(r"\[[^\[\]()]+\)|\([^\[\]()]+\]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_NOT_SHOWN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")

PACKAGE = Path(__file__).resolve().parents[1]
# In a wheel the yaml files lie inside the package, in a checkout beside it.
PROPERTIES = next(p for p in (PACKAGE / "properties", PACKAGE.parent / "properties") if p.is_dir())


class Loader(yaml.SafeLoader):
    """SafeLoader that refuses anchors and duplicate keys, and reads `1e-3` as a number."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """PyYAML's hook for every node: an alias could blow a small file up to any size."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "anchors and aliases are not read here", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        """PyYAML's hook for every mapping: it would let the last of two equal keys win."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key.value, str):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


# RecBole reads "1e-3" as a number, YAML 1.1 alone does not. Dates stay strings: no key of ours is a date. So do 010,
# 0x1F, 1:30 and 1_000, to YAML 1.1 the numbers 8, 31, 90 and 1000: here they are codes or ids.
_INT, _NOT_READ = "tag:yaml.org,2002:int", ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:int")
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NOT_READ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(_INT, re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


class _OwnLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads our own files by the same rules, eight times as fast where libyaml is there; they have no aliases."""

    yaml_implicit_resolvers = Loader.yaml_implicit_resolvers


def _reason(error: Exception) -> str:
    """What the parser expected and where, in a line."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    words = " ".join(str(problem or error).split())
    return words if mark is None or not problem else f"line {mark.line + 1}, column {mark.column + 1}: {words}"


def parse(text: str, where: str, *, line_ends: bool = False) -> Any:
    """Parse YAML text; any fault is a refusal that names `where` and the line. Values may hold `line_ends`, or not."""
    if len(text) > storage.SETTINGS_BYTES:
        raise UsageError(f"{where}: {len(text)} characters are no configuration (at most {storage.SETTINGS_BYTES})")
    if control := _CONTROL.search(text):
        raise UsageError(f"{where}: control character {control.group()!r} at position {control.start()}; remove it")
    try:
        value = yaml.load(text, Loader=Loader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        cut = "; put it in quotes: a shell cuts at blanks" if text.startswith(("{", "[")) else ""
        raise UsageError(f"{where}: not valid YAML: {_reason(error)[:300]}{cut}") from error
    if not line_ends:
        refuse_control(value, where)
    return value


def refuse_control(value: Any, where: str) -> None:
    r"""Refuse text with a line end or another control character, which YAML writes as "\n".

    A log would show what follows as a line of ours. One character alone may be any: it is a separator.
    """
    if isinstance(value, str) and len(value) > 1 and (control := _NOT_SHOWN.search(value)):
        raise UsageError(f"{where}: control character {control.group()!r} in {value[:80]!r}; remove it")
    if isinstance(value, dict):
        for key, entry in value.items():
            refuse_control(key, where)
            refuse_control(entry, where)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            refuse_control(entry, where)


def read_mapping(path: Path, *, line_ends: bool = False) -> dict[str, Any]:
    """Read a property file: a mapping of keys to values, or nothing; prompt templates have `line_ends`."""
    values = parse(storage.read_text(path, storage.SETTINGS_BYTES), str(path), line_ends=line_ends)
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UsageError(f"{path}: a property file maps keys to values, as in `learning_rate: 0.001`")
    return values


@cache
def _packaged(relative: str) -> dict[str, Any]:
    path = PROPERTIES / relative
    return (yaml.load(path.read_text("utf-8"), _OwnLoader) or {}) if path.is_file() else {}  # noqa: S506 (it is safe)


def packaged(relative: str) -> dict[str, Any]:
    """One of our own yaml files, empty where there is none; callers may change what they get."""
    return dict(_packaged(relative))


def value_of(text: str, key: str) -> Any:
    """The value of `--key=text`, by the rules of a property file.

    `[4,inf)`, to YAML a broken list, is an interval; `%d/%m` and `@x`, which begin no value of YAML, are text.
    """
    if _HALF_OPEN.fullmatch(text) or text.startswith(("%", "@")):
        return text
    return parse(text, f"--{key}") if text else ""


def texts_of(text: str, key: str) -> list[str]:
    """The words of `--key=a,b` or `--key=[a, b]` as they were typed: 010 is not 8, and NO is not false.

    >>> texts_of("010,NO", "users"), texts_of('["a,b", null]', "users")
    (['010', 'NO'], ['a,b', 'null'])
    """
    if not text.startswith(("[", '"', "'")):
        return [word.strip() for word in text.split(",")]
    try:
        words = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 (every scalar stays text)
    except yaml.YAMLError as error:
        raise UsageError(f"--{key}={text}: not a list as in [a, b] ({' '.join(str(error).split())[:200]})") from error
    words = [words] if isinstance(words, str) else words
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise UsageError(f"--{key}={text}: give words, as in [a, b]")
    return words


def set_dotted(values: dict[str, Any], key: str, value: Any) -> None:
    """Store `a.b.c: value` as nested mappings."""
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UsageError(f"--{key}: {parent} is not a mapping")
    values[last] = value


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same with `a.b: value` as nested mappings, over what stands under `a` itself.

    >>> nested({"eval_args.order": "RO", "epochs": 3})
    {'epochs': 3, 'eval_args': {'order': 'RO'}}
    """
    plain = deepcopy({key: value for key, value in values.items() if "." not in str(key)})
    for key, value in values.items():
        if "." in str(key):
            set_dotted(plain, key, value)
    return plain


def dump(values: dict[str, Any]) -> str:
    """YAML text that `parse` reads back to the same values; within a value entries keep their order (bins have one)."""
    ordered = {key: values[key] for key in sorted(values)}
    return yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True, width=110)
