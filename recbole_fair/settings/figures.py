"""What a configuration may ask of an evaluation: metrics that fit the protocol, and nothing RecBole would misread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from math import inf
from typing import Any

from recbole_fair.errors import UsageError
from recbole_fair.groups.bins import within
from recbole_fair.groups.named import names_of
from recbole_fair.metrics.declared import by_host_name, registered
from recbole_fair.metrics.key import MetricKey
from recbole_fair.metrics.metric import OfScores
from recbole_fair.registry import nearest

_GROUPINGS = {"user": ("user_groups", "probe"), "item": ("item_groups",), "": ()}  # keys that name them


def completed(values: Mapping[str, Any]) -> tuple[list[str], list[int]]:
    """`metrics` and `topk`, with what `valid_metric` names among them."""
    metrics = [values["metrics"]] if isinstance(values["metrics"], str) else list(values["metrics"])
    topk = ranks(values["topk"])
    key = _parsed(values)
    metrics += [key.name] if key.name.lower() not in {str(metric).lower() for metric in metrics} else []
    names = [known(str(metric), values["eval_protocol"]) for metric in metrics]
    _check_grouping(values, key, f"valid_metric={values['valid_metric']!r}")
    return names, sorted({*topk, *([key.k] if key.k else [])})


def ranks(value: Any) -> list[int]:
    """`topk` as rising numbers."""
    topk = list(value) if isinstance(value, (list, tuple)) else [value]
    if not topk or not all(isinstance(k, int) and not isinstance(k, bool) and 1 <= k <= 10**6 for k in topk):
        raise UsageError(f"topk={value!r}: a positive number, or a list of them")
    return sorted(set(topk))


def _parsed(values: Mapping[str, Any]) -> MetricKey:
    """`valid_metric`; a metric of lists has a K, one of answers none."""
    lists, text = values["eval_protocol"] != "labeled", str(values["valid_metric"])
    form = "a metric and its K, as in NDCG@20" if lists else "a metric of answers, as in AUC"
    try:
        key = MetricKey.parse(text)
    except UsageError as error:
        raise UsageError(f"valid_metric={text!r}: name {form}") from error
    if (key.k is not None) != lists:
        raise UsageError(f"valid_metric={text!r}: name {form}")
    return key


def _check_grouping(values: Mapping[str, Any], key: MetricKey, named_by: str) -> None:
    """A metric of groups is reported for each grouping, any other for none: refused now rather than after an epoch."""
    name = known(key.name, values["eval_protocol"])
    metric = by_host_name()[name.lower()]
    if metric.answers and not metric.side:
        where = "" if metric.best is None else f" (it is best at {metric.best:g})"
        raise UsageError(f"{named_by}: neither side of it is better{where}; choose by another")
    kind = metric.over
    named = [name for setting in _GROUPINGS[kind] for name in names_of(values, setting)]
    offered = [name for name in named if metric.fits(name)]
    if key.grouping not in (offered if kind else [""]):
        form = f"name one of the {kind} groupings, {offered}, as in CV@20[pop]" if kind else f"{name} has no [grouping]"
        raise UsageError(f"{named_by}: {form}")


def check_reported(values: Mapping[str, Any], text: str) -> None:
    """Refuse a figure that a run of this configuration does not report."""
    protocol, topk = values["eval_protocol"], ranks(values["topk"])
    names = {known(str(metric), protocol).lower() for metric in values["metrics"]}
    try:
        key = MetricKey.parse(text)
    except UsageError:
        key = MetricKey("")
    if registered(key.name, protocol == "labeled").lower() not in names:
        reported = ", ".join(map(str, values["metrics"]))
        raise UsageError(f"{text}: not among what is reported; add it to `metrics`, which are {reported}")
    if protocol != "labeled" and (key.k is None or key.k not in topk):
        raise UsageError(f"{text}: name one of the cutoffs in topk={values['topk']}, as in {key.name}@{topk[0]}")
    _check_grouping(values, key, text)


def key_of(valid_metric: str) -> str:
    """`valid_metric` as results have it: the metric in lower case, the grouping as it is named."""
    try:
        key = MetricKey.parse(valid_metric)
    except UsageError:
        return valid_metric.lower()
    declared = by_host_name().get(key.name.lower())
    return str(key if declared is None else replace(key, name=declared.name))


def known(metric: str, protocol: str) -> str:
    """The metric under the name it is registered by; refused where it does not fit the protocol."""
    name, table = registered(metric, protocol == "labeled"), by_host_name()
    if name.lower() not in table:
        raise UsageError(
            f"metrics: no metric {metric!r}.{nearest(metric.lower(), table)} `recbole-fair metrics` lists them"
        )
    found = table[name.lower()]
    if protocol == "labeled" and not found.answers:
        raise UsageError(f"metrics: {metric} judges lists; eval_protocol=labeled judges answers (docs/metrics.md)")
    if protocol != "labeled" and (found.answers or (isinstance(found, OfScores) and found.labels)):
        raise UsageError(f"metrics: {metric} judges answers to labeled pairs; it needs eval_protocol=labeled")
    return name


def bigger_is_better(values: Mapping[str, Any]) -> bool:
    """Direction of `valid_metric`, read from the metric itself."""
    name = known(MetricKey.parse(str(values["valid_metric"])).name, values["eval_protocol"])
    return by_host_name()[name.lower()].side != "lower"


def _check_filter(rules: Mapping[str, Any]) -> None:
    """RecBole skips an interval that it cannot read, and then drops the first row of the data."""
    for field, rule in rules.items():
        key = f"val_interval.{field}"
        if isinstance(rule, str):
            for part in rule.split(";"):
                within(part, key)
        elif not isinstance(rule, (list, tuple)) or not all(isinstance(word, str) for word in rule):
            raise UsageError(
                f"{key}={rule!r}: an interval as in '[3,inf)' for numbers, or a list of words in quotes for tokens"
            )


def _check_order(arguments: Mapping[str, Any]) -> None:
    """RecBole says of an order or a grouping that it does not know only that it is not implemented."""
    if arguments.get("order") not in ("RO", "TO"):
        raise UsageError(f"eval_args.order={arguments.get('order')!r}: choose RO (random order) or TO (by time)")
    if arguments.get("group_by") not in ("user", "none", None):
        raise UsageError(f"eval_args.group_by={arguments['group_by']!r}: choose user or none")


def _check_split(split: Any) -> None:
    """One way to split, with three shares where it takes any."""
    if not isinstance(split, Mapping) or len(split) != 1 or not set(split) <= {"RS", "LS", "TS", "US", "WS"}:
        raise UsageError(f"eval_args.split={split!r}: give one of RS, LS, TS, US and WS, as in {{RS: [0.8, 0.1, 0.1]}}")
    ((way, shares),) = split.items()
    if way == "LS":
        return
    numbers = isinstance(shares, (list, tuple)) and all(
        isinstance(share, (int, float)) and not isinstance(share, bool) and 0 < share < inf for share in shares
    )
    if not numbers or len(shares) != 3:
        raise UsageError(
            f"eval_args.split.{way}={shares!r}: give three positive shares, for train, valid and test,"
            " as in [0.8, 0.1, 0.1]"
        )


def _check_host(values: Mapping[str, Any]) -> None:
    """Refuse what RecBole would end on in a traceback."""
    if values.get("log_wandb") and find_spec("wandb") is None:
        raise UsageError("log_wandb=True: wandb is not installed; install it, or leave the key out (see history.csv)")
    if str(values["model"]).endswith("EASE") and values.get("reg_weight") == 0:
        raise UsageError("reg_weight=0: EASE inverts a matrix that is singular without it; give a number above 0")


def check(values: Mapping[str, Any], sequential: bool) -> None:
    """Refuse settings under which RecBole computes something else than was asked."""
    arguments = values["eval_args"]
    if unknown := set(arguments) - {"split", "order", "group_by", "mode"}:
        raise UsageError(f"eval_args: unknown {sorted(unknown)}; it has split, order, group_by and mode")
    modes = arguments.get("mode", "full")
    if set(modes.values() if isinstance(modes, dict) else [modes]) != {"full"}:
        raise UsageError(
            f"eval_args.mode={modes!r}: RecBole draws its candidates anew on every pass; use eval_protocol=candidates"
            " (or labeled) and leave mode: full"
        )
    _check_split(arguments.get("split"))
    if "TS" in arguments["split"] and arguments.get("order") != "TO":
        raise UsageError("eval_args: a TS split needs `order: TO` (RecBole mixes past and future with RO)")
    _check_order(arguments)
    _check_filter(values.get("val_interval") or {})
    _check_host(values)
    if unknown := set(values.get("clip_grad_norm") or {}) - {"max_norm", "norm_type"}:
        raise UsageError(f"clip_grad_norm: unknown {sorted(unknown)}; it has max_norm and norm_type")
    if values.get("threshold"):
        raise UsageError(
            "threshold: every row counts as a like; filter with val_interval, or use eval_protocol=labeled"
        )
    if sequential and arguments.get("order") != "TO":
        raise UsageError(
            f"{values['model']} reads items in time order, so it needs data with timestamps and --eval_args.order=TO;"
            " of data without, choose another model, such as MF"
        )
