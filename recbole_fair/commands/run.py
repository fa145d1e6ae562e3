"""`recbole-fair run`: train and judge one model, or show a finished run."""

from __future__ import annotations

from recbole_fair.commands.arguments import Arguments
from recbole_fair.commands.table import COMMANDS
from recbole_fair.errors import UsageError
from recbole_fair.settings import keys

_USAGE = """usage: recbole-fair [run] --model=NAME --dataset=NAME [--config_files="a.yaml b.yaml"] [--key=value ...]

Trains one recommender, selects on validation, judges it on test and leaves a run directory
(runs/<dataset>/<model>/<hash>-s<seed>): result.json, users.csv, groups.csv, history.csv, weights and log.
Values follow YAML rules; --eval_args.order=RO sets one entry of a mapping. Switches: --quiet --debug --help

sub-commands:
{commands}

keys (and every key of the model's own RecBole property file):
{keys}"""


def main(arguments: Arguments) -> int:
    """Run, and print the table of results."""
    if arguments.words:
        raise UsageError(f"{arguments.words[0]!r}: expected --key=value")
    from recbole_fair.runner import run

    files = arguments.take("config_files") or ()
    result = run(config_files=files, quiet="quiet" in arguments.switches, **arguments.options)
    print(result.table())
    return 0


def usage() -> str:
    """The help text; the keys come from keys.yaml, where each is declared once."""
    commands = "\n".join(f"  {name:<12} {command.summary}" for name, command in COMMANDS.items())
    described = {key: rule["help"] for key, rule in keys.declared().items() if rule.get("help")}
    width = max(map(len, described))
    return _USAGE.format(
        commands=commands, keys="\n".join(f"  {key:<{width}}  {text}" for key, text in described.items())
    )
