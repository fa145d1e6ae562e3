"""Values that RecBole misreads (NA words, gaps, close times, NUL, codes such as 010) are exact or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from planted import run_planted

from recbole_fair import cli, run
from recbole_fair.commands import arguments
from recbole_fair.data import load
from recbole_fair.data.identity import fingerprint
from recbole_fair.errors import UsageError
from recbole_fair.groups.bins import codes_of, within
from recbole_fair.groups.membership import by_value, product
from recbole_fair.settings import yamls
from recbole_fair.settings.config import Config

Toy = Callable[..., dict[str, Any]]
Change = Callable[[str, str], str]
NA_WORDS = ("NA", "null", "nan", "None", "N/A", "NULL", "<NA>", "n/a")


@pytest.fixture
def changed(toy_root: Path, tmp_path: Path, toy: Toy) -> Callable[..., dict[str, Any]]:
    """`changed(change, model, **keys)`: keys of a run on the toy data whose files are `change(suffix, text)`."""

    def keys(change: Change, model: str = "MF", **more: Any) -> dict[str, Any]:
        folder = tmp_path / "changed" / "toy"
        folder.mkdir(parents=True, exist_ok=True)
        for file in (toy_root / "toy").glob("toy.*"):
            (folder / file.name).write_text(change(file.suffix, file.read_text()), encoding="utf-8")
        return toy(model, data_path=str(folder.parent), **more)

    return keys


def in_inter(old: str, new: str, count: int = -1) -> Change:
    return lambda suffix, text: text.replace(old, new, count) if suffix == ".inter" else text


def loaded(keys: dict[str, Any]) -> load.Data:
    return load.load(Config(overrides=keys))


@pytest.mark.newest
@pytest.mark.parametrize("word", NA_WORDS)
def test_a_group_with_the_name_of_a_missing_value_is_a_group(word: str, changed: Callable[..., dict[str, Any]]) -> None:
    data = loaded(changed(lambda suffix, text: text.replace("\tM\t", f"\t{word}\t") if suffix == ".user" else text))
    values = dict(zip(data.names("user").tolist(), data.values("gender", "test"), strict=True))
    assert values["uM3"] == (word,) and values["uF3"] == ("F",)
    assert values["uF0"] == (), "an empty cell is no value"


def test_a_gap_between_groups_does_not_vanish_with_the_name_of_one(changed: Callable[..., dict[str, Any]]) -> None:
    gaps = []
    for name in ("M", "NA"):
        keys = changed(lambda suffix, text, name=name: text.replace("\tM\t", f"\t{name}\t"), "Planted")
        result = run_planted(
            lambda _, keys=keys, **more: {**keys, **more},
            lambda _, item, __: float(item[0] == "c"),
            metrics=["Recall", "Gap_Recall"],
            run_dir=keys["run_dir"] + name,
        )
        gaps.append(result.test["gap_recall@3[gender]"])
    assert gaps == [1.0, 1.0]


@pytest.mark.parametrize("word", NA_WORDS)
def test_users_and_items_with_such_names_keep_their_interactions(
    word: str, changed: Callable[..., dict[str, Any]]
) -> None:
    data = loaded(changed(lambda _, text: text.replace("uM3\t", f"{word}\t").replace("n4\t", f"{word}\t")))
    assert word in data.names("user") and word in data.names("item")
    assert sum(len(data.pairs(phase)[0]) for phase in data.parts) == data.rows_read == 468


def test_words_of_a_missing_number_stay_missing_numbers(changed: Callable[..., dict[str, Any]]) -> None:
    def numbers(suffix: str, text: str) -> str:
        return text.replace("age:token", "age:float").replace("\t53", "\tNA") if suffix == ".user" else text

    data = loaded(changed(numbers))
    ages = dict(zip(data.names("user").tolist(), data.values("age", "test"), strict=True))
    assert ages["uM3"] == () and ages["uM4"] == ("54",)


# --- ratings


LABELED = {
    "eval_protocol": "labeled",
    "likes": "[4,inf)",
    "metrics": ["AUC", "F1"],
    "valid_metric": "AUC",
    "item_groups": [],
    "user_groups": [],
}


def test_interactions_without_a_rating_get_no_label(changed: Callable[..., dict[str, Any]]) -> None:
    keys = changed(in_inter("\tn5\t4\t", "\tn5\t\t"), **LABELED)
    with pytest.raises(UsageError, match=r"5 interactions have no rating.*val_interval=\{rating: '\[0,inf\)'\}"):
        loaded(keys)
    data = loaded({**keys, "val_interval": {"rating": "[0,inf)"}})
    assert sum(len(data.pairs(phase)[0]) for phase in data.parts) == 463, "the remedy leaves them out"


def test_ratings_are_compared_as_they_stand_in_the_file(changed: Callable[..., dict[str, Any]]) -> None:
    """4.1 is 4.0999999 in float32, and 3.99999999 is 4."""
    keys = changed(
        lambda suffix, text: text.replace("\t4\t", "\t4.1\t").replace("\t3\t", "\t4.09999999\t"),
        **{**LABELED, "likes": "[4.1,inf)"},
    )
    data = loaded(keys)
    text = (Path(keys["data_path"]) / "toy" / "toy.inter").read_text()
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    liked = {(user, item): float(rating) >= 4.1 for user, item, rating, _ in rows}
    names, items = data.names("user"), data.names("item")
    assert {True, False} <= set(data.test.labels.values())
    assert all(liked[names[user], items[item]] is label for (user, item), label in data.test.labels.items())


def test_ratings_that_are_tokens_are_refused(changed: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(UsageError, match="rating is no number"):
        loaded(changed(in_inter("rating:float", "rating:token"), **LABELED))


# --- times


def test_items_seconds_apart_keep_their_order(changed: Callable[..., dict[str, Any]]) -> None:
    """Times of today, a second apart and against the order of the file: in float32 all of a user's would tie."""

    def today(suffix: str, text: str) -> str:
        if suffix != ".inter":
            return text
        rows = [line.rsplit("\t", 1) for line in text.splitlines()[1:]]
        lines = [f"{rest}\t{1_700_000_000 - int(time)}" for rest, time in rows]
        return "\n".join([text.splitlines()[0], *lines]) + "\n"

    keys = changed(today, eval_args={"split": {"LS": "valid_and_test"}, "order": "TO"})
    data = loaded(keys)
    last: dict[str, tuple[int, str]] = {}
    for line in (Path(keys["data_path"]) / "toy" / "toy.inter").read_text().splitlines()[1:]:
        user, item, _, time = line.split("\t")
        last[user] = max(last.get(user, (0, "")), (int(time), item))
    users, items = data.pairs("test")
    held_out = dict(zip(data.names("user")[users].tolist(), data.names("item")[items].tolist(), strict=True))
    assert held_out == {user: item for user, (_, item) in last.items()}
    assert data.tied_users() == 0


