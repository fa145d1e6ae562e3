"""The keys of a run with default, choices and meaning, read from the property files; nothing heavy is imported."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from recbole_fair import registry
from recbole_fair.settings import keys, yamls

_WIDTH = 100
_REFUSED = re.compile("refused|more are refused|after_pretrain is refused")
_REMARK = re.compile(r"^([\w-]+):.*?#\s*(?:\(.*?\)\s*)?(\S.*)$", re.M)  # how RecBole explains a key of its own


def of_every_model() -> str:
    """Sections of the keys that any run may be given."""
    defaults = {**yamls.read_mapping(_host_file("overall.yaml")), **yamls.packaged("overall.yaml")}
    parts = (
        "\n".join([f"{title}:", *_lines(own, defaults, {})])
        for (title, whose), own in keys.sections().items()
        if whose == "every model"
    )
    return "\n\n".join(parts)


def of_model(name: str) -> str:
    """What a model, and the strategies before its name, read beside the keys of every run."""
    choice = registry.resolve(name)
    row = choice.model
    _, family = row.under({})
    host = row.host or row.target.partition(":")[2]
    files = [_host_file(f"model/{host}.yaml"), *(yamls.PROPERTIES / layer for layer in _layers(row.name, family))]
    blocks = [_block(f"{row.name} reads", files)]
    blocks += [
        _block(f"{one.name} reads", [yamls.PROPERTIES / f"strategy/{one.name}.yaml"]) for one in choice.strategies
    ]
    needs = [f"{one.name} needs: {one.needs}" for one in (row, *choice.strategies) if one.needs]
    rest = "Every run may be given the keys of `recbole-fair run --help` too."
    return "\n\n".join([f"{choice.name}, in the order of its parts", *filter(None, blocks), *needs, rest])


def _layers(name: str, family: str) -> tuple[str, str]:
    return f"family/{family}.yaml", f"model/{name}.yaml"


def _block(title: str, files: Iterable[Path]) -> str:
    """The keys of property files with their last default."""
    values: dict[str, Any] = {}
    remarks: dict[str, str] = {}
    for file in files:
        if file.is_file():
            values |= yamls.read_mapping(file)
            remarks |= dict(_REMARK.findall(file.read_text()))
    lines = list(_lines(values, values, remarks))
    return "\n".join([f"{title}:", *lines]) if lines else ""


def _lines(names: Iterable[str], defaults: Mapping[str, Any], remarks: Mapping[str, str]) -> Iterator[str]:
    """A key with its default, its meaning and its choices; `remarks` are RecBole's on keys that we say nothing of.

    What is refused in any case is left out, and so is a key of every run of which nothing is said.
    """
    for name in names:
        rule = keys.declared().get(name, {})
        meaning = str(rule.get("help") or remarks.get(name, ""))
        if (not meaning and not remarks and name not in defaults) or _REFUSED.match(meaning):
            continue
        choices = f" ({', '.join(map(str, rule['choices']))})" if "choices" in rule else ""
        head = f"  {name} = {_shown(defaults.get(name))}"
        text = f"{meaning}{choices}".strip()
        if len(head) > 33:
            yield head
            head = ""
        yield from textwrap.wrap(text, _WIDTH, initial_indent=f"{head:<34}", subsequent_indent=" " * 34) or [head]


def _shown(value: Any) -> str:
    """A default as it would be typed."""
    if value is None:
        return "~"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False).replace('"', "")


def _host_file(name: str) -> Path:
    """A property file of RecBole, found without importing RecBole."""
    found = find_spec("recbole")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent / "properties" / name
