"""Thousands of seeded tries, each in a process of its own: kills, damaged folders and tables, settings, command lines.

    OMP_NUM_THREADS=1 python tests/adversary/longer.py                   # all of it, about 20 minutes of one core
    OMP_NUM_THREADS=1 python tests/adversary/longer.py --classes=kills --every=9 --seed=3
    OMP_NUM_THREADS=1 python tests/adversary/longer.py --classes=settings,words --tries=100

Prints each fault with the number of its try, and a row a class: tries, and faults by kind.
"""

from __future__ import annotations

import argparse
import importlib
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).parents[1] / "support"))

from attempts import Ended, attempt, import_what
from damage import BY_FILE, BYTES, HOSTILE, another_tensor
from killed import keys, killed_everywhere, prepared, scenes, write_inputs
from toy import write_toy

KINDS = ("code run", "silently wrong", "lost", "hang", "traceback", "other")
MODULES = ("runner", "audit.judge", "report.write", "compare.running", "tune.searches", "convert.build",
           "probe.findings", "recommending", "report.assemble")  # fmt: skip
AMOUNTS = {"epochs", "bootstrap", "embedding_size", "probe_repeats", "probe_shuffles"}  # what they are told, they do

OPTIONS = (
    "model dataset users k out run_dir seeds models search raw method weight recommendations interactions metrics"
    " reference check name objectives num_samples config_files quiet help nosuch strength budget time"
    " sensitive_attribute"
)


class Try(NamedTuple):
    """One try: its number and what is wrong, "kind: details", or nothing."""

    what: str
    wrong: str | None


class Place(NamedTuple):
    """Where tries of one class work, from which seed and how many."""

    root: Path
    data: Path
    seed: int
    tries: int
    every: int
    scenes: list[str]

    def draws(self, name: str) -> Iterator[tuple[int, random.Random, Path]]:
        """For each try its number, its own random numbers and a folder that is not there yet."""
        for number in range(self.tries):
            yield number, random.Random(f"{self.seed} {name} {number}"), self.root / name / f"try{number}"


def judged(ended: Ended, where: Path, allowed: set[str]) -> str | None:
    """What is wrong with a command that was to end well or in a sentence, and to leave nothing but `allowed`."""
    if strange := sorted({path.name for path in where.iterdir()} - allowed):
        return f"code run: {', '.join(strange)} was made"
    if ended.fault:
        return f"{ended.fault if ended.fault in KINDS else 'other'}: {ended.said[-600:]}"
    return None if ended.status == 0 or ended.refused else f"other: ended with {ended.status}: {ended.said[-300:]}"


def kills(place: Place) -> Iterator[Try]:
    """Every `every`-th change to a file, of every scene; from a first one that the seed draws."""
    for name, scene in scenes(place.data).items():
        if place.scenes and name not in place.scenes:
            continue
        folder = place.root / "kills" / name.replace(" ", "_")
        import_what(scene.argv, prepared(folder / "imports", scene))
        first = random.Random(f"{place.seed} {name}").randint(1, place.every)
        for kill_at, wrong in killed_everywhere(scene, folder, place.every, first):
            yield Try(f"{name}, killed before change {kill_at}", wrong)


def folders(place: Place) -> Iterator[Try]:
    """A finished run with one file damaged, read by recommend (which must answer as before) and by report or show."""
    whole, models = place.root / "whole", ("MF", "ItemKNN", "EASE", "NeuMF")
    whole.mkdir()
    answers = {}
    for model in models:
        made = attempt(["run", *keys(place.data, model=model, run_dir=model)], whole)
        assert made.status == 0, made.said
        shutil.copytree(whole / model, whole / f"{model}-only" / "run")
        answers[model] = attempt(_RECOMMEND, whole / f"{model}-only").said
    for number, draw, where in place.draws("folders"):
        model, file = draw.choice(models), draw.choice(list(BY_FILE))
        damage = draw.choice(BY_FILE[file])
        shutil.copytree(whole / model, where / "run")
        damage(draw, where / "run" / file)
        what = f"{model}, {damage.__name__} {file}, {number}"
        request = _RECOMMEND if draw.random() < 0.5 else draw.choice([["show", "run"], ["report", "run", "--out=page"]])
        ended = attempt(request, where)
        wrong = judged(ended, where, {"run", "page"})
        if not wrong and request is _RECOMMEND and damage is not another_tensor and ended.status == 0:
            wrong = None if ended.said == answers[model] else f"silently wrong: {ended.said[:300]}"
        yield Try(what, wrong)
        shutil.rmtree(where)