def test_ties_at_a_cut_are_counted_and_said(changed: Callable[..., dict[str, Any]]) -> None:
    keys = changed(
        lambda suffix, text: (
            "\n".join(
                line.rsplit("\t", 1)[0] + "\t7" if line.startswith(("uM1\t", "uM2\t")) else line
                for line in text.splitlines()
            )
            + "\n"
        ),
        "Pop",
    )
    result = run(**keys)
    assert result.data["ties"] == 2
    assert any("2 of 42 users have interactions of one time on both sides of a cut" in note for note in result.warnings)
    users, items = loaded(keys).pairs("test")
    names = loaded(keys).names("item")
    rows = [line.split("\t") for line in (Path(keys["data_path"]) / "toy" / "toy.inter").read_text().splitlines()]
    for user in ("uM1", "uM2"):
        own = [item for who, item, *_ in rows if who == user]
        place = loaded(keys).names("user").tolist().index(user)
        assert names[items[users == place]].tolist() == own[-int((users == place).sum()) :], "the file's order decides"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("\t17\n", "\t\n", "1 interactions have no timestamp.*val_interval"),
        ("\t17\n", "\tinf\n", "1 interactions have an infinite timestamp"),
        ("timestamp:float", "timestamp:token", "timestamp is token, so its values have no order"),
        ("timestamp:float", "clock:float", "toy has no timestamps"),
    ],
)
def test_times_that_order_nothing_are_refused(
    old: str, new: str, says: str, changed: Callable[..., dict[str, Any]]
) -> None:
    with pytest.raises(UsageError, match=says):
        loaded(changed(in_inter(old, new)))


def test_missing_times_do_not_matter_to_a_random_order_and_their_remedy_works(
    changed: Callable[..., dict[str, Any]],
) -> None:
    gap = in_inter("\t17\n", "\t\n")
    assert loaded(changed(gap, eval_args={"order": "RO"})).tied_users() is None
    kept = loaded(changed(gap, val_interval={"timestamp": "[0,1e300]"}))
    assert sum(len(kept.pairs(phase)[0]) for phase in kept.parts) == 467


# --- filters and bins


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"rating": ">=4"}, "an interval as in"),
        ({"rating": "4,inf"}, "an interval as in"),
        ({"rating": "[5,3]"}, "an interval as in"),
        ({"rating": "[nan,3]"}, "an interval as in"),
        ({"rating": "[3,4];x"}, "an interval as in"),
        ({"rating": 4}, "an interval as in"),
        ({"rating": ["4"]}, "rating is a number"),
        ({"gender": "[1,2]"}, "gender is text"),
        ({"gender": [False]}, "words in quotes"),
        ({"raiting": "[4,5]"}, "no such field. Did you mean 'rating'"),
    ],
)
def test_a_mistyped_filter_is_refused(rule: dict[str, Any], says: str, toy: Toy) -> None:
    with pytest.raises(UsageError, match=says):
        loaded(toy("MF", val_interval=rule))


