"""Forty mistakes of a first user: one line that names the key or file, and a remedy that works when it is typed."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from toy import write_toy

from recbole_fair import cli

Say = Callable[[str], tuple[int, str]]
COMMON = {"--model": "Pop", "--dataset": "toy", "--data_path": "data", "--topk": "3,5", "--valid_metric": "NDCG@5",
          "--epochs": "1", "--use_gpu": "False", "--user_groups": "gender", "--bootstrap": "0"}  # fmt: skip
BINS = """--group_bins.age="{low: '[0,30)', high: '[30,inf)'}" """

# What is typed, a part of what is said, and what is typed then: the remedy, or the command without the mistake.
MISTAKES = [
    # names
    ("--model=LightGNC", "Did you mean 'LightGCN'", "--model=LightGCN"),
    ("--model=OffsetPopp", "Did you mean", "--model=Pop"),
    ("--dataset=tooy", "Did you mean 'toy'", "--dataset=toy"),
    ("--dataset=ml-1m", "recbole-fair convert ml-1m", "--dataset=toy"),
    ("--learnig_rate=0.1", "Did you mean 'learning_rate'", "--learning_rate=0.1 --model=MF"),
    ("--metrics=NDGC", "Did you mean", "--metrics=NDCG"),
    ("--user_groups=gendr", "user_groups='gendr': the data has no such field. Did you mean 'gender'",
     "--user_groups=gender"),
    ("--item_groups=gender", "item_groups='gender': is a field of users", "--item_groups=genre --genre_field=genre"),
    ("--user_groups=title", "toy has gender, age", "--user_groups=gender,age"),
    ("--config_files=typo.yaml", "typo.yaml: unknown key 'metrik'", "--config_files=good.yaml"),
    ("--config_files=absent.yaml", "absent.yaml: no such file", "--config_files=good.yaml"),
    ("--config_files=wrong.yaml", "wrong.yaml: stopping_step='many': expected int", "--stopping_step=2"),
    # values
    ("--epochs=many", "epochs='many': expected int", "--epochs=2"),
    ("--topk=0", "topk=0: a positive number", "--topk=5"),
    ("--topk=5000 --valid_metric=NDCG@5000", "the data set has only 24 items", "--topk=5"),
    ("--valid_metric=NDCG", "name a metric and its K, as in NDCG@20", "--valid_metric=NDCG@3"),
    ("--seed=-1", "seed=-1: out of bounds", "--seed=1"),
    ("--model=MF --loss_decimal_place=-1", "loss_decimal_place=-1: out of bounds, allowed is [0, 17]",
     "--model=MF --loss_decimal_place=4"),
    ("--encoding=utf-16", "encoding=utf-16: ", "--encoding=utf-8"),
    ("--log_wandb=True", "log_wandb=True: wandb is not installed", "--log_wandb=False"),
    ("--model=EASE --reg_weight=0", "reg_weight=0: EASE", "--model=EASE --reg_weight=1"),
    ("--model=MF --train_neg_sample_args=~", "train_neg_sample_args=~: MF learns", "--model=MF"),
    # splits and what data lack
    ("--eval_args.split.RS=0.8,0.2", "eval_args.split.RS=[0.8, 0.2]: give three", "--eval_args.split.RS=0.8,0.1,0.1"),
    ("--eval_args.split.RS=[0.4,0.2,0.2,0.2]", "give three positive shares", "--eval_args.split.RS=[0.6,0.2,0.2]"),
    ("--eval_args.split=0.8", "eval_args.split=0.8: give one of RS", "--eval_args.split.RS=0.6,0.2,0.2"),
    ("--eval_args.order=random", "choose RO (random order) or TO", "--eval_args.order=RO"),
    ("--dataset=timeless", "timeless has no timestamps", "--dataset=timeless --eval_args.order=RO"),
    ("--dataset=timeless --model=SASRec", "choose a model that does not, such as MF",
     "--dataset=timeless --model=MF --eval_args.order=RO"),
    ("--load_col.inter=user_id,item_id", "load_col.inter: leaves out timestamp",
     "--load_col.inter=user_id,item_id,timestamp --user_groups=[]"),
    ("--model=AlphaRec --item_encoder=random", "name those to read, as in --item_text=title",
     "--model=AlphaRec --item_encoder=random --item_text=title"),
    ("--user_inter_num_interval=[1000,inf)", "no interaction is left by user_inter_num_interval",
     "--user_inter_num_interval=[2,inf)"),
    ("--val_interval=\"{rating: '9,inf'}\"", "val_interval.rating='9,inf': an interval",
     "--val_interval=\"{rating: '[2,inf)'}\""),
    # runs
    ("--load=nosuch", "load='nosuch': no run is there", ""),
    ("--load=[a,b]", "load=['a', 'b']: no run is there", ""),
    ("--model=OffsetMF --base=nosuch", "nosuch", "--model=Pop"),
    ("--model=BiFairMF", "--model=BiFairAlphaRec", "--model=AlphaRec --item_encoder=random --item_text=title"),
    ("--topk", "--topk: needs a value", "--topk=5"),
    ("--topk=5 --topk=10", "given twice", "--topk=5"),
    ("run toy", "'toy': expected --key=value", ""),
    ("rnu", "Did you mean 'run'", "run"),
    # own tables
    ("convert buys.csv", "say `convert csv buys.csv --user=COLUMN", "convert csv buys.csv --user=who --item=what"),
    ("convert csv buys.csv", "Give --user=COLUMN; it has who, what, day",
     "convert csv buys.csv --user=who --item=what"),
    ("convert csv buys.csv --user=who --item=what --time=day", "--time_format='%d.%m.%Y'",
     "convert csv buys.csv --user=who --item=what --time=day --time_format='%d.%m.%Y'"),
    ("convert csv buys.csv --user=who --item=what --rating=day", "day is no number",
     "convert csv buys.csv --user=who --item=what"),
    # files
    ("--dataset=wide", "wide.inter, line 2: 5 fields, the first line names 4", "--dataset=toy"),
    ("--dataset=words", "words.inter, line 2: rating='good' is no float", "--dataset=toy"),
    ("--dataset=quoted", "quoted.inter, line 2: a quote", "--dataset=toy"),
    ("--dataset=nobody", "nobody.user: holds no row after its first line", "--dataset=toy"),
    ("--dataset=twice", "twice.inter, line 1: names 'rating' twice", "--dataset=toy"),
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with toy data, damaged copies of it, property files and a table."""
    folder = tmp_path_factory.mktemp("place")
    write_toy(folder / "data")
    for name, suffix, change in (
        ("timeless", "inter", lambda text: "\n".join(line.rpartition("\t")[0] for line in text.splitlines()) + "\n"),
        ("wide", "inter", lambda text: text.replace("\n", "\nu\ti\t3\t4\t5\n", 1)),
        ("words", "inter", lambda text: text.replace("\n", "\nu\ti\tgood\t4\n", 1)),
        ("quoted", "inter", lambda text: text.replace("\n", '\n"u"x\ti\t3\t4\n', 1)),
        ("nobody", "user", lambda text: text.splitlines()[0] + "\n"),
        ("twice", "inter", lambda text: text.replace("timestamp", "rating")),
    ):
        (folder / "data" / name).mkdir()
        for kind in ("inter", "user", "item"):
            text = (folder / f"data/toy/toy.{kind}").read_text()
            (folder / f"data/{name}/{name}.{kind}").write_text(change(text) if kind == suffix else text)
    (folder / "good.yaml").write_text("epochs: 2\neval_args.order: RO\n")
    (folder / "typo.yaml").write_text("metrik: NDCG\n")
    (folder / "wrong.yaml").write_text("stopping_step: many\n")
    rows = [(f"w{n % 30}", f"i{n * 7 % 24}", f"{1 + n % 28:02d}.05.2024") for n in range(400)]
    pd.DataFrame(rows, columns=["who", "what", "day"]).to_csv(folder / "buys.csv", index=False)
    return folder


