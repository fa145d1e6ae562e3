"""The one table of what can be converted: where its reader lives, who publishes it, on which terms, and from where.

Only strings: asking the table imports no reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from recbole_fair.errors import UsageError
from recbole_fair.registry import nearest


@dataclass(frozen=True, slots=True)
class Remote:
    """A file at its publisher: `members` are taken out of an archive; size and md5 where the publisher states them."""

    url: str
    members: tuple[str, ...] = ()
    size: int = 0
    md5: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A row of the table; `files` is what must lie in the raw folder, `options` the options the reader takes."""

    name: str
    reader: str
    files: tuple[str, ...]
    publisher: str
    homepage: str
    citation: str
    licence: str
    remotes: tuple[Remote, ...] = ()
    published: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    options: tuple[str, ...] = ()
    preset: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


def _size(users: int, items: int, interactions: int) -> Mapping[str, int]:
    return MappingProxyType({"users": users, "items": items, "interactions": interactions})


_GROUPLENS = (
    "research use only; no redistribution without permission, no commercial use without permission, no endorsement"
    " implied (the README inside the archive)"
)
_MOVIELENS = (
    "F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context."
    " ACM Transactions on Interactive Intelligent Systems 5(4), 19:1-19:19. https://doi.org/10.1145/2827872"
)
_AMAZON_2014 = "http://snap.stanford.edu/data/amazon/productGraph/categoryFiles"
_AMAZON_2018 = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2"
_AMAZON_2023 = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/raw"


def _amazon(name: str, **preset: str) -> Source:
    return Source(
        name,
        "recbole_fair.convert.amazon:read",
        (
            "2014: ratings_<Category>.csv or reviews_<Category>[_5].json.gz, and meta_<Category>.json.gz",
            "2018: <Category>.csv or <Category>[_5].json.gz, and meta_<Category>.json.gz",
            "2023: <Category>.jsonl.gz and meta_<Category>.jsonl.gz",
        ),
        publisher="Julian McAuley and students, UC San Diego",
        homepage="https://amazon-reviews-2023.github.io (2018: https://nijianmo.github.io/amazon,"
        " 2014: http://jmcauley.ucsd.edu/data/amazon)",
        citation="2014: R. He, J. McAuley. Ups and downs, WWW 2016. https://doi.org/10.1145/2872427.2883037; "
        "2018: J. Ni, J. Li, J. McAuley. Justifying recommendations using distantly-labeled reviews and fine-grained"
        " aspects, EMNLP 2019. https://doi.org/10.18653/v1/D19-1018; "
        "2023: Y. Hou et al. Bridging Language and Items for Retrieval and Recommendation, 2024. arXiv:2403.03952",
        licence="no licence is stated; the publisher asks for citation, and the reviews belong to their authors and to"
        " Amazon: research use, no redistribution",
        remotes=(
            Remote(f"{_AMAZON_2014}/ratings_{{category}}.csv"),
            Remote(f"{_AMAZON_2014}/meta_{{category}}.json.gz"),
            Remote(f"{_AMAZON_2018}/categoryFilesSmall/{{category}}.csv"),
            Remote(f"{_AMAZON_2018}/metaFiles2/meta_{{category}}.json.gz"),
            Remote(f"{_AMAZON_2023}/review_categories/{{category}}.jsonl.gz"),
            Remote(f"{_AMAZON_2023}/meta_categories/meta_{{category}}.jsonl.gz"),
        ),
        options=("category", "layout"),
        preset=MappingProxyType(preset),
    )
