"""`recbole-fair compare`: several models over seeds, on the same data and split."""

from __future__ import annotations

import sys
from pathlib import Path

from recbole_fair.commands.arguments import Arguments
from recbole_fair.errors import UsageError

_USAGE = """usage: recbole-fair compare --models=A,B,... --dataset=NAME [--seeds=3] [options] [--key=value ...]

Runs every model with every seed on the same data, split, candidates, groups and keys, as many at once as there are
cores or GPUs for, and prints the mean +- standard deviation over seeds. A run that fails is a row that says why. The
same command again does what is missing. Keys are those of `recbole-fair run --help`.

  --seeds=3 | [1,7]       how many (from 2020 on), or which; all of them share one split
  --searches=DIR          tune each model first, by DIR/<model>.yaml and on the first seed (docs/tune.md); takes
                          tune's --num_samples --search_algorithm --scheduler --grace_epochs --objectives --constraint
  --max_concurrent=N      runs at once; 1: one after another, in this process
  --gpus_per_trial=0.5    default: 1 where there are GPUs
  --ray_address=auto      a running Ray cluster (docs/cluster.md)
  --report=OUT            write the page and tables of these runs into OUT (docs/report.md)
  --run_dir=ROOT          folder of compare.json, compare.csv and the runs; default: below runs/

Switches: --quiet --debug --help"""
_FOR_VERDICTS = 3  # seeds
_SEARCHING = {"num_samples", "objectives", "constraint", "search_algorithm", "scheduler", "grace_epochs"}


def main(arguments: Arguments) -> int:
    """Compare, print the table; 1 if a run is missing or the runs cannot be compared."""
    if arguments.words:
        raise UsageError(f"{arguments.words[0]!r}: expected --key=value; `recbole-fair compare --help`")
    arguments.refuse("compare", "options")
    if (given := sorted(_SEARCHING & set(arguments.options))) and "searches" not in arguments.options:
        raise UsageError(f"--{given[0]}: belongs to a search; give --searches=DIR too")
    from recbole_fair.compare import running

    options = running.SearchOptions.taken_from(arguments.options)
    named = {key: arguments.take(key) for key in ("models", "dataset")}
    if missing := [key for key, value in named.items() if value is None]:
        raise UsageError(f"compare: give --{missing[0]}=NAME{'S' if missing[0] == 'models' else ''}")
    files, out = arguments.take("config_files") or (), arguments.take("report")
    quiet = "quiet" in arguments.switches
    try:
        compared = running.compare(**named, options=options, config_files=files, quiet=quiet, **arguments.options)
    except KeyboardInterrupt:
        print("recbole-fair: interrupted; the same command goes on with this comparison", file=sys.stderr)
        return 130
    print(compared.table())
    if len(compared.seeds) < _FOR_VERDICTS:
        print(f"a report of {len(compared.seeds)} seeds gives no verdicts; --seeds={_FOR_VERDICTS} does")
    if out is None:
        print(f"see them: recbole-fair report {compared.folder} --out=report")
    else:
        from recbole_fair.report.assemble import Options
        from recbole_fair.report.write import write

        print(write([compared.folder], Path(str(out)), Options(title=", ".join(compared.models)))[0])
    return 0 if compared.sound else 1


def usage() -> str:
    """The help text."""
    return _USAGE
