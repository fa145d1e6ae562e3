"""A user's own tables in one command, or as DataFrames in one call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml
from convert.conftest import manifest

from recbole_fair import cli, run
from recbole_fair.errors import UsageError
from recbole_fair.settings.config import Config

Say = Callable[..., tuple[int, str, str]]
PEOPLE, GOODS = 30, 24


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Type a command in tmp_path: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def typed(*argv: str) -> tuple[int, str, str]:
        status = cli.main(argv)
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return typed


def purchases(time: Callable[[int], str] = lambda n: f"2024-05-{1 + n // 30:02d} 04:35:{n % 60:02d}") -> pd.DataFrame:
    rows = [(f"c{n % PEOPLE}", f"P{(n * 7) % GOODS:03d}", time(n), n % 5) for n in range(600)]
    return pd.DataFrame(rows, columns=["customer", "sku", "bought_at", "qty"])


def customers() -> pd.DataFrame:
    rows = [(f"c{n}", "FM"[n % 2], ["NA", 18 + n][n % 5 > 0], f"{n} Main St") for n in range(PEOPLE)]
    return pd.DataFrame(rows, columns=["id", "sex", "age", "street"])


def products() -> pd.DataFrame:
    rows = [(f"P{n:03d}", f"Thing, number {n}", ["toys", "books"][n % 2], 5.5 * n, "a|b") for n in range(GOODS)]
    return pd.DataFrame(rows, columns=["sku", "Product Name", "kind of it", "price", "tags"])


def write(folder: Path, separator: str = ",", **frames: pd.DataFrame) -> None:
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False, sep=separator)


NAMED = ("--user=customer", "--item=sku", "--time=bought_at", "--name=shop")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_three_tables_in_one_command(separator: str, say: Say, tmp_path: Path) -> None:
    write(tmp_path, separator, purchases=purchases(), customers=customers(), products=products())
    files = ("--users=customers.csv", "--items=products.csv", "--lists=tags")
    status, shown, _ = say("convert", "csv", "purchases.csv", *NAMED, *files)
    assert status == 0 and "columns left out: qty" in shown
    assert shown.splitlines()[-1] == "next: recbole-fair --model=MF --dataset=shop"
    folder = tmp_path / "dataset_atomic/shop"
    first = (folder / "shop.inter").read_text().splitlines()[:2]
    seconds = pd.Timestamp("2024-05-01 04:35:00").timestamp()  # naive times are UTC
    assert first == ["user_id:token\titem_id:token\ttimestamp:float", f"c0\tP000\t{seconds:.0f}"]
    people = (folder / "shop.user").read_text().splitlines()
    assert people[:2] == ["user_id:token\tsex:token\tage:token\tstreet:token", "c0\tF\tNA\t0 Main St"]
    goods = (folder / "shop.item").read_text().splitlines()
    assert goods[0] == "item_id:token\tProduct_Name:token\tkind_of_it:token\tprice:token\ttags:token_seq"
    assert goods[1] == "P000\tThing, number 0\ttoys\t0.0\ta b"
    starter = yaml.safe_load((folder / "shop.yaml").read_text())
    assert starter["user_groups"] == ["sex", "age"]
    assert starter["item_groups"] == ["pop", "kind_of_it", "price", "tags"]
    assert starter["item_text"] == ["Product_Name", "kind_of_it", "tags"]
    assert starter["unknown_values"] == ["unknown", "NA"] and "eval_args" not in starter
    status, shown, _ = say("--model=Pop", "--dataset=shop", "--topk=5", "--valid_metric=NDCG@5", "--quiet")
    assert status == 0 and "gap_ndcg@5[age]" in shown and "cv@5[price]" in shown


@pytest.mark.parametrize("first", [18, 10_000_018])
def test_proposed_bins_hold_everyone_once(first: int, say: Say, tmp_path: Path) -> None:
    from recbole_fair.groups.bins import within

    people = customers().assign(age=lambda rows: [age if age == "NA" else first - 18 + age for age in rows["age"]])
    write(tmp_path, purchases=purchases(), customers=people)
    say("convert", "csv", "purchases.csv", *NAMED, "--users=customers.csv")
    bins = yaml.safe_load((tmp_path / "dataset_atomic/shop/shop.yaml").read_text())["group_bins"]["age"]
    ages = [str(age) for age in people["age"] if age != "NA"]
    held = {name: [age for age in ages if within(interval, name)(age)] for name, interval in bins.items()}
    assert sorted(age for members in held.values() for age in members) == sorted(ages)
    assert len(held) == 3 and all(6 <= len(members) <= 10 for members in held.values())


TIMES = {
    "a day": ("2024-05-02", "2024-05-02T00:00:00Z"),
    "a zone": ("2024-05-02T01:00:00+01:00", "2024-05-02T00:00:00Z"),
    "parts of a second": ("2024-05-02 00:00:00.250", "2024-05-02T00:00:00.250Z"),
    "seconds": ("1714608000", "2024-05-02T00:00:00Z"),
}


@pytest.mark.parametrize("written", TIMES)
def test_times_as_seconds(written: str, say: Say, tmp_path: Path) -> None:
    text, meant = TIMES[written]
    write(tmp_path, purchases=purchases(lambda _: text))
    assert say("convert", "csv", "purchases.csv", *NAMED)[0] == 0
    line = (tmp_path / "dataset_atomic/shop/shop.inter").read_text().splitlines()[1]
    assert float(line.split("\t")[2]) == pd.Timestamp(meant).timestamp()


@pytest.mark.parametrize("form", ["%d.%m.%Y", "%d/%m/%Y %H:%M", "%Y/%m/%d"])
def test_the_form_that_a_refusal_proposes_works(form: str, say: Say, tmp_path: Path) -> None:
    day = pd.Timestamp("2024-05-23")
    write(tmp_path, purchases=purchases(lambda n: (day + pd.Timedelta(days=n)).strftime(form)))
    status, _, error = say("convert", "csv", "purchases.csv", *NAMED)
    assert status == 2 and "purchases.csv, line 2: bought_at is no date or time (it reads" in error
    assert "on_error" not in error and "600 of 600" in error  # what would drop every row is no remedy
    remedy = error.partition("--time_format='")[2].partition("'")[0]
    status, shown, _ = say("convert", "csv", "purchases.csv", *NAMED, f"--time_format={remedy}")
    assert status == 0 and "columns left out: qty\n" in shown
    line = (tmp_path / "dataset_atomic/shop/shop.inter").read_text().splitlines()[1]
    assert float(line.split("\t")[2]) == day.timestamp()


def test_one_bad_time_is_named_with_a_remedy_that_works(say: Say, tmp_path: Path) -> None:
    frame = purchases()
    frame.loc[7, "bought_at"] = "soon"
    frame.loc[9, "bought_at"] = "1714608000"  # a number among dates would be out of order by decades
    write(tmp_path, purchases=frame)
    status, _, error = say("convert", "csv", "purchases.csv", *NAMED)
    assert status == 2 and "line 9: bought_at is no date or time (it reads 'soon'); expected a date" in error
    assert "(2 of 600), counted, with --on_error drop" in error
    status, shown, _ = say("convert", "csv", "purchases.csv", *NAMED, "--on_error", "drop")
    assert status == 0 and "598 rows in shop.inter" in shown
    assert manifest(tmp_path / "dataset_atomic/shop")["rows"]["inter"]["purchases.csv"]["dropped"] == {
        "bought_at is no date or time": 1,
        "bought_at is no time like those before it": 1,
    }


def test_without_time_rating_and_fields(say: Say, tmp_path: Path) -> None:
    """What is lacking is one sentence each, and the next command runs."""
    write(tmp_path, likes=purchases()[["customer", "sku"]])
    status, shown, _ = say("convert", "csv", "likes.csv", "--user=customer", "--item=sku")
    assert status == 0
    for words in ("no timestamps, so the split is random", "no ratings", "no fields of users", "no fields of items"):
        assert sum(words in line for line in shown.splitlines()) == 1
    following = shown.splitlines()[-1].removeprefix("next: recbole-fair ").split()
    assert say(*following, "--epochs=1", "--topk=5", "--valid_metric=NDCG@5", "--quiet")[0] == 0


def test_what_data_lack_is_said_by_a_run_in_one_sentence(say: Say, tmp_path: Path) -> None:
    write(tmp_path, likes=purchases()[["customer", "sku"]])
    say("convert", "csv", "likes.csv", "--user=customer", "--item=sku")
    common = ("--dataset=likes", "--topk=5", "--valid_metric=NDCG@5", "--quiet")
    refused = {
        "--model=MF --eval_args.order=TO": "likes has no timestamps",
        "--model=SASRec --eval_args.order=TO": "likes has no timestamps",
        "--model=SASRec": "SASRec reads items in time order",
        "--model=AlphaRec --item_encoder=random": "likes has no item fields",
        "--model=MF --eval_protocol=labeled --likes=[4,5] --valid_metric=AUC --topk=5": "likes has no ratings",
    }
    for typed, words in refused.items():
        rest = [word for word in common if word.partition("=")[0] not in typed]
        status, _, error = say(*typed.split(), *rest)
        assert status == 2 and words in error and error.count("\n") == 1, (typed, error)
        assert "torch.Size" not in error
    status, _, error = say("--model=MF", "--eval_args.order=TO", *common)
    assert "--eval_args.order=RO" in error
    assert say("--model=MF", "--eval_args.order=RO", "--epochs=1", *common)[0] == 0


REFUSED = {
    "convert purchases.csv --user=customer --item=sku": "say `convert csv purchases.csv",
    "convert csv": "give the file of interactions, as in",
    "convert csv nowhere.csv": "nowhere.csv: no such file",
    "convert csv purchases.csv": "which column names the users? Give --user=COLUMN; it has customer, sku",
    "convert csv purchases.csv --user=custommer --item=sku": "Did you mean 'customer'",
    "convert csv purchases.csv --user=customer --item=sku --users=products.csv": "Give --users_id=COLUMN",
    "convert csv purchases.csv --user=customer --item=sku --users=absent.csv": "absent.csv: no such file",
    "convert csv purchases.csv --user=customer --item=sku --encoding=utf-16": "save the file as UTF-8",
    "convert csv purchases.csv --user=customer --item=sku --encoding=utf-99": "save the file as UTF-8",
    "convert csv purchases.csv --user=customer --item=sku --separator=;;": "--separator=;;: expected one character",
    "convert csv purchases.csv --user=customer --item=sku --items=products.csv --lists=tag": "Did you mean 'tags'",
    "convert csv purchases.csv --user=customer --item=sku --name=ml-1m": "choose another --name",
    "convert csv purchases.csv --user=customer --item=sku --rating=bought_at": "bought_at is no number",
    "convert csv purchases.csv products.csv --user=customer --item=sku": "does not take products.csv",
    "convert csv purchases.csv --usr=customer --item=sku": "Did you mean 'user'",
    "convert csv latin.csv --user=customer --item=sku": "perhaps it is encoding latin-1",
    "convert csv twice.csv --user=a --item=b": "several columns 'a'",
    "convert csv wide.csv --user=a --item=b": "wide.csv, line 1: field larger than field limit",
    "convert csv purchases.csv --user=customer --item=sku --time=bought_at --time_format=%d%d": "part of a time once",
}


@pytest.mark.parametrize("typed", REFUSED)
def test_refusals_name_the_file_or_option(typed: str, say: Say, tmp_path: Path) -> None:
    write(tmp_path, purchases=purchases(), products=products())
    (tmp_path / "latin.csv").write_bytes("customer,sku\nKöln,1\n".encode("latin-1") * 1)
    (tmp_path / "twice.csv").write_text("a,b,a\n1,2,3\n")
    (tmp_path / "wide.csv").write_text(f"{'a' * 200_000}\n1\n")
    status, _, error = say(*typed.split())
    (refusal,) = (line for line in error.splitlines() if not line.startswith("writing "))  # the stage it came to
    assert status == 2 and REFUSED[typed] in refusal
    assert not list(tmp_path.glob("dataset_atomic/*"))


def test_fields_that_two_tables_share_get_their_side(say: Say, tmp_path: Path) -> None:
    people = customers().rename(columns={"street": "name"})
    goods = products().rename(columns={"Product Name": "name", "price": "rating"})
    write(tmp_path, purchases=purchases(), customers=people, products=goods)
    assert say("convert", "csv", "purchases.csv", *NAMED, "--users=customers.csv", "--items=products.csv")[0] == 0
    folder = tmp_path / "dataset_atomic/shop"
    assert "user_name:token" in (folder / "shop.user").read_text().splitlines()[0]
    assert {"item_name:token", "item_rating:token"} < set((folder / "shop.item").read_text().splitlines()[0].split())


def test_an_edited_property_file_stays_and_is_read(say: Say, tmp_path: Path) -> None:
    write(tmp_path, purchases=purchases(), customers=customers())
    typed = ("convert", "csv", "purchases.csv", *NAMED, "--users=customers.csv")
    say(*typed)
    own = tmp_path / "dataset_atomic/shop/shop.yaml"
    own.write_text("user_groups: [street]\n")
    assert say(*typed)[0] == 0 and own.read_text() == "user_groups: [street]\n"
    assert Config("Pop", "shop")["user_groups"] == ["street"]
    for text, words in (("epochs: 3", "epochs: is no key of a data set"), ("topk: x", "topk='x'")):
        own.write_text(text)
        with pytest.raises(UsageError, match=words) as caught:
            Config("Pop", "shop")
        assert "shop.yaml" in str(caught.value)


def test_data_frames_in_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    frame = purchases().assign(bought_at=lambda rows: pd.to_datetime(rows["bought_at"]))
    goods = products().assign(tags=lambda rows: rows["tags"].str.split("|"))
    said = {"user": "customer", "item": "sku", "time": "bought_at", "users": customers(), "items": goods,
            "lists": ["tags"], "topk": 5, "valid_metric": "NDCG@5"}  # fmt: skip
    result = run("Pop", frame, **said)
    assert result.dataset.startswith("frame-") and "gap_ndcg@5[sex]" in result.test and "cv@5[tags]" in result.test
    assert run("Pop", frame, **said).run_dir == result.run_dir  # the same frames, the same data set
    (tmp_path / "there.yaml").write_text("data_path: elsewhere")
    assert run("Pop", frame, config_files="there.yaml", **said).test == result.test
    assert (tmp_path / "elsewhere" / result.dataset).is_dir()
    changed = frame.iloc[1:]
    assert run("Pop", changed, **said).dataset != result.dataset
    assert run("Pop", frame, **said, name="shop").dataset == "shop"
    with pytest.raises(UsageError, match="holds another conversion"):
        run("Pop", changed, **said, name="shop")
    with pytest.raises(
        UsageError, match=r'^interactions \(a data frame\): which column names the users\? Give user="COLUMN"'
    ):
        run("Pop", frame)
    with pytest.raises(UsageError, match="expected a pandas DataFrame or the path of a CSV file, not int"):
        run("Pop", 3)
    with pytest.raises(UsageError, match=r"^absent\.csv: no such file"):
        run("Pop", frame, **{**said, "users": "absent.csv"})
    by_file = tmp_path / "purchases.csv"
    frame.to_csv(by_file, index=False)
    assert run("Pop", by_file, **said, name="filed").test == result.test


def test_fifty_thousand_rows(say: Say, tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {"customer": [f"c{n % 900}" for n in range(50_000)], "sku": [n * 31 % 1700 for n in range(50_000)]}
    )
    rows["bought_at"] = pd.date_range("2024-01-01", periods=50_000, freq="s").astype(str)
    write(tmp_path, purchases=rows)
    status, shown, _ = say("convert", "csv", "purchases.csv", *NAMED)
    assert status == 0 and "50000 rows in shop.inter, 900 rows in shop.user, 1700 rows in shop.item" in shown


def test_a_table_whose_name_has_an_umlaut_is_a_data_set_of_that_name(say: Say, tmp_path: Path) -> None:
    write(tmp_path, käufe=purchases())
    status, shown, error = say("convert", "csv", "käufe.csv", "--user=customer", "--item=sku", "--time=bought_at")
    assert (status, error.count("name=")) == (0, 0) and "--dataset=käufe" in shown
    assert Config("MF", "käufe").folder.name == "käufe"
