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

# What may be said of own tables: on a command line, and as arguments of `run`.
OWN_WORDS = ("user", "item", "rating", "time", "users", "items", "users_id", "items_id", "lists", "time_format")


@dataclass(frozen=True, slots=True)
class Remote:
    """A file at its publisher: `members` are taken out of an archive; size and md5 where they are known.

    `layout` tells apart the editions of a source; a url may hold `{category}`.
    """

    url: str
    layout: str = ""
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
    own: bool = False  # of the user: no property file of ours describes it


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
        "recbole_fair.convert.sources.amazon:read",
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
            Remote(f"{_AMAZON_2014}/ratings_{{category}}.csv", "2014"),
            Remote(f"{_AMAZON_2014}/meta_{{category}}.json.gz", "2014"),
            Remote(f"{_AMAZON_2018}/categoryFilesSmall/{{category}}.csv", "2018"),
            Remote(f"{_AMAZON_2018}/metaFiles2/meta_{{category}}.json.gz", "2018"),
            Remote(f"{_AMAZON_2023}/review_categories/{{category}}.jsonl.gz", "2023"),
            Remote(f"{_AMAZON_2023}/meta_categories/meta_{{category}}.jsonl.gz", "2023"),
        ),
        options=("category", "layout"),
        preset=MappingProxyType(preset),
    )


_ROWS = (
    Source(
        "ml-1m",
        "recbole_fair.convert.sources.movielens:read_1m",
        ("ratings.dat", "users.dat", "movies.dat"),
        "GroupLens Research, University of Minnesota",
        "https://grouplens.org/datasets/movielens/1m/",
        _MOVIELENS,
        _GROUPLENS,
        remotes=(
            Remote(
                "https://files.grouplens.org/datasets/movielens/ml-1m.zip",
                members=("ml-1m/ratings.dat", "ml-1m/users.dat", "ml-1m/movies.dat"),
                size=5917549,
                md5="c4d9eecfca2ab87c1945afe126590906",
            ),
        ),
        published=_size(6040, 3706, 1000209),
    ),
    Source(
        "ml-100k",
        "recbole_fair.convert.sources.movielens:read_100k",
        ("u.data", "u.user", "u.item"),
        "GroupLens Research, University of Minnesota",
        "https://grouplens.org/datasets/movielens/100k/",
        _MOVIELENS,
        _GROUPLENS,
        remotes=(
            Remote(
                "https://files.grouplens.org/datasets/movielens/ml-100k.zip",
                members=("ml-100k/u.data", "ml-100k/u.user", "ml-100k/u.item"),
                size=4924029,
                md5="0e33842e24a9c977be4e0107933c0723",
            ),
        ),
        published=_size(943, 1682, 100000),
    ),
    _amazon("amazon"),
    _amazon("amazon-books", category="Books"),
    _amazon("amazon-movies", category="Movies_and_TV"),
    _amazon("amazon-games", category="Video_Games"),
    Source(
        "sushi",
        "recbole_fair.convert.sources.sushi:read",
        ("sushi3.udata", "sushi3.idata", "sushi3b.5000.10.score"),
        "Toshihiro Kamishima",
        "https://www.kamishima.net/sushi/",
        "T. Kamishima. 2003. Nantonac collaborative filtering: recommendation based on order responses. KDD 2003,"
        " 583-588. https://doi.org/10.1145/956750.956823",
        "research use only, no redistribution (the page of the data)",
        remotes=(
            Remote(
                "https://www.kamishima.net/asset/sushi3-2016.zip",
                members=(
                    "sushi3-2016/sushi3.udata",
                    "sushi3-2016/sushi3.idata",
                    "sushi3-2016/sushi3b.5000.10.score",
                ),
            ),
        ),
        published=_size(5000, 100, 50000),
    ),
    Source(
        "book-crossing",
        "recbole_fair.convert.sources.book_crossing:read",
        ("BX-Book-Ratings.csv", "BX-Users.csv", "BX-Books.csv"),
        "Cai-Nicolas Ziegler, DBIS, University of Freiburg",
        "http://www2.informatik.uni-freiburg.de/~cziegler/BX/",
        "C.-N. Ziegler, S. M. McNee, J. A. Konstan, G. Lausen. 2005. Improving recommendation lists through topic"
        " diversification. WWW 2005, 22-32. https://doi.org/10.1145/1060745.1060754",
        "freely available for research when acknowledged with the citation",
        remotes=(
            Remote(
                "http://www2.informatik.uni-freiburg.de/~cziegler/BX/BX-CSV-Dump.zip",
                members=("BX-Book-Ratings.csv", "BX-Users.csv", "BX-Books.csv"),
            ),
        ),
        published=_size(278858, 271379, 1149780),
    ),
    Source(
        "insurance",
        "recbole_fair.convert.sources.insurance:read",
        ("Train.csv",),
        "Zimnat, published by Zindi",
        "https://zindi.africa/competitions/zimnat-insurance-recommendation-challenge",
        "Zimnat Insurance Recommendation Challenge, Zindi, 2020; used by Hua et al., UP5, 2024 (arXiv:2305.12090)",
        "terms of the competition: an account is needed, and redistribution is not granted; so no --download",
        published=_size(29132, 21, 66353),
    ),
    Source(
        "csv",
        "recbole_fair.convert.sources.csv_tables:read",
        ("a CSV file: `convert csv purchases.csv --user=customer --item=sku`; or --raw DIR --mapping FILE",),
        "the owner of the tables",
        "",
        "",
        "whatever the owner of the tables grants",
        options=("mapping", "interactions", "separator", "encoding", *OWN_WORDS),
        own=True,
    ),
)

SOURCES: Mapping[str, Source] = MappingProxyType({row.name: row for row in _ROWS})


def find(name: str) -> Source:
    """The row of a source, or a refusal that names those there are."""
    if name not in SOURCES:
        raise UsageError(f"{name!r}: no such source.{nearest(name, SOURCES)} Known: {', '.join(SOURCES)}")
    return SOURCES[name]
