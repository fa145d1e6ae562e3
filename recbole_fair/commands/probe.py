"""`recbole-fair probe RUN_DIR --sensitive_attribute=gender`: what a finished run's user states give away."""

from __future__ import annotations

from pathlib import Path

from recbole_fair.commands.arguments import Arguments
from recbole_fair.errors import UsageError
from recbole_fair.screen import visible
from recbole_fair.settings import keys

_USAGE = """usage: recbole-fair probe RUN_DIR --sensitive_attribute=gender [--key=value ...]

Trains classifiers on the frozen user states of a finished run, prints how well they tell each attribute beside what
chance gives, and writes probe.tsv (the chosen classifier's held-out probabilities) into the run's folder
(probe-command.tsv where probe.tsv is the run's own).

keys (defaults: those of the run):
{keys}"""


def main(arguments: Arguments) -> int:
    """Probe, print the table, write probe.tsv."""
    given = {key: arguments.take(key) for key in keys.taken_by("probe") if key in arguments.options}
    if len(arguments.words) != 1:
        raise UsageError(
            "probe: give one run directory, as in `recbole-fair probe RUN_DIR --sensitive_attribute=gender`"
        )
    arguments.refuse_rest("probe", words=False)
    from recbole_fair import verbs
    from recbole_fair.probe.findings import HEADER
    from recbole_fair.rundir import files
    from recbole_fair.rundir.folder import locked

    folder = Path(arguments.words[0])
    config, probed = verbs.probed(folder, given)
    print("\n".join(map(visible, probed.table.split("\n"))))
    # probe.tsv is the run's own, where the run was told to probe; result.json states its figures
    path = folder / ("probe-command.tsv" if config["probe"] else "probe.tsv")
    with locked(folder):  # which removes what a killed probe left
        files.write_table(path, HEADER, probed.rows, "\t")
    print(visible(f"held-out probabilities: {path}"))
    return 0


def usage() -> str:
    """The help text; the keys come from keys.yaml."""
    own = keys.taken_by("probe")
    width = max(map(len, own))
    return _USAGE.format(keys="\n".join(f"  {key:<{width}}  {keys.declared()[key]['help']}" for key in own))
