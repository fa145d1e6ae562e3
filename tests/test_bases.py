"""Which runs a run stands on: hashes and folders without training, refusals, and what a base takes over."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy import toy_keys

from recbole_fair import bases, registry, runner
from recbole_fair.bases import Made, Request
from recbole_fair.errors import BusyError, TrainingError, UsageError
from recbole_fair.host import BPR
from recbole_fair.rundir import folder as rundir
from recbole_fair.rundir.result import Result
from recbole_fair.settings import keys
from recbole_fair.settings.config import Config
from recbole_fair.training.trainer import FairTrainer

Toy = Callable[..., dict[str, Any]]


class Child(BPR):
    """Stands on other runs, and remembers nothing of them."""


def add(name: str, base: Any, **more: str) -> None:
    registry.add(registry.Row(name, f"{__name__}:Child", "host", "BPR", host="BPR", base=base, **more))


def single_prompts(config: Config) -> dict[str, Any]:
    """As CFP's mixture has it: one run for each sensitive attribute, on keys of its own."""
    given = config.external_config_dict
    return {
        name: {"model": "MF", "sensitive_attribute": [name], "learning_rate": given.get("learning_rate", 0.5)}
        for name in config["sensitive_attribute"]
    }


@pytest.fixture(autouse=True)
def own_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("models", "strategies"):
        rows = dict(getattr(registry, f"_{name}"))
        monkeypatch.setattr(registry, f"_{name}", rows)
        monkeypatch.setattr(registry, name.upper(), rows)
    monkeypatch.chdir(tmp_path)
    add("Child", "MF")
    add("Pair", {"gender": "MF", "age": "Child"})
    add("Mixture", f"{__name__}:single_prompts")


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("a folder was asked for, and something was trained")

    monkeypatch.setattr(FairTrainer, "fit", refuse)


def config(root: Path, model: str, **more: Any) -> Config:
    given = {key: value for key, value in toy_keys(root, root, model).items() if key != "run_dir"}
    return Config(overrides={**given, **more})


def finished(folder: Path, model: str = "MF", digest: str = "0123456789ab", seed: int = 2020) -> Path:
    folder.mkdir(parents=True)
    Result(model, None, "toy", seed, digest).save(folder)
    return folder


# BiFair's defaults until `shares: auto` and the exact product; given, they have the hash that they had.
FORMER_BIFAIR = {"shares": "natural", "fair_weight": 1.0, "implicit": "finite_difference"}

# Computed before bases were pure: each was then found by training what the run stands on.
LITERAL = [
    ("MF", {}, "c46a4380b271-s2020"),
    ("OffsetMF", {"fair_group": "genre", "offset_steps": 3}, "db6761e7a404-s2020"),
    ("OffsetReweightMF", {"fair_group": "genre", "offset_steps": 3, "seed": 7}, "5bcba7eaa2c4-s7"),
    ("OffsetBiFairLinear", {"fair_group": "genre", **FORMER_BIFAIR}, "28a3639e6091-s2020"),
    ("Child", {"base": "auto", "learning_rate": 0.05}, "a62dbbca3e3e-s2020"),
    ("Child", {"learning_rate": 0.05}, "a62dbbca3e3e-s2020"),
    ("Child", {"base": "base", "seed": 4}, "b54bee711f87-s4"),
    ("Child", {"base": "base", "seed": 3}, "45542aef8974-s3"),
    ("MF", {"load": "base", "learning_rate": 0.05, "seed": 3}, "cb14509aeb10-s3-loaded"),
]


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize(("model", "more", "name"), LITERAL)
def test_hashes_and_folders_are_those_of_former_runs(
    model: str, more: dict[str, Any], name: str, toy_root: Path
) -> None:
    finished(Path("base"), digest="fe3f39b61a96", seed=3)
    (Path("base") / "config.yaml").write_text("")
    given = {key: value for key, value in toy_keys(toy_root, toy_root, model).items() if key != "run_dir"}
    folder = runner.folder_of(**{**given, **more})
    assert folder == Path("runs/toy") / model / name
    assert not Path("runs").exists()