def test_filters_that_are_well_formed_do_what_they_say(toy: Toy) -> None:
    data = loaded(toy("MF", val_interval={"rating": "[4,4];(4,inf)", "gender": ["F", "M"]}))
    rows = sum(len(data.pairs(phase)[0]) for phase in data.parts)
    assert rows == sum(3 + step % 3 >= 4 for _ in range(29) for step in range(10)) + sum(
        3 + step % 3 >= 4 for _ in range(12) for step in range(14)
    )


def test_bins_of_an_unknown_field_are_refused(toy: Toy) -> None:
    with pytest.raises(UsageError, match=r"group_bins\.agee: the data has no such field\. Did you mean 'age'"):
        loaded(toy("MF", group_bins={"agee": {"young": "[0,35)"}}))
    loaded(toy("MF", group_bins={"age": {"young": "[0,35)"}}))


@pytest.mark.parametrize("code", [True, None, ["a"]])
def test_codes_that_yaml_has_turned_into_something_else_are_refused(code: Any, toy: Toy) -> None:
    with pytest.raises(UsageError, match="put it in quotes"):
        codes_of([code], "group_bins.country.north")
    with pytest.raises(UsageError, match=r"unknown_values: .* put it in quotes"):
        run(**toy("Pop", unknown_values=[code]))


def test_an_interval_of_nan_is_refused() -> None:
    with pytest.raises(UsageError, match="an interval"):
        within("[nan,nan]", "likes")


def test_products_whose_names_collide_are_refused() -> None:
    first = by_value("user", "a", [(), ("x*y",), ("x",)])
    second = by_value("user", "b", [(), ("z",), ("y*z",)])
    with pytest.raises(UsageError, match=r"a\*b: x and y\*z, and x\*y and z would both be the group 'x\*y\*z'"):
        product([first, second])
    assert product([first, by_value("user", "b", [(), ("p",), ("q",)])]).names == ("x*p", "x*q", "x*y*p", "x*y*q")


# --- ids


def test_a_nul_byte_is_refused(changed: Callable[..., dict[str, Any]]) -> None:
    keys = changed(lambda _, text: text.replace("uM2\t", "uM1\0\t"))
    with pytest.raises(UsageError, match="holds a NUL byte"):
        fingerprint(Path(keys["data_path"]) / "toy", "toy")
    with pytest.raises(UsageError, match="holds a NUL byte"):
        run(**keys)
    with pytest.raises(UsageError, match=r"two ids of \.user are one to RecBole"):
        loaded(keys)


def test_rows_of_one_user_that_differ_are_refused(changed: Callable[..., dict[str, Any]]) -> None:
    def again(row: str) -> Change:
        return lambda suffix, text: text + row if suffix == ".user" else text

    with pytest.raises(UsageError, match=r"toy.user: user_id 'uM3' has several rows that differ"):
        loaded(changed(again("uM3\tF\t53\n")))
    assert loaded(changed(again("uM3\tM\t53\n"))).dataset.user_num == 43, "equal rows are one"


def test_rows_of_one_item_that_differ_are_refused(changed: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(UsageError, match=r"toy.item: item_id 'n1' has several rows"):
        loaded(changed(lambda suffix, text: text + "n1\tDark city night 1\tcomic\n" if suffix == ".item" else text))


@pytest.mark.parametrize(
    ("typed", "ids"),
    [
        ("010", ["010"]),
        ("0x1F,NO", ["0x1F", "NO"]),
        ("null", ["null"]),
        ("[01, 1e3]", ["01", "1e3"]),
        ('"a,b"', ["a,b"]),
    ],
)
def test_ids_typed_on_a_command_line_are_text(typed: str, ids: list[str]) -> None:
    assert arguments.parse([f"--users={typed}"], ()).take_ids("users") == ids


def test_recommend_lists_the_user_that_was_typed(
    changed: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    keys = changed(lambda _, text: text.replace("uM1\t", "010\t").replace("uM2\t", "8\t"))
    folder = run(**{**keys, "epochs": 1}).run_dir
    assert cli.main(["recommend", folder, "--users=010", "--k=2"]) == 0
    assert "user 010" in capsys.readouterr().out
    assert cli.main(["recommend", folder, "--users=[nan]", "--k=2"]) == 2
    assert "no such user" in capsys.readouterr().err


def test_yaml_keeps_codes_with_zeros_in_front() -> None:
    text = "{a: [010, 0x1F, 1:30, 1_000, 18, -3, 0, 1e-3, .5]}"
    assert yamls.parse(text, "test") == {"a": ["010", "0x1F", "1:30", "1_000", 18, -3, 0, 1e-3, 0.5]}
    assert yamls.parse(yamls.dump({"a": ["010", "0x1F", 8]}), "test") == {"a": ["010", "0x1F", 8]}


# --- scores


def test_scores_that_tell_no_items_apart_are_collapsed(toy: Toy, tmp_path: Path) -> None:
    flat = run_planted(toy, lambda *_: 1.0)
    assert flat.status == "collapsed" and any("the same score" in note for note in flat.warnings)
    tied = run_planted(toy, lambda user, item, _: float(item == "c1"), run_dir=str(tmp_path / "second"))
    assert tied.status == "ok", "some users' items differ"
