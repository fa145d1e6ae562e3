"""Every command killed before every change that it makes to a file, and asked again: nothing is lost or differs."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attempts import Ended, attempt

KEYS = {
    "topk": "[3,5]", "valid_metric": "NDCG@5", "eval_args.split": "{RS: [0.6,0.2,0.2]}", "item_groups": "[pop,genre]",
    "genre_field": "genre", "user_groups": "[gender]", "train_batch_size": 64, "epochs": 2, "use_gpu": False,
    "bootstrap": 20, "dataset": "toy", "quiet": None,
}  # fmt: skip
_TIMED = {"seconds", "environment", "versions"}  # entries of JSON files that no two runs share
_OF_WORK = {"run.log", ".lock", ".search.lock"}


def keys(data: Path, **more: Any) -> list[str]:
    """The keys of a tiny run as words of a command line."""
    given = {**KEYS, "data_path": data, "cache_dir": data / "cache", **more}
    return [f"--{key}" if value is None else f"--{key}={value}" for key, value in given.items()]


@dataclass(frozen=True)
class Scene:
    """A command, what has been typed before it, and how it is asked again."""

    argv: list[str]
    before: tuple[list[str], ...] = ()
    again: tuple[str, ...] = ()  # words that asking again adds


def scenes(data: Path) -> Mapping[str, Scene]:
    """Each command at its cheapest, in a folder of its own."""
    run = ["run", *keys(data, model="MF", run_dir="run")]
    lists = [*run, "--save_recommendations=True"]
    other = ["run", *keys(data, model="Pop", run_dir="pop")]
    tables = ["--recommendations=run/recommendations.tsv", "--interactions=run/interactions.tsv"]
    sides = [f"--users={data}/toy/toy.user", f"--items={data}/toy/toy.item"]
    judged = ["--topk=[3,5]", "--bootstrap=20", "--user_groups=gender", "--genre_field=genre"]
    many = keys(data, max_concurrent=1, run_dir="many")
    probed = [
        "--sensitive_attribute=gender",
        "--probe_repeats=1",
        "--probe_folds=2",
        "--probe_shuffles=2",
        "--min_class_users=10",
    ]
    vectors = keys(data, model="AlphaRec", item_encoder="tfidf-svd", item_text="title", run_dir="run", negatives=4)
    return {
        "run": Scene([*lists, "--probe=gender", *probed], again=("--resume=True",)),
        "run AlphaRec": Scene(["run", *vectors, "--save_item_vectors=True"], again=("--resume=True",)),
        "run for lists": Scene(lists, (run,)),
        "run resumed": Scene([*run, "--resume=True"], (run,)),
        "audit": Scene(["audit", *tables, *sides, *judged, "--run_dir=audit"], (lists,)),
        "probe": Scene(["probe", "run", *probed], (run,)),
        "report": Scene(["report", "run", "pop", "--out=page"], (run, other)),
        "report again": Scene(["report", "run", "pop", "--out=page"], (run, other, ["report", "run", "--out=page"])),
        "recommend": Scene(["recommend", "run", "--users=all", "--k=3", "--out=lists.csv"], (run,)),
        "rerank": Scene(
            ["rerank", "--recommendations=run/recommendations.tsv", f"--items={data}/toy/toy.item", "--method=MinMax",
             "--fair_group=genre", "--k=3", "--out=new.tsv"], (lists,),
        ),
        "blend": Scene(["blend", "run", "pop", "--weight=equal", "--run_dir=both"], (run, other), ("--resume=True",)),
        "compare": Scene(["compare", "--models=MF,Pop", "--seeds=2", *many]),
        "tune": Scene(["tune", "--model=MF", "--search=space.yaml", *many]),
        "convert": Scene(
            ["convert", "csv", "bought.csv", "--user=who", "--item=what", "--time=when", "--users=who.csv",
             "--name=shop", "--out=atomic"],
        ),
    }  # fmt: skip


def write_inputs(folder: Path) -> None:
    """What commands of the scenes read beside the toy data."""
    folder.mkdir(parents=True)
    (folder / "space.yaml").write_text("learning_rate: {grid_search: [0.2, 0.4]}\n")
    rows = [f"c{n % 12},P{n * 7 % 10},2024-05-{1 + n // 30:02d}" for n in range(120)]
    (folder / "bought.csv").write_text("\n".join(["who,what,when", *rows]) + "\n")
    (folder / "who.csv").write_text("\n".join(["id,sex", *(f"c{n},{'FM'[n % 2]}" for n in range(12))]) + "\n")


def prepared(folder: Path, scene: Scene) -> Path:
    """The folder in which the command of a scene is typed."""
    write_inputs(folder)
    for argv in scene.before:
        ended = attempt(argv, folder)
        assert ended.status == 0, ended.said
    if "--resume=True" in scene.argv:  # as if killed after its training
        (folder / "run" / "result.json").unlink()
    return folder


def killed_everywhere(scene: Scene, folder: Path, every: int = 1, first: int = 1) -> Iterator[tuple[int, str | None]]:
    """Kill the command before its n-th change, ask again: (n, what is wrong) for each n."""
    start = prepared(folder / "start", scene)
    whole = copied(start, folder / "whole")
    ended = attempt(scene.argv, whole)
    assert ended.status == 0, ended.said
    for kill_at in range(first, ended.changes + 1, every):
        place = copied(start, folder / "tried")
        yield kill_at, _wrong(scene, place, kill_at, content(whole))
        shutil.rmtree(place)


def copied(start: Path, place: Path) -> Path:
    """A copy with the times of its files."""
    return Path(shutil.copytree(start, place))


def _wrong(scene: Scene, place: Path, kill_at: int, expected: Mapping[str, str]) -> str | None:
    ended = attempt(scene.argv, place, kill_at)
    if ended.status != -9:
        return f"was to be killed, ended with {ended.status}: {ended.said[-300:]}"
    for look in _looks(place):
        seen = attempt(look, place)
        if seen.fault or not (seen.status == 0 or seen.refused):
            return f"lost: {look} of what was left: {seen.fault or seen.status}: {seen.said[-600:]}"
    return _differs(attempt([*scene.argv, *scene.again], place), place, expected)


def _looks(place: Path) -> Iterator[list[str]]:
    """A reader of whatever a killed command left."""
    for result in sorted(place.glob("*/result.json"))[:2]:
        yield ["show", str(result.parent.relative_to(place))]


def _differs(ended: Ended, place: Path, expected: Mapping[str, str]) -> str | None:
    if ended.status != 0:
        return f"lost: asked again: {ended.fault or ended.status}: {ended.said[-600:]}"
    there = content(place)
    wrong = sorted(name for name in expected.keys() | there.keys() if expected.get(name) != there.get(name))
    return f"silently wrong: {', '.join(wrong)}" if wrong else None


def content(folder: Path) -> dict[str, str]:
    """A digest of every file below a folder, without what no two runs share, nor what stays a day after a kill."""
    files = (path for path in folder.rglob("*") if path.is_file() and not _is_of_work(path.relative_to(folder)))
    return {str(path.relative_to(folder)): _digest(path) for path in files}


def _is_of_work(path: Path) -> bool:
    swept = path.parts[0] in {"run", "audit", "both"}  # folders that nobody else writes into are swept at once
    return path.name in _OF_WORK or (not swept and any(part.endswith(".partial") for part in path.parts))


def _digest(path: Path) -> str:
    read: Callable[[Path], Any] | None = {".json": _untimed}.get(path.suffix)
    content = json.dumps(read(path)).encode() if read else path.read_bytes()
    return hashlib.sha256(content).hexdigest()


def _untimed(path: Path) -> Any:
    return _without_times(json.loads(path.read_text()))


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(entry) for key, entry in value.items() if key not in _TIMED}
    return [_without_times(entry) for entry in value] if isinstance(value, list) else value
