"""Attacks on who reads a received folder or data set: each would run code, change a foreign file, hang or mislead."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from recbole_fair import cli, registry, run, storage
from recbole_fair.errors import BusyError, UsageError
from recbole_fair.jobs.job import Job
from recbole_fair.rundir import folder as rundir
from recbole_fair.runner import open_run
from recbole_fair.settings import yamls
from recbole_fair.settings.config import Config

Toy = Callable[..., dict[str, Any]]
RunToy = Callable[..., Any]


# --- files that RecBole's models open

OPENS = re.compile(r"np\.load|torch\.load|pickle|\bopen\(|loadtxt|genfromtxt|read_csv|load_npz|from_pretrained")
# Every call that some registered model makes, and the setting without which it is not reached.
CLOSED = {
    "NeuMF": ["use_pretrain=True", "mf_pretrain_path='a'", "mlp_pretrain_path='a'"],
    "NAIS": ["pretrain_path='a'"],
    "ConvNCF": ["pre_model_path='a'", "train_method=after_pretrain"],
    "LDiffRec": ["n_cate=2"],
}


def opens_files(name: str) -> bool:
    """Whether a class of RecBole that this row's class is made of opens a file by itself."""
    targets = [registry.MODELS[name].target, *registry.MODELS[name].variants.values()]
    classes = {row for target in targets for row in registry.load(target).__mro__}
    hosts = {inspect.getmodule(row) for row in classes if row.__module__.startswith("recbole.model.")}
    return any(OPENS.search(inspect.getsource(module)) for module in hosts if module)


def test_the_registered_models_that_open_files_are_those_whose_keys_are_refused() -> None:
    assert {name for name in registry.MODELS if opens_files(name)} == set(CLOSED)


@pytest.mark.parametrize(("model", "setting"), [(model, key) for model, keys in CLOSED.items() for key in keys])
def test_keys_that_would_unpickle_a_file_are_refused(model: str, setting: str, toy: Toy) -> None:
    key, _, text = setting.partition("=")
    with pytest.raises(UsageError, match=key):
        Config(overrides=toy(model, **{key: yamls.value_of(text, key)}))


# --- weights


