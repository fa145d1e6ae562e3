"""`recbole-fair tune`: search over a model's keys, choose by validation."""

from __future__ import annotations

import sys

from recbole_fair.commands.arguments import Arguments
from recbole_fair.errors import UsageError

_USAGE = """usage: recbole-fair tune --model=NAME --dataset=NAME [--search=FILE] [options] [--key=value ...]

Runs the model with many values of its keys, each a run directory of its own, and chooses by validation figures. The
same command again goes on with an interrupted search. Keys are those of `recbole-fair run --help`.

  --search=FILE           keys and their domains in Ray Tune's words; default: the model's in properties/search
  --num_samples=10        trials to draw (a grid has one a combination)
  --search_algorithm=...  random, grid (every listed value), optuna
  --scheduler=asha        stop trials that fall behind; --grace_epochs=5 before that
  --objectives='{ndcg@20: max, "cv@20[pop]": min}'   several figures: their Pareto front is kept
  --constraint='ndcg@20 >= 0.98 * best'              which point of it to take
  --max_concurrent=N      trials at once; default: as many as there are cores or GPUs for
  --gpus_per_trial=0.5    default: 1 where there are GPUs
  --ray_address=auto      a running Ray cluster (docs/cluster.md)
  --run_dir=ROOT          folder of tune.json, best.yaml and the trials; default: below runs/

Switches: --quiet --debug --help"""


def main(arguments: Arguments) -> int:
    """Search, print the table; 1 if there is nothing to choose."""
    if arguments.words:
        raise UsageError(f"{arguments.words[0]!r}: expected --key=value; `recbole-fair tune --help`")
    arguments.refuse("tune", "options", "over", "folder")
    from recbole_fair.tune import searches

    options = searches.SearchOptions.taken_from(arguments.options)
    given = {key: arguments.take(key) for key in ("model", "dataset")}
    if missing := [key for key, value in given.items() if value is None]:
        raise UsageError(f"tune: give --{missing[0]}=NAME")
    files = arguments.take("config_files") or ()
    over, quiet = arguments.take("search"), "quiet" in arguments.switches
    try:
        found = searches.search(
            **given, over=over, options=options, config_files=files, quiet=quiet, **arguments.options
        )
    except KeyboardInterrupt:
        print("recbole-fair: interrupted; the same command goes on with this search", file=sys.stderr)
        return 130
    print(found.table())
    return 0 if found.chosen is not None else 1


def usage() -> str:
    """The help text."""
    return _USAGE