@pytest.fixture
def say(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Say:
    """Type a command: exit status, and what stands on stderr."""
    monkeypatch.chdir(place)

    def typed(text: str) -> tuple[int, str]:
        words = shlex.split(text)
        if not words or words[0].startswith("--"):
            own = {word.partition("=")[0] for word in words}
            words += [f"{key}={value}" for key, value in COMMON.items() if key not in own or text == "--topk"]
            words += [f"--run_dir={tmp_path / str(len(list(tmp_path.iterdir())))}", "--quiet"]
        elif words[0] == "convert":
            words.append(f"--out={tmp_path / 'out'}")
        elif words == ["run"]:
            return typed("")
        status = cli.main(words)
        return status, capsys.readouterr().err

    return typed


@pytest.mark.parametrize(("mistake", "says", "remedy"), MISTAKES, ids=[row[0] for row in MISTAKES])
def test_a_mistake_is_named_and_its_remedy_works(mistake: str, says: str, remedy: str, say: Say) -> None:
    status, error = say(mistake)
    told = [line for line in error.splitlines() if line.startswith("recbole-fair: ")]
    assert status == 2 and len(told) == 1 and says in told[0], error
    assert len(told[0]) < 420 and "Traceback" not in error and "torch.Size" not in error
    status, error = say(remedy)
    assert status == 0, error


def test_there_are_forty() -> None:
    assert len(MISTAKES) >= 40


def test_numbers_as_groups_are_said_to_want_bins(
    say: Say, tmp_path: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from recbole_fair import run

    keys = {key.removeprefix("--"): value for key, value in COMMON.items() if key not in ("--epochs", "--use_gpu")}
    keys |= {"user_groups": "age", "data_path": place / "data", "bootstrap": 0, "use_gpu": False}
    warned = run(**keys, run_dir=tmp_path / "many").warnings
    assert any("age: 42 groups of one number each; put them into bins, as in --group_bins.age=" in w for w in warned)
    assert say(f"--user_groups=age {BINS}")[0] == 0
