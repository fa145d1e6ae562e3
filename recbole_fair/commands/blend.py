"""`recbole-fair blend RUN RUN --weight=auto`: trained runs of one split as one model, a run of the row Blend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_fair.commands.arguments import Arguments
from recbole_fair.errors import UsageError
from recbole_fair.rundir.result import Result
from recbole_fair.settings import keys, yamls

_USAGE = """usage: recbole-fair blend RUN RUN [RUN...] [--weight=auto] [--key=value ...]

Weighs the standardised scores of trained runs of one split: --weight=auto chooses on validation between two runs,
equal takes the mean (several seeds of one model), a number is the first of two runs' share. What is judged, and how, is
taken from the first run; other keys as for `run`. Offsets may follow:
  recbole-fair --strategy=Offset --base=BLEND_RUN --fair_group=genre"""


def main(arguments: Arguments) -> int:
    """Run the blend, and print its weights and its table of results."""
    folders = [Path(word) for word in arguments.words]
    if len(folders) < 2:
        raise UsageError("blend: give two or more run directories, as in `recbole-fair blend RUN RUN --weight=auto`")
    arguments.refuse("blend", "model", "bases", "blend_weight", "on_epoch")
    from recbole_fair.runner import open_run, run

    results = [Result.read(folder) for folder in folders]
    names = _names(results)
    weight = _weight(arguments.take("weight", "auto"), names)
    bases = {name: str(folder) for name, folder in zip(names, folders, strict=True)}
    given = {"dataset": results[0].dataset, "seed": results[0].seed, **_shared(folders[0]), **arguments.options}
    result = run("Blend", bases=bases, blend_weight=weight, quiet="quiet" in arguments.switches, **given)
    model = open_run(Path(result.run_dir))[2].model
    print(", ".join(f"{share:.2f} {name}" for name, share in zip(model.scores, model.weights.tolist(), strict=True)))
    print(result.table())
    return 0


def usage() -> str:
    """The help text."""
    return _USAGE


def _names(results: Sequence[Result]) -> list[str]:
    """The runs' models, with seed and place where several share one."""
    models = Counter(result.model for result in results)
    return [
        result.model if models[result.model] == 1 else f"{result.model}-s{result.seed}-{place}"
        for place, result in enumerate(results, 1)
    ]


def _weight(weight: Any, names: Sequence[str]) -> Any:
    """A number is the first of two runs' share."""
    if isinstance(weight, str):
        return weight
    if not isinstance(weight, (int, float)) or not 0 <= weight <= 1 or len(names) != 2:
        raise UsageError(f"--weight={weight}: auto, equal, or the first of two runs' share from 0 to 1")
    return {names[0]: weight, names[1]: 1 - weight}


def _shared(folder: Path) -> dict[str, Any]:
    """The keys of a run that say what is judged, and on which data."""
    own = yamls.read_mapping(folder / "config.yaml")
    taken = {key for key in own if keys.handed_down(key)} | keys.marked("yardstick")
    return {key: value for key, value in own.items() if key in taken - {"model", "dataset", "strategy"}}
