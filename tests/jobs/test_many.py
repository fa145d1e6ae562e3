"""Many jobs: what several of them stand on is made once, before them, and a failure reaches only what stands on it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from recbole_fair import registry
from recbole_fair.errors import TrainingError, UsageError
from recbole_fair.jobs import many, prerequisites
from recbole_fair.jobs.job import Job
from recbole_fair.jobs.many import Outcome, Room
from recbole_fair.rundir.result import Result, finished
from recbole_fair.settings.config import Config

ALONE = Room(max_concurrent=1)


class Counted:
    """In place of training: which runs were asked for, in which order, and a result in each folder."""

    def __init__(self, broken: str = "") -> None:
        self.made: list[str] = []
        self.broken = broken

    def run(self, job: Job, folder: Path, on_epoch: Any = None) -> Result:
        if not finished(folder):
            self.made.append(str(job.config.name))
            if job.config.name == self.broken:
                raise TrainingError("epoch 3: the training loss is nan")
            Result(job.config.name, None, "toy", 2020, folder.name.partition("-")[0]).save(folder)
        return Result.read(folder)


@pytest.fixture(autouse=True)
def rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    models = dict(registry._models)
    monkeypatch.setattr(registry, "_models", models)
    monkeypatch.setattr(registry, "MODELS", models)
    monkeypatch.chdir(tmp_path)
    for name, base in (("Child", "MF"), ("Grandchild", {"child": "Child", "other": "MF"})):
        registry.add(
            registry.Row(name, "recbole.model.general_recommender.bpr:BPR", "host", "BPR", host="BPR", base=base)
        )


def counted(monkeypatch: pytest.MonkeyPatch, broken: str = "") -> Counted:
    counter = Counted(broken)
    monkeypatch.setattr(Job, "run", lambda job, folder, on_epoch=None: counter.run(job, folder))
    return counter


def done(jobs: list[Job], room: Room = ALONE) -> list[Outcome]:
    outcomes: dict[int, Outcome] = {}
    started: list[int] = []
    many.run_all(jobs, room, outcomes.__setitem__, started.append)
    assert sorted(started) == sorted(outcomes) == list(range(len(jobs)))
    return [outcomes[index] for index in range(len(jobs))]


def job(model: str, options: dict[str, Any], **more: Any) -> Job:
    return Job(model, "toy", (), {**options, **more}, root="root")


def test_sixteen_jobs_on_one_base_make_it_once(toy_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    counter = counted(monkeypatch)
    outcomes = done([job("Child", toy_options, learning_rate=0.01 * (1 + number)) for number in range(16)])
    assert counter.made == ["MF"] + ["Child"] * 16
    assert len({outcome.run_dir for outcome in outcomes}) == 16
    assert len(list(Path("runs/toy/MF").iterdir())) == 1


def test_bases_of_bases_come_first_and_each_distinct_one_once(
    toy_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = counted(monkeypatch)
    jobs = [job("Grandchild", toy_options, seed=seed) for seed in (1, 2)] + [job("Child", toy_options, seed=1)]
    assert [[each.config.name for each in layer] for layer in prerequisites.layers(jobs)] == [["MF"] * 2, ["Child"] * 2]
    assert all(outcome.run_dir for outcome in done(jobs))
    assert counter.made == ["MF", "MF", "Child", "Child", "Grandchild", "Grandchild", "Child"]
    assert prerequisites.layers(jobs) == [], "all are there now"
    done(jobs)
    assert len(counter.made) == 7, "and none is made again"


def test_a_base_that_breaks_down_is_tried_once_and_named_by_all_that_stand_on_it(
    toy_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = counted(monkeypatch, broken="Child")
    outcomes = done(
        [job("Grandchild", toy_options, learning_rate=rate) for rate in (0.1, 0.2)] + [job("MF", toy_options)]
    )
    assert [outcome.error for outcome in outcomes[:2]] == [
        "base child: Child of Grandchild: epoch 3: the training loss is nan"
    ] * 2
    assert outcomes[2].run_dir
    assert counter.made == ["MF", "Child", "MF"]


def test_a_job_that_cannot_be_ends_with_its_own_reason(
    toy_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted(monkeypatch)
    first, second = done([job("Child", toy_options, epochs=-1), job("MF", toy_options)])
    assert "epochs=-1" in str(first.error) and second.run_dir


def test_bases_are_shared_only_where_no_searched_key_is_theirs(toy_options: dict[str, Any]) -> None:
    child = job("Child", toy_options)
    own = [child.over({"learning_rate": rate}) for rate in (0.1, 0.2)]
    handed_down = [child.over({"epochs": epochs}) for epochs in (1, 7)]
    assert len(prerequisites.shared(child, own)) == 1
    assert prerequisites.shared(child, [*own, *handed_down]) == []


def test_a_job_reads_its_configuration_once_and_travels_without_it(
    toy_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Config] = []
    real = Config._init_device
    monkeypatch.setattr(Config, "_init_device", lambda config: (read.append(config), real(config))[1])
    one = job("MF", toy_options)
    assert one.config is one.config and one.folder() == one.folder()
    assert len(read) == 1
    assert b"Config" not in pickle.dumps(one)
    there = pickle.loads(pickle.dumps(one))
    assert there == one and there.folder() == one.folder()


@pytest.mark.parametrize(
    ("room", "runs", "alone"),
    [(Room(), 1, True), (Room(1), 9, True), (Room(2), 2, False), (Room(1, ray_address="auto"), 1, False)],
)
def test_ray_is_left_out_where_there_is_room_for_one(
    room: Room, runs: int, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert room.one_at_a_time(runs) is alone
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    assert room.one_at_a_time(runs) is (room.ray_address is None)


def test_obstacles_can_end_everything() -> None:
    many.Obstacles().refuse_all()
    with pytest.raises(UsageError, match="broke"):
        many.Obstacles(bases={Path("a"): "broke"}).refuse_all()