def test_the_hash_of_a_request_is_the_hash_of_the_run_it_becomes(toy: Toy) -> None:
    child = config(Path(toy("MF")["data_path"]), "Child", epochs=1)
    (request,) = bases.bases_of(child)
    assert isinstance(request, Request)
    result = runner.run(**toy("Child", epochs=1))
    assert result.base == str(request.folder)
    assert Result.read(request.folder).config_hash == request.digest
    assert result.config_hash == bases.digest_of(child, (request,))
    assert result.config_hash == bases.digest_of(child, (Made("", request.folder),)), "found or named, it is the same"


def test_several_bases_have_names_and_each_its_own_run(toy_root: Path) -> None:
    pair = config(toy_root, "Pair", bases={"gender": str(finished(Path("here")))}, epochs=3, learning_rate=0.1)
    age, gender = bases.bases_of(pair)
    assert (age.name, age.model, gender.name) == ("age", "Child", "gender")
    assert isinstance(gender, Made) and gender.folder == Path("here")
    assert isinstance(age, Request)
    (beneath,) = age.bases
    assert (beneath.model, str(beneath)) == ("MF", "base MF of Child")
    assert age.config["epochs"] == 3 and age.config["learning_rate"] != 0.1, "of another model, so not its rate"
    assert bases.parents_of(pair, (age, gender)) == [f"base age {age.digest}", "base gender 0123456789ab"]


def test_a_function_declares_bases_from_the_configuration(toy_root: Path) -> None:
    mixture = config(toy_root, "Mixture", sensitive_attribute=["gender", "age"], learning_rate=0.25)
    age, gender = bases.bases_of(mixture)
    assert isinstance(age, Request) and isinstance(gender, Request)
    assert (age.keys["sensitive_attribute"], gender.keys["sensitive_attribute"]) == (["age"], ["gender"])
    assert age.keys["learning_rate"] == 0.25
    assert age.digest != gender.digest


def test_a_run_that_stands_on_several_makes_each_once_and_opens_again(toy: Toy, tmp_path: Path) -> None:
    result = runner.run(**toy("Pair", epochs=1))
    assert result.base is None and set(result.bases) == {"age", "gender"}
    (child,) = Path("runs/toy/Child").iterdir()
    (trained,) = Path("runs/toy/MF").iterdir()  # Pair and Child stand on the same one
    assert result.bases == {"age": str(child), "gender": str(trained)}
    assert Result.read(child).base == str(trained)
    assert "bases" in result.seconds
    assert f"base age: Child of Pair is made first, in {child}" in (tmp_path / "run" / "run.log").read_text()
    runner.open_run(tmp_path / "run")
    (trained / "result.json").unlink()
    with pytest.raises(UsageError, match=r"bases: gender: runs/toy/MF/.*: no finished run"):
        runner.open_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("model", "more", "message"),
    [
        ("MF", {"base": "here"}, "base=here: MF stands on no other run; drop it"),
        ("MF", {"base": "auto"}, "base=auto: MF stands on no other run; drop it"),
        ("Child", {"bases": {"gender": "here"}}, "bases: gender: Child stands on no such run. It has base"),
        ("Pair", {"bases": {"gendre": "auto"}}, "no such run. Did you mean 'gender'? It has gender, age"),
        ("Pair", {"bases": {"gender": 3}}, "bases: gender: 3 must be auto or the folder of a finished run"),
        ("Pair", {"bases": {"gender": "nowhere"}}, "bases: gender: nowhere: no finished run"),
        ("Child", {"base": "nowhere"}, "base=nowhere: no finished run"),
        ("OffsetMF", {"base": "here"}, "base=here: holds Child; OffsetMF works on MF"),
    ],
)
def test_bases_that_cannot_be_are_refused(model: str, more: dict[str, Any], message: str, toy_root: Path) -> None:
    (finished(Path("here"), "Child") / "config.yaml").write_text("")
    with pytest.raises(UsageError) as refusal:
        bases.bases_of(config(toy_root, model, fair_group="genre", **more))
    assert message in str(refusal.value)


@pytest.mark.usefixtures("untrained")
def test_a_base_that_cannot_be_made_is_named_before_anything_trains(toy: Toy, tmp_path: Path) -> None:
    add("Orphan", {"first": "MF", "second": "Missing"})
    with pytest.raises(UsageError, match=r"base second: Missing of Orphan: model='Missing': no such model"):
        runner.run(**toy("Orphan"))
    assert not (tmp_path / "run").exists() and not Path("runs").exists()