_RECOMMEND = ["recommend", "run", "--users=uF1,uM2", "--k=3"]


def settings(place: Place) -> Iterator[Try]:
    """A key with a value of another kind, typed or in a property file; each fourth runs, the others are read."""
    from recbole_fair.settings.keys import declared

    names = sorted({*declared(), "eval_args", "load_col", "metrics", "topk", "valid_metric", "item_groups", "nosuch"})
    names = [name for name in names if name not in AMOUNTS | {"data_path", "run_dir", "cache_dir"}]
    models = ("MF", "Pop", "LightGCN", "ReweightMF", "AlphaRec", "MultiFRMF", "SASRec", "OffsetMF", "FairMF", "EASE")
    for number, draw, where in place.draws("settings"):
        model, key, value = draw.choice(models), draw.choice(names), draw.choice(HOSTILE)
        write_inputs(where)
        argv = ["run", *keys(place.data, model=model, run_dir="run", epochs=1)]
        if draw.random() < 0.5:
            (where / "own.yaml").write_text(f"{key}: {value!r}\n".replace("None", "~"))
            argv.append("--config_files=own.yaml")
        else:
            argv.append(f"--{key}={draw.choice([value, repr(value)])}")
        ended = attempt(argv, where, does=None if number % 4 == 0 else read_only)
        yield Try(f"{argv[1:2]} {model} {key}={value!r:.60}, {number}", judged(ended, where, _OF_INPUTS | {"own.yaml"}))
        shutil.rmtree(where)


_OF_INPUTS = {"space.yaml", "bought.csv", "who.csv", "run", "runs"}


def read_only(argv: list[str]) -> int:
    """The command line with a run that ends, in a sentence, when all settings are read and the folder is named."""
    from recbole_fair import cli, runner
    from recbole_fair.errors import UsageError
    from recbole_fair.settings.config import Config

    def read(
        model: Any = None, dataset: Any = None, *, config_files: Any = (), quiet: bool = True, **given: Any
    ) -> Any:
        with runner.restoring_process_state():
            work = runner._Run(Config(model, dataset, config_files, given), quiet, None)
        raise UsageError(f"read: {work.folder}")

    runner.run = read
    return cli.main(argv)


def tables(place: Place) -> Iterator[Try]:
    """An audit of four tables of which one is damaged, or the data set of a run is."""
    whole = place.root / "tables whole"
    scene = scenes(place.data)["audit"]
    start = prepared(whole / "start", scene)
    files = {"recommendations": start / "run/recommendations.tsv", "interactions": start / "run/interactions.tsv",
             "users": place.data / "toy/toy.user", "items": place.data / "toy/toy.item"}  # fmt: skip
    judge = ["--topk=[3,5]", "--bootstrap=5", "--user_groups=gender", "--genre_field=genre", "--run_dir=out"]
    for number, draw, where in place.draws("tables"):
        where.mkdir(parents=True)
        for role, file in files.items():
            shutil.copy(file, where / f"{role}.tsv")
        role, damage = draw.choice(list(files)), draw.choice(BYTES)
        damage(draw, where / f"{role}.tsv")
        ended = attempt(["audit", *(f"--{name}={name}.tsv" for name in files), *judge], where)
        yield Try(
            f"{damage.__name__} {role}, {number}", judged(ended, where, {f"{name}.tsv" for name in files} | {"out"})
        )
        shutil.rmtree(where)


