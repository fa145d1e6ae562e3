"""`recbole-fair audit`: the fairness of lists that any system made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_fair.commands.arguments import Arguments
from recbole_fair.errors import UsageError
from recbole_fair.screen import spoken

if TYPE_CHECKING:
    from recbole_fair.rundir.result import Result

_NAME, _PAGE = r"[\w][\w.+-]*", "report"

_USAGE = """usage: recbole-fair audit --recommendations F --interactions F --run_dir DIR [--users F] [--items F] ...

Judges top-K lists of any recommender, without a model: accuracy, fairness between groups, intervals. Writes
result.json, users.csv and groups.csv into DIR, which report and compare read like any run.

  --recommendations F   user_id, item_id, rank (from 1)
  --interactions F      user_id, item_id, split (train, valid or test); lists are judged by the test rows,
                        popularity comes from the train rows; a run writes this file and its lists with
                        --save_recommendations=True
  --users F             user_id and any fields, for --user_groups
  --items F             item_id and any fields, for --item_groups
  --run_dir DIR         where the results go
  --recommendations A=F --recommendations B=F ...
                        several systems: a folder of each in DIR, and DIR/report with their differences from the first
  --variants none=F,gender:F=F,gender:M=F,again=F
                        instead of --recommendations and --interactions: lists of a language model without a sensitive
                        attribute, with each of its values, and (as a null) without it once more; how far they differ
                        (Jaccard, SERP, PRAG, SNSR_, SNSV_; --topk, --metrics, --interval, --bootstrap)
  --user COLUMN --item COLUMN
                        what the files call their columns of ids, where it is not user_id and item_id
  --system NAME         what to call the recommender (the name of the lists' file)
  --dataset NAME        what to call the data (audit)

Files are text with a header and tabs, commas or semicolons, RecBole's atomic files, or parquet. Several values of a
field are the words of a token_seq column of an atomic file, or a list in parquet. Keys:
  --topk=10,20 (as far as the lists go)  --metrics=Recall,NDCG,CV,MIN  --item_groups=pop,tail3,cold,genre
  --genre_field=FIELD  --user_groups=gender,gender*age,activity,mainstream  --group_bins.age.young='[0,35)'
  --min_group_users=5  --interval=0.95  --bootstrap=1000  --interval_method=widened"""


def main(arguments: Arguments) -> int:
    """Judge and print the table; of several systems their page too."""
    if arguments.words:
        raise UsageError(f"{arguments.words[0]!r}: audit takes --key=value only")
    if "variants" in arguments.options:
        return _variants(arguments)
    listed = arguments.take("recommendations", [])
    met, users, items = (_file(arguments, name) for name in ("interactions", "users", "items"))
    folder, ids = arguments.take("run_dir"), arguments.take_columns()
    for name, value in (("recommendations", listed), ("interactions", met)):
        if not value:
            raise UsageError(f"audit: give --{name}=FILE; see audit --help")
    if not folder:
        raise UsageError("audit: give --run_dir=DIR, where the results go")
    systems, system = _systems(listed), arguments.take("system")
    if len(systems) > 1 and system is not None:
        raise UsageError("--system: several systems have their names in --recommendations NAME=FILE; leave it out")
    from recbole_fair.audit.judge import Files, audit

    dataset, root, keys = str(arguments.take("dataset", "audit")), Path(str(folder)), arguments.options
    with spoken("quiet" in arguments.switches):
        results = [
            audit(Files(path, met, users, items, ids), root / name, str(system or name or path.stem), dataset, keys)
            for name, path in systems.items()
        ]
    print("\n\n".join(result.table() for result in results))
    if len(results) > 1:
        print(f"\nside by side: {_page(results, root, dataset, 'metrics' in arguments.options)}")
    return 0


def _variants(arguments: Arguments) -> int:
    """Compare lists under several prompts and print the table."""
    from recbole_fair.audit.stability import audit_variants, parsed

    for name in ("recommendations", "interactions", "items"):
        if name in arguments.options:
            raise UsageError(f"--{name}: --variants are compared with each other; leave one of the two out")
    files, users, ids = parsed(arguments.take("variants")), _file(arguments, "users"), arguments.take_columns()
    folder, dataset = arguments.take("run_dir"), str(arguments.take("dataset", "audit"))
    if not folder:
        raise UsageError("audit: give --run_dir=DIR, where the results go")
    system = str(arguments.take("system") or next(iter(files.values())).stem)
    with spoken("quiet" in arguments.switches):
        result = audit_variants(files, Path(str(folder)), system, dataset, arguments.options, users, ids)
    print(result.table())
    return 0


def _systems(listed: Sequence[str]) -> dict[str, Path]:
    """The file of each system by its name; the only one's name is empty."""
    if len(listed) == 1:
        return {"": Path(listed[0])}
    systems: dict[str, Path] = {}
    for named_file in listed:
        name, equals, path = named_file.partition("=")
        if not equals or not path or not re.fullmatch(_NAME, name) or name == _PAGE or name in systems:
            raise UsageError(
                f"--recommendations {named_file}: of several systems give each as NAME=FILE, with names of letters,"
                f" digits and -+., each once ({_PAGE} is the page's folder)"
            )
        systems[name] = Path(path)
    return systems


def _page(results: Sequence[Result], root: Path, dataset: str, named: bool) -> Path:
    """The report of all systems, tested against the first; on the metrics that were named, at the largest K."""
    from recbole_fair.metrics.key import MetricKey
    from recbole_fair.report.assemble import Options
    from recbole_fair.report.write import write

    cutoffs = {key: MetricKey.parse(key).k or 0 for key in results[0].test}
    metrics = tuple(key for key, k in cutoffs.items() if k == max(cutoffs.values())) if named else ()
    names = [result.model for result in results]
    options = Options(f"{dataset}: {', '.join(names)}", metrics, reference=names[0])
    return write([Path(result.run_dir) for result in results], root / _PAGE, options)[0]


def usage() -> str:
    """The help text."""
    return _USAGE


def _file(arguments: Arguments, name: str) -> Path | None:
    given = arguments.take(name)
    return None if given is None else Path(str(given))
