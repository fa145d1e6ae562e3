"""Small raw files in the publishers' layouts, made up here: not one row of theirs."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

# user, item, rating, seconds; u1 rated A twice, and C has no metadata.
REVIEWS = [
    ("u1", "A", 5.0, 1355616000),
    ("u2", "A", 3.0, 1355616001),
    ("u1", "B", 4.0, 1355616002),
    ("u1", "A", 1.0, 1355616003),
    ("NA", "C", 2.0, 1355616004),
    ("u2", "C", 5.0, 1355616005),
]
# item, title as the publisher writes it, category path; A is listed twice.
ITEMS: list[tuple[str, str | None, list[str]]] = [
    ("A", 'Tom &amp; Jerry&#39;s\t"best"\r\nof', ["Books", "Arts &amp; Photography"]),
    ("B", "", ["Books", "None", ""]),
    ("A", "again", ["Books"]),
    ("D", "None", []),
    ("E", None, ["Books"]),
]
LAYOUTS = ("2014", "2018", "2023")


def write(path: Path, content: str, zipped: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode()
    if zipped:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(data))
    else:
        path.write_bytes(data)


def review(layout: str, row: tuple[str, str, float, int]) -> dict[str, Any]:
    user, item, rating, seconds = row
    if layout == "2023":
        return {"rating": rating, "title": "x", "asin": f"{item}-blue", "parent_asin": item, "user_id": user,
                "timestamp": seconds * 1000, "verified_purchase": True}  # fmt: skip
    return {"reviewerID": user, "asin": item, "reviewText": 'half an emoji \ud83d, "quoted"', "overall": rating,
            "unixReviewTime": seconds, "helpful": [0, 0]}  # fmt: skip


def item_line(layout: str, item: str, title: str | None, path: list[str]) -> str:
    record: dict[str, Any] = {"parent_asin" if layout == "2023" else "asin": item}
    if title is not None:
        record["title"] = title
    if layout == "2014":
        record["categories"] = [path[:1], path] if path else []
        return repr(record)
    record["category" if layout == "2018" else "categories"] = path
    return json.dumps(record)


def amazon(raw: Path, layout: str, zipped: bool = False, kind: str = "csv", category: str = "Books") -> Path:
    """The files of one layout; 2023 has no ratings CSV."""
    if layout == "2023" or kind == "json":
        name = {"2014": f"reviews_{category}_5.json", "2018": f"{category}.json", "2023": f"{category}.jsonl"}[layout]
        interactions = "".join(json.dumps(review(layout, row)) + "\n" for row in REVIEWS)
    else:
        name = {"2014": f"ratings_{category}.csv", "2018": f"{category}.csv"}[layout]
        ordered = [(user, item) if layout == "2014" else (item, user) for user, item, _, _ in REVIEWS]
        interactions = "".join(f"{a},{b},{r},{t}\n" for (a, b), (_, _, r, t) in zip(ordered, REVIEWS, strict=True))
    write(raw / name, interactions, zipped)
    meta = "".join(item_line(layout, *row) + "\n" for row in ITEMS)
    write(raw / f"meta_{category}.{'jsonl' if layout == '2023' else 'json'}", meta, zipped)
    return raw


def ml_1m(raw: Path, rows: int = 400) -> Path:
    draw = random.Random(1)
    ratings = [
        f"{draw.randint(1, 30)}::{draw.randint(1, 40)}::{draw.randint(1, 5)}::{978300000 + n}" for n in range(rows)
    ]
    write(raw / "ratings.dat", "\n".join(ratings) + "\n")
    write(
        raw / "users.dat",
        "".join(f"{n}::{'MF'[n % 2]}::{(1, 25, 56)[n % 3]}::{n % 21}::{10000 + n}\n" for n in range(1, 31)),
    )
    write(raw / "movies.dat", "".join(f"{n}::Film {n}: part \u00e9 (19{50 + n})::Drama|War\n" for n in range(1, 41)))
    (raw / "movies.dat").write_bytes((raw / "movies.dat").read_text("utf-8").encode("latin-1"))
    return raw


def ml_100k(raw: Path, rows: int = 400) -> Path:
    draw = random.Random(2)
    ratings = [
        f"{draw.randint(1, 30)}\t{draw.randint(1, 40)}\t{draw.randint(1, 5)}\t{878300000 + n}" for n in range(rows)
    ]
    write(raw / "u.data", "\n".join(ratings) + "\n")
    write(raw / "u.user", "".join(f"{n}|{20 + n}|{'MF'[n % 2]}|artist|{10000 + n}\n" for n in range(1, 31)))
    flags = "|".join("01"[n % 5 == 0] for n in range(19))
    write(
        raw / "u.item",
        "".join(f"{n}|Film {n} (19{50 + n})|01-Jan-19{50 + n}||http://x/{n}|{flags}\n" for n in range(1, 41)),
    )
    return raw


def sushi(raw: Path, rows: int = 40) -> Path:
    draw = random.Random(3)
    lines = []
    for _ in range(rows):
        scores = ["-1"] * 100
        for place in draw.sample(range(100), 10):
            scores[place] = str(draw.randint(0, 4))
        lines.append(" ".join(scores) + "\n")
    write(raw / "sushi3b.5000.10.score", "".join(lines))
    write(
        raw / "sushi3.udata",
        "".join("\t".join(map(str, (7 * n, n % 2, n % 6, 99, *[1] * 7))) + "\n" for n in range(rows)),
    )
    write(
        raw / "sushi3.idata", "".join(f"{n}\tkind{n}\t{n % 2}\t0\t{n % 12}\t2.5\t1.25\t1.5\t0.84\n" for n in range(100))
    )
    return raw


def book_crossing(raw: Path, rows: int = 300) -> Path:
    draw = random.Random(4)
    ratings = [
        f'"{draw.randint(1, 40)}";"{draw.randint(10**8, 10**8 + 30)}X";"{draw.randint(0, 10)}"' for _ in range(rows)
    ]
    users = [f'"{n}";"town {n}, ""\\"n/a\\"";{f"{chr(34)}{n}{chr(34)}" if n % 3 else "NULL"}' for n in range(1, 31)]
    books = [
        f'"{10**8 + n}X";"Book \\"{n}\\" &amp; more";"A. Author";"19{50 + n}";"House";"u";"u";"u"' for n in range(31)
    ]
    heads = (
        '"User-ID";"ISBN";"Book-Rating"',
        '"User-ID";"Location";"Age"',
        '"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication";"Publisher";"Image-URL-S";"Image-URL-M";"Image-URL-L"',
    )
    for name, head, lines in zip(("Book-Ratings", "Users", "Books"), heads, (ratings, users, books), strict=True):
        write(raw / f"BX-{name}.csv", "\r\n".join([head, *lines]) + "\r\n")
    return raw


def insurance(raw: Path, rows: int = 200) -> Path:
    from recbole_fair.convert.sources.insurance import _HEADER

    draw = random.Random(5)
    lines = [
        ",".join(
            [
                f"C{n}",
                "1/2/2019",
                "MF"[n % 2],
                "M",
                str(1950 + n % 60),
                "B1",
                "O1",
                "K1",
                *(str(int(draw.random() < 0.2)) for _ in range(21)),
            ]
        )
        for n in range(rows)
    ]
    write(raw / "Train.csv", "\n".join([_HEADER, *lines]) + "\n")
    return raw


def csv_tables(raw: Path, rows: int = 200) -> Path:
    draw = random.Random(6)
    lines = [f'r{draw.randint(1, 20)};"b{draw.randint(1, 20)}";{draw.randint(1, 5)}' for _ in range(rows)]
    write(raw / "stars.csv", "\n".join(["Reader;Book;Stars", *lines]) + "\n")
    write(raw / "books.csv", "".join(f'b{n},"Title, ""{n}""\nsecond line",Science Fiction|War\n' for n in range(1, 21)))
    write(
        raw.parent / "map.yaml",
        """
inter: {file: stars.csv, separator: ";", columns: {user_id: Reader, item_id: Book, rating: Stars}}
item:
  file: books.csv
  header: false
  columns: {item_id: 1, title: 2, genres: {column: 3, kind: token_seq, split: "|"}}
""",
    )
    return raw