def data_sets(place: Place) -> Iterator[Try]:
    """A run whose data set has one file damaged."""
    for number, draw, where in place.draws("data sets"):
        shutil.copytree(place.data / "toy", where / "data" / "toy")
        suffix, damage = draw.choice(["inter", "inter", "user", "item"]), draw.choice(BYTES)
        damage(draw, where / "data" / "toy" / f"toy.{suffix}")
        ended = attempt(["run", *keys(Path("data"), model="Pop", run_dir="run")], where)
        yield Try(f"{damage.__name__} toy.{suffix}, {number}", judged(ended, where, {"data", "run"}))
        shutil.rmtree(where)


def own_tables(place: Place) -> Iterator[Try]:
    """The conversion of CSV files of which one is damaged; a refusal leaves nothing."""
    argv = scenes(place.data)["convert"].argv
    for number, draw, where in place.draws("own tables"):
        write_inputs(where)
        file, damage = draw.choice(["bought.csv", "bought.csv", "who.csv"]), draw.choice(BYTES)
        damage(draw, where / file)
        ended = attempt(argv, where)
        wrong = judged(ended, where, _OF_INPUTS | {"atomic"})
        if not wrong and ended.refused and (where / "atomic" / "shop").exists():
            wrong = "other: refused, but there is a data set"
        yield Try(f"{damage.__name__} {file}, {number}", wrong)
        shutil.rmtree(where)


def words(place: Place) -> Iterator[Try]:
    """Command lines of random words: sub-commands, options of any of them, hostile values."""
    from recbole_fair.commands.table import COMMANDS

    options = [f"--{name}" for name in OPTIONS.split()]
    values = [*map(str, HOSTILE), "MF", "toy", "bought.csv", ".", "run"]
    names = [name for name in COMMANDS if name != "cache"]  # it would show this user's own
    for number, draw, where in place.draws("words"):
        write_inputs(where)
        argv = [draw.choice([*names, "nosuch"])]
        for _ in range(draw.randint(0, 5)):
            option, value = draw.choice(options), draw.choice(values)
            argv += draw.choice([[option], [value], [f"{option}={value}"], [option, value]])
        ended = attempt(list(filter(None, argv)), where)
        yield Try(f"{argv}, {number}", judged(ended, where, {path.name for path in where.iterdir()} - {"ran"}))
        shutil.rmtree(where)


CLASSES: Mapping[str, tuple[Callable[[Place], Iterator[Try]], int]] = {
    "kills": (kills, 0), "folders": (folders, 400), "settings": (settings, 500), "tables": (tables, 200),
    "data sets": (data_sets, 150), "own tables": (own_tables, 250), "words": (words, 400),
}  # fmt: skip


def counted(name: str, tries: Iterator[Try]) -> Counter[str]:
    """How many tries, and faults by kind; each fault is printed when it is found."""
    counts: Counter[str] = Counter()
    for one in tries:
        counts["tries"] += 1
        if one.wrong:
            kind = one.wrong.partition(":")[0]
            counts[kind if kind in KINDS else "other"] += 1
            print(f"{name}: {one.what}: {one.wrong}", flush=True)
    return counts


def main() -> int:
    """All classes that are asked for; 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", default=",".join(CLASSES))
    parser.add_argument("--tries", type=int, help="of each class but kills")
    parser.add_argument("--every", type=int, default=3, help="kill before every n-th change")
    parser.add_argument("--scenes", default="", help="kill only these commands, as in audit,run resumed (all)")
    parser.add_argument("--seed", type=int, default=14)
    asked = parser.parse_args()
    for module in MODULES:
        importlib.import_module(f"recbole_fair.{module}")
    faults = 0
    print(f"{'class':<12}{'tries':>7}", *(f"{kind:>15}" for kind in KINDS), flush=True)
    for name in asked.classes.split(","):
        work, tries = CLASSES[name]
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            write_toy(root / "data")
            only = list(filter(None, asked.scenes.split(",")))
            place = Place(root, root / "data", asked.seed, asked.tries or tries, asked.every, only)
            counts = counted(name, work(place))
        print(f"{name:<12}{counts['tries']:>7}", *(f"{counts[kind]:>15}" for kind in KINDS), flush=True)
        faults += sum(counts[kind] for kind in KINDS)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
