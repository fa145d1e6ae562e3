"""What the command line says of itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import recbole_fair
from recbole_fair import cli, registry
from recbole_fair.commands import reference
from recbole_fair.commands.table import COMMANDS
from recbole_fair.errors import UsageError
from recbole_fair.settings import keys, yamls
from recbole_fair.settings.config import Config

Say = Callable[..., str]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    def said(*words: str, status: int = 0) -> str:
        assert cli.main(words) == status
        shown = capsys.readouterr()
        return shown.out if status == 0 else shown.err

    return said


def test_help_is_asked_for_in_the_usual_ways(say: Say) -> None:
    assert say() == say("-h") == say("--help") != say("run", "--help")
    assert say("--version") == f"recbole-fair {recbole_fair.__version__}\n"
    for name in COMMANDS:
        assert say(name, "-h")


def test_the_first_page_of_help_fits_a_screen_and_names_every_sub_command(say: Say) -> None:
    lines = say("--help").splitlines()
    assert len(lines) <= 48 and max(map(len, lines)) <= 100
    assert [line.split()[0] for line in lines if re.match("  [a-z]+  ", line)] == list(COMMANDS)
    assert "every key of a run" in lines[-3]


def test_every_key_stands_in_one_section() -> None:
    own = [key for names in keys.sections().values() for key in names]
    assert sorted(own) == sorted(keys.declared())
    assert {whose for _, whose in keys.sections()} == {"every model", "some models"}


def test_help_has_default_choices_and_meaning_of_what_people_type(say: Say) -> None:
    shown = say("run", "--help")
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 120
    for key in ("epochs", "learning_rate", "train_batch_size", "topk", "metrics", "valid_metric", "stopping_step",
                "eval_args", "load_col", "gpu_id", "embedding_size"):  # fmt: skip
        assert re.search(rf"^  {key} = \S", shown, re.M), key
    assert re.search(r"^  epochs = 300 +\w", shown, re.M)
    assert re.search(r"^  item_group_multi = all +.*\n +first \(all, first\)", shown, re.M)
    assert "  gain" not in shown and "refused" not in shown, "no key of one method, none that is refused"


def test_the_help_of_a_model_shows_what_it_reads_with_its_defaults() -> None:
    shown = reference.of_model("BiFairAlphaRec")
    for file in ("family/embedding.yaml", "model/AlphaRec.yaml", "strategy/BiFair.yaml"):
        for key in yamls.packaged(file):
            assert f"  {key} = " in shown, key
    defaults = Config("BiFairAlphaRec", "ml-100k")
    for key, value in re.findall(r"^  (\w+) = ([\d.]+)(?: |$)", shown, re.M):
        assert float(value) == defaults[key], key


def test_a_key_of_recboles_own_is_explained_in_its_words(say: Say) -> None:
    assert re.search(r"^  n_heads = 2 +The number of attention heads", say("--help", "--model=SASRec"), re.M)


@pytest.mark.parametrize("name", [*registry.MODELS, "OffsetBiFairAlphaRec"])
def test_every_model_has_help(name: str) -> None:
    assert reference.of_model(name).startswith(f"{registry.resolve(name).name}, ")


@pytest.mark.parametrize(
    ("typed", "name"),
    [("lightgcn", "LightGCN"), ("REWEIGHTbpr", "ReweightMF"), ("bifair-alg2alpharec", "BiFair-Alg2AlphaRec")],
)
def test_a_name_is_found_whatever_its_case(typed: str, name: str) -> None:
    assert registry.resolve(typed).name == name
    assert registry.resolve("mf", "offset").name == "OffsetMF"


def test_a_model_is_called_as_it_was_typed(toy: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match=r"^MultVAE: it reduces its loss"):
        recbole_fair.run(**toy("ReweightMultVAE"))


def test_no_two_names_differ_in_case_only() -> None:
    names = [name.casefold() for name in registry._all_names()]
    assert len(names) == len(set(names))


def test_the_usual_short_names_of_keys_are_taken() -> None:
    config = Config("MF", "ml-100k", overrides={"lr": 0.5, "batch_size": 7})
    assert (config["learning_rate"], config["train_batch_size"]) == (0.5, 7)
    assert (
        config.effective == Config("MF", "ml-100k", overrides={"learning_rate": 0.5, "train_batch_size": 7}).effective
    )
    with pytest.raises(UsageError, match="lr: is learning_rate, which is given too"):
        Config("MF", "ml-100k", overrides={"lr": 0.5, "learning_rate": 0.5})


def test_data_sets_are_listed_with_where_they_are(say: Say, toy_root: Path) -> None:
    shown = say("datasets", f"--data_path={toy_root}")
    assert re.search(r"^ml-100k +inside the recbole package +pop, genre, gender, age$", shown, re.M)
    assert re.search(rf"^toy +{toy_root}/toy$", shown, re.M)
    assert "recbole-fair convert ml-1m --raw DIR" in shown


def test_metrics_are_listed_with_their_better_side(say: Say) -> None:
    shown = say("metrics")
    assert re.search(r"^CV +groups of items +lists +lower is better$", shown, re.M)
    assert re.search(r"^GD +groups of users +yes/no answers +", shown, re.M)
    assert re.search(r"^ndcg +everyone +lists \(RecBole's\) +higher is better$", shown, re.M)


@pytest.mark.parametrize("name", [*registry.MODELS, *registry.STRATEGIES])
def test_references_are_bibtex(name: str, say: Say) -> None:
    shown = say("models", "--cite", name)
    entries = re.findall(r"@misc\{\w[\w-]*,\n  author = \{.+\},\n  title = \{\{.+\}\}(?:,\n  \w+ = \{.+\})*\n\}", shown)
    assert entries and "\n".join(entries) == shown.strip()


def test_several_authors_are_joined_as_bibtex_wants_them(say: Say) -> None:
    assert "author = {Rianne van den Berg and Thomas N. Kipf and Max Welling}" in say("models", "--cite", "GCMC")
    assert "author = {Leheng Sheng and others}" in say("models", "--cite", "alpharec")


def test_runs_are_listed_and_shown(say: Say, run_toy: Callable[..., Any], tmp_path: Path) -> None:
    first = run_toy("Pop", run_dir=str(tmp_path / "runs" / "abc-s1"))
    run_toy("Random", run_dir=str(tmp_path / "runs" / "abd-s1"))
    shown = say("runs", str(tmp_path))
    assert [line.split()[:4] for line in shown.splitlines()[1:]] == [
        ["toy", "Pop", "2020", "ok"], ["toy", "Random", "2020", "ok"]
    ]  # fmt: skip
    where = f"--root={tmp_path}"
    assert say("show", first.run_dir) == say("show", "abc", where) == first.table() + "\n"
    assert "2 runs" in say("show", "ab", where, status=2)
    assert "no run of this name" in say("show", "x", where, status=2)
    assert "no run below" in say("runs", str(tmp_path / "none"), status=2)