def test_runs_without_end_are_refused(toy_root: Path) -> None:
    add("Hen", "Egg")
    add("Egg", "Hen")
    with pytest.raises(UsageError, match=r"Hen on Egg on Hen.*no end of runs"):
        runner.folder_of(**{**toy_keys(toy_root, toy_root, "Hen"), "run_dir": None})


@pytest.mark.parametrize(
    ("error", "kind"),
    [(TrainingError("nan"), TrainingError), (BusyError("busy"), BusyError), (UsageError("no"), UsageError)],
)
def test_what_stops_a_base_says_which_and_keeps_its_kind(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception]
) -> None:
    made = runner.run

    def failing(*arguments: Any, **more: Any) -> Any:
        if arguments:
            raise error
        return made(**more)

    monkeypatch.setattr(runner, "run", failing)
    with pytest.raises(kind, match=f"base MF of Child: {error}"):
        runner.run(**toy("Child"))
    left = (tmp_path / "run" / "result.json").exists()
    assert left == (kind is TrainingError), "a refused run leaves nothing, one that broke down says so"


def test_a_base_that_another_process_trains_is_busy_and_not_broken(toy: Toy, toy_root: Path, tmp_path: Path) -> None:
    (request,) = bases.bases_of(config(toy_root, "Child"))
    with rundir.locked(request.folder), pytest.raises(BusyError, match=r"base MF of Child: .*another process"):
        runner.run(**toy("Child"))
    assert not (tmp_path / "run").exists()


def test_what_a_base_takes_over_is_marked_by_its_key(toy_root: Path) -> None:
    given = {"epochs": 7, "seed": 5, "group_bins": {}, "learning_rate": 0.3, "save_recommendations": True}
    (other,) = bases.bases_of(config(toy_root, "Child", **given))
    (itself,) = bases.bases_of(config(toy_root, "OffsetMF", offset_steps=9, **given))
    assert isinstance(other, Request) and isinstance(itself, Request)
    assert {"epochs", "seed", "group_bins", "eval_args"} <= set(other.keys)
    assert all(keys.handed_down(key) for key in other.keys)
    assert {"epochs", "seed", "group_bins", "learning_rate", "topk"} <= set(itself.keys)
    assert not {"offset_steps", "save_recommendations", "model", "dataset", "base", "run_dir"} & set(itself.keys)


def test_what_decides_the_data_and_the_split_is_handed_down() -> None:
    """Else a base would train on what the run above it holds out."""
    split = {"eval_args", "split_seed", "load_col", "unload_col", "val_interval", "rm_dup_inter", "threshold"}
    split |= {"user_inter_num_interval", "item_inter_num_interval", "filter_inter_by_user_or_item", "LABEL_FIELD"}
    assert {key for key in split if not keys.handed_down(key)} == set()


@pytest.mark.parametrize(
    ("name", "family"),
    [("MFPlus", "strategy"), ("M", "strategy"), ("Offsets", "host"), ("Bi", "host"), ("BPR", "host")],
)
def test_names_that_could_be_read_in_two_ways_are_refused(name: str, family: str) -> None:
    with pytest.raises(UsageError, match=r"two ways|is taken"):
        registry.add(registry.Row(name, "x:X", family, "BPR"))


def test_the_rows_of_the_package_could_be_registered() -> None:
    pairs = [(s, m) for s in registry.STRATEGIES for m in (*registry.MODELS, *registry.ALIASES)]
    assert [(s, m) for s, m in pairs if m.startswith(s)] == []
    assert [(s, m) for s, m in pairs if s.startswith(m)] == [("PopDRO", "Pop")], (
        "its paper calls it so; read in one way"
    )


def test_a_configuration_file_may_name_what_a_run_goes_on_with(toy: Toy, tmp_path: Path) -> None:
    base = runner.run(**toy("MF", epochs=1, learning_rate=0.125, run_dir=str(tmp_path / "base"))).run_dir
    Path("mine.yaml").write_text(json.dumps({"strategy": "Offset", "base": base, "fair_group": "genre"}))
    went_on = Config(config_files=["mine.yaml"], overrides={"data_path": toy("MF")["data_path"]})
    assert (went_on.name, went_on["learning_rate"], went_on["epochs"]) == ("OffsetMF", 0.125, 1)
    Path("model.yaml").write_text(json.dumps({"model": "OffsetMF", "base": base, "fair_group": "genre"}))
    other = Config(config_files=["model.yaml"], overrides={"data_path": toy("MF")["data_path"]})
    assert other.effective == went_on.effective
