"""`--filter`: the same interactions as RecBole keeps when it applies the same yaml at load."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from convert import mini
from convert.conftest import manifest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recbole_fair.convert.filters import within
from recbole_fair.errors import UsageError
from recbole_fair.settings import yamls

RULES = {
    "recipe": {
        "val_interval": {"rating": "[3,inf)"},
        "user_inter_num_interval": "[4,inf)",
        "item_inter_num_interval": "[3,inf)",
    },
    "first": {"rm_dup_inter": "first"},
    "last": {"rm_dup_inter": "last", "val_interval": {"rating": "[1,2];(3,5]"}},
    "upper": {"user_inter_num_interval": "[2,9]"},
}


def ratings(raw: Path, seed: int = 0) -> Path:
    """Distinct times in no order, repeated pairs."""
    draw = random.Random(seed)
    times = draw.sample(range(1_300_000_000, 1_300_009_000), 300)
    rows = [f"u{draw.randint(1, 40)},i{draw.randint(1, 30)},{draw.randint(1, 5)}.0,{time}\n" for time in times]
    mini.write(raw / "ratings_Books.csv", "".join(rows))
    mini.write(raw / "meta_Books.json", "".join(f"{{'asin': 'i{n}', 'title': 'Title {n}'}}\n" for n in range(1, 36)))
    return raw


def pairs_through_recbole(folder: Path, rules: dict[str, Any]) -> list[tuple[str, str, float]]:
    from recbole_fair.host import Dataset
    from recbole_fair.settings.config import Config

    keys = {
        "data_path": str(folder.parent),
        "eval_args": {"order": "RO"},
        "load_col": None,
        "user_inter_num_interval": "[0,inf)",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = Dataset(Config("MF", folder.name, overrides={**keys, **rules}))
    feat = dataset.inter_feat
    users, items = (dataset.field2id_token[f][feat[f]] for f in ("user_id", "item_id"))
    return sorted(zip(users, items, feat["rating"].tolist(), strict=True))


@pytest.mark.parametrize("name", RULES)
def test_the_same_as_recbole(name: str, convert: Callable[..., Path], tmp_path: Path) -> None:
    raw, rules = ratings(tmp_path / "raw"), RULES[name]
    (tmp_path / "rules.yaml").write_text(yamls.dump({**rules, "load_col": {"inter": ["user_id"]}}))
    whole = convert("amazon", raw, category="Books", name="whole")
    small = convert("amazon", raw, category="Books", name="small", filter=tmp_path / "rules.yaml")
    kept = pairs_through_recbole(whole, rules)
    assert 0 < len(kept) < 300
    assert pairs_through_recbole(small, {}) == kept
    assert pairs_through_recbole(small, rules) == kept  # the run's yaml may keep the keys
    account = manifest(small)["filters"]
    assert account["rules"] == rules
    assert (account["read"], account["kept"]) == (300, len(kept)) and sum(account["dropped"].values()) == 300 - len(
        kept
    )
    for suffix, place in (("user", 0), ("item", 1)):
        listed = {line.split("\t")[0] for line in (small / f"small.{suffix}").read_text().splitlines()[1:]}
        assert listed == {row[place] for row in kept}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("seed: 1", "has none of"),
        ("rm_dup_inter: some", "expected first or last"),
        ("val_interval: 3", "maps a field to an interval"),
        ("val_interval: {title: '[3,inf)'}", "only numbers of the interactions"),
        ("val_interval: {rating: 3}", r"rules\.yaml: val_interval\.rating='3': an interval as in"),
        ("user_inter_num_interval: 5", r"rules\.yaml: user_inter_num_interval='5': an interval as in"),
        ("val_interval: {rating: '[9,inf)'}", "leave no interaction"),
        ("user_inter_num_interval: '[1000,inf)'", "leave no interaction"),
    ],
)
def test_rules_that_cannot_be_followed(text: str, names: str, convert: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(text)
    with pytest.raises(UsageError, match=names):
        convert("amazon", ratings(tmp_path / "raw"), category="Books", filter=tmp_path / "rules.yaml")
    assert not (tmp_path / "out" / "amazon").exists()


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.integers(-5, 5), min_size=1), st.integers(-5, 5), st.integers(-5, 5), st.booleans(), st.booleans())
def test_intervals_against_comparisons(
    values: list[int], low: int, high: int, closed_low: bool, closed_high: bool
) -> None:
    text = f"{'[' if closed_low else '('}{low}, {high}{']' if closed_high else ')'}"
    if low > high:
        with pytest.raises(UsageError, match="an interval as in"):
            within(np.array(values, float), text, "k")
        return
    expected = [(low <= v if closed_low else low < v) and (v <= high if closed_high else v < high) for v in values]
    assert within(np.array(values, float), text, "k").tolist() == expected