def forge(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change the weights and let model.json vouch for them."""
    weights, facts = folder / "model.safetensors", folder / "model.json"
    state = load_file(weights)
    change(state)
    save_file(state, weights, metadata={"about": "{}"})
    about = json.loads(facts.read_text())
    facts.write_text(json.dumps({**about, "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}))


def part_of(state: dict[str, torch.Tensor], ending: str) -> str:
    return next(name for name in sorted(state) if name.endswith(ending))


def far_index(state: dict[str, torch.Tensor]) -> None:
    state[part_of(state, "|indices")][0] = 2**30


def negative_index(state: dict[str, torch.Tensor]) -> None:
    state[part_of(state, "|indices")][0] = -(2**20)


def falling_pointer(state: dict[str, torch.Tensor]) -> None:
    state[part_of(state, "|indptr")][1] = 2**30


def other_shape(state: dict[str, torch.Tensor]) -> None:
    state[part_of(state, "|shape")][1] += 5


def integers(state: dict[str, torch.Tensor]) -> None:
    name = part_of(state, "|data")
    state[name] = state[name].to(torch.int8)


def not_a_number(state: dict[str, torch.Tensor]) -> None:
    state[part_of(state, "|data")][0] = float("nan")


def left_out(state: dict[str, torch.Tensor]) -> None:
    del state[part_of(state, "|data")]


@pytest.mark.parametrize(
    "change", [far_index, negative_index, falling_pointer, other_shape, integers, not_a_number, left_out]
)
def test_forged_sparse_weights_are_refused_before_they_are_used(
    change: Callable[[dict[str, torch.Tensor]], None], run_toy: RunToy
) -> None:
    folder = Path(run_toy("ItemKNN").run_dir)
    forge(folder, change)
    with pytest.raises(UsageError, match=r"model\.safetensors"):
        open_run(folder)


@pytest.mark.parametrize("kind", [torch.int8, torch.float64, "nan"])
def test_weights_of_another_type_or_not_finite_are_refused(kind: Any, run_toy: RunToy) -> None:
    folder = Path(run_toy("MF", epochs=1).run_dir)

    def change(state: dict[str, torch.Tensor]) -> None:
        name = part_of(state, "weight")
        state[name] = state[name] * float("nan") if kind == "nan" else state[name].to(kind)

    forge(folder, change)
    with pytest.raises(UsageError, match=r"model\.safetensors: 'item_embedding.weight'"):
        open_run(folder)


def stopped_after_an_epoch(keys: dict[str, Any]) -> Path:
    def stop(epoch: int, score: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(**keys, on_epoch=stop)
    return Path(keys["run_dir"]) / "resume.safetensors"


@pytest.mark.parametrize("where", [0.5, 0.9, -3])
def test_one_flipped_bit_of_a_resume_point_is_noticed(where: float, toy: Toy) -> None:
    point = stopped_after_an_epoch(toy("MF", epochs=3))
    content = bytearray(point.read_bytes())
    content[int(where * len(content)) if where > 0 else int(where)] ^= 1
    point.write_bytes(bytes(content))
    with pytest.raises(UsageError, match=r"resume\.safetensors"):
        run(**toy("MF", epochs=3, resume=True))


# --- links, pipes and devices


@pytest.mark.parametrize("name", ["run.log", ".lock", "result.json", "users.csv"])
def test_no_link_in_a_run_folder_is_followed(name: str, toy: Toy, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine\n")
    begun = stopped_after_an_epoch(toy("MF", epochs=3)).parent
    (begun / name).unlink(missing_ok=True)
    (begun / name).symlink_to(victim)
    with pytest.raises(UsageError, match="is a link"):
        run(**toy("MF", epochs=3, resume=True))
    assert victim.read_text() == "mine\n"


def test_a_hard_link_in_place_of_the_log_is_not_written_to(toy: Toy, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine\n")
    begun = stopped_after_an_epoch(toy("MF", epochs=3)).parent
    (begun / "run.log").unlink()
    (begun / "run.log").hardlink_to(victim)
    with pytest.raises(UsageError, match=r"run\.log"):
        run(**toy("MF", epochs=3, resume=True))
    assert victim.read_text() == "mine\n"


def test_a_link_that_lies_in_wait_beside_a_file_is_not_written_through(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "value.json"
    victim.write_text("mine\n")
    path.with_name(f"value.json.{os.getpid()}.partial").symlink_to(victim)
    storage.write_json(path, {"written": 1})
    assert victim.read_text() == "mine\n"
    assert storage.read_json(path) == {"written": 1}


@pytest.mark.parametrize("special", ["pipe", "device", "folder"])
@pytest.mark.parametrize("read", [storage.read_json, yamls.read_mapping, storage.read_tensors, storage.read_sealed])
def test_what_is_no_ordinary_file_is_refused_at_once(special: str, read: Any, tmp_path: Path) -> None:
    path = tmp_path / "special"
    {"pipe": os.mkfifo, "folder": os.mkdir, "device": lambda at: at.symlink_to("/dev/zero")}[special](path)
    with pytest.raises(UsageError, match="ordinary file"):
        read(path)


def test_a_file_larger_than_its_kind_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # sparse: it takes no space
    with pytest.raises(UsageError, match="larger than"):
        storage.read_json(path)


# --- text that steers a terminal, and lines that are not ours


@pytest.mark.parametrize("text", [r'"a\nb"', r'"a\x1b[2Jb"', r'"a\x9b2Jb"', r'["x", "a\rb"]', r'{k: "a\u2028b"}'])
def test_escaped_control_characters_in_a_value_are_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"wandb_project: {text}\n")
    with pytest.raises(UsageError, match="control character"):
        yamls.read_mapping(file)


def test_a_separator_may_be_a_control_character(tmp_path: Path) -> None:
    assert yamls.parse(r'field_separator: "\x01"', "here") == {"field_separator": "\x01"}


def test_a_refusal_shows_escapes_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recommend", "no\x1b[2Jsuch", "--users=1"]) == 2
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert r"\x1b[2J" in said


# --- whose folder it is


def lists_of(folder: Path) -> dict[str, str]:
    (folder / "lists.tsv").write_text("user_id\titem_id\trank\n" + "".join(f"u{n}\ti{n}\t1\n" for n in range(6)))
    rows = [f"u{n}\ti{n + shift}\t{split}" for n in range(6) for shift, split in ((0, "test"), (1, "train"))]
    (folder / "met.tsv").write_text("\n".join(["user_id\titem_id\tsplit", *rows]) + "\n")
    return {"recommendations": str(folder / "lists.tsv"), "interactions": str(folder / "met.tsv")}


def audit_of(folder: Path, run_dir: Path, *more: str) -> int:
    files = [f"--{key}={value}" for key, value in lists_of(folder).items()]
    return cli.main(["audit", *files, f"--run_dir={run_dir}", "--topk=[1]", "--bootstrap=20", "--item_groups=", *more])


def test_two_audits_cannot_write_into_one_folder(tmp_path: Path) -> None:
    assert audit_of(tmp_path, tmp_path / "out") == 0
    with rundir.locked(tmp_path / "out"), pytest.raises(BusyError):
        audit_of(tmp_path, tmp_path / "out", "--debug")
    assert audit_of(tmp_path, tmp_path / "out", "--min_group_users=3") == 2


@pytest.mark.parametrize("written", range(6))
def test_an_audit_killed_at_any_write_can_be_asked_again(
    written: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = storage.write_bytes, []

    def killed(path: Path, content: bytes) -> None:
        seen.append(path)
        if len(seen) > written:
            raise KeyboardInterrupt
        real(path, content)

    monkeypatch.setattr(storage, "write_bytes", killed)
    assert audit_of(tmp_path, tmp_path / "out") == 130
    monkeypatch.undo()
    assert audit_of(tmp_path, tmp_path / "out") == 0
    assert (tmp_path / "out" / "result.json").exists()


@pytest.mark.parametrize("removed", range(4))
def test_a_refusal_killed_while_it_leaves_its_folder_can_be_asked_again(
    removed: int, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, real, seen = toy("MF", probe="gender"), Path.unlink, []

    def killed(path: Path, missing_ok: bool = False) -> None:
        seen.append(path.name)
        if len(seen) > removed:
            raise KeyboardInterrupt
        real(path, missing_ok)

    def unclaim(folder: Path, real: Callable[[Path], None] = rundir.unclaim) -> None:
        monkeypatch.setattr(Path, "unlink", killed)
        real(folder)

    monkeypatch.setattr(rundir, "unclaim", unclaim)
    with pytest.raises(KeyboardInterrupt):
        run(**keys)
    monkeypatch.undo()
    assert set(seen) <= {"run.json", "config.yaml", "run.log", ".lock"}
    with pytest.raises(UsageError, match="a probe needs two classes"):
        run(**keys, resume=True)
    assert Path(keys["run_dir"]).exists() == (not removed), "a claim that stands is no fresh one"


def test_a_resume_point_beside_a_result_is_removed(run_toy: RunToy) -> None:
    left = Path(run_toy("MF").run_dir) / "resume.safetensors"
    left.write_bytes(b"killed between the two")
    assert run_toy("MF").status == "ok"
    assert not left.exists()


def test_a_search_or_comparison_removes_the_resume_point_of_a_trial_that_it_reads(toy: Toy, tmp_path: Path) -> None:
    keys = {key: value for key, value in toy("MF").items() if key not in ("model", "dataset", "run_dir")}
    job = Job("MF", "toy", keys=keys, root=str(tmp_path))
    left = Path(job.run_when_free().run_dir) / "resume.safetensors"
    left.write_bytes(b"killed between the two")
    assert job.finished_result() is not None
    assert not left.exists()


def test_an_edited_configuration_of_a_finished_run_is_noticed(run_toy: RunToy, toy: Toy) -> None:
    folder = Path(run_toy("MF", epochs=1).run_dir)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("train_batch_size: 64", "train_batch_size: 65"))
    with pytest.raises(UsageError, match="was edited"):
        open_run(folder)
    with pytest.raises(UsageError, match="was edited"):
        run(**toy("MF", epochs=1))


def test_where_the_data_lie_may_be_edited(run_toy: RunToy) -> None:
    folder = Path(run_toy("MF", epochs=1).run_dir)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("show_progress: true", "show_progress: false"))
    open_run(folder)


def test_files_that_no_report_wrote_are_left_alone(run_toy: RunToy, tmp_path: Path) -> None:
    folder, out = run_toy("Pop").run_dir, tmp_path / "site"
    out.mkdir()
    for name in ("index.html", "results.csv", "results.tex"):
        (out / name).write_text("my thesis")
        assert cli.main(["report", folder, f"--out={out}"]) == 2
        assert [(path.name, path.read_text()) for path in out.iterdir()] == [(name, "my thesis")]
        (out / name).unlink()
    assert [cli.main(["report", folder, f"--out={out}"]) for _ in range(2)] == [0, 0]


def test_what_killed_writers_left_is_removed_when_the_run_goes_on(toy: Toy) -> None:
    begun = stopped_after_an_epoch(toy("MF", epochs=2)).parent
    (begun / "users.csv.1.partial").write_bytes(b"half")
    (begun / "model.safetensors.2.partial").mkdir()
    run(**toy("MF", epochs=2, resume=True))
    assert not list(begun.glob("*.partial"))


def test_a_finished_run_in_a_read_only_folder_is_shown(
    run_toy: RunToy, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_toy("Pop")
    monkeypatch.setattr(os, "access", lambda *_: False)  # tests may run as root, who may write anywhere
    (Path(first.run_dir) / ".lock").unlink()
    assert run(**toy("Pop")).test == first.test
    assert not (Path(first.run_dir) / ".lock").exists()


def test_a_model_that_is_too_large_is_said_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def huge(_: Any) -> int:
        return int(np.empty(1 << 50).sum())

    monkeypatch.setattr("recbole_fair.commands.models.main", huge)
    assert cli.main(["models"]) == 1
    assert "out of memory" in capsys.readouterr().err


@pytest.mark.parametrize(
    "typed",
    [
        "run --quiet=1", "run --debug=x", "run --on_epoch=1", "compare --models=MF --dataset=toy --options=1",
        "tune --model=MF --dataset=toy --over=1", "tune --model=MF --dataset=toy --options=1", "blend a b --model=MF",
        "blend a b --bases={}", "blend a b --blend_weight=1",
    ],
)  # fmt: skip
def test_a_switch_with_a_value_and_an_argument_from_python_are_refused(
    typed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(typed.split()) == 2
    assert re.search(r"is a switch|does not take --", capsys.readouterr().err)


@pytest.mark.parametrize("command", ["blend {0} {0}", "show {0}", "report {0} --out=page", "recommend {0} --users=1"])
def test_a_path_that_is_too_long_is_refused(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(command.format("x" * 5000).split()) == 2
    said = capsys.readouterr().err
    assert "File name too long" in said and len(said) < 400


# --- Ray


def test_ray_of_our_own_is_out_of_reach_of_other_machines() -> None:
    psutil = pytest.importorskip("psutil")
    pytest.importorskip("ray")
    from recbole_fair.jobs import cluster

    def listening() -> set[tuple[str, int]]:
        sockets = psutil.net_connections("inet")
        return {(entry.laddr.ip, entry.laddr.port) for entry in sockets if entry.status == psutil.CONN_LISTEN}

    before = listening()
    with cluster.started(None):
        ours = listening() - before
    assert ours
    assert {address.removeprefix("::ffff:") for address, _ in ours} == {"127.0.0.1"}, socket.gethostname()
