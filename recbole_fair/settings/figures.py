"""What a configuration may ask of an evaluation: metrics that fit the protocol, and nothing RecBole would misread."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import inf
from typing import Any

from recbole_fair.errors import UsageError
from recbole_fair.groups.bins import within
from recbole_fair.host import EvaluatorType, ModelType, metric_register
from recbole_fair.metrics import answer_metrics, catalogue_metrics  # noqa: F401 (importing it registers)
from recbole_fair.registry import nearest

_GROUPINGS = {"user": ("user_groups", "probe"), "item": ("item_groups",), "": ()}  # keys that name them
_METRIC_KEY = re.compile(r"(\w+)(?:@(\d+))?(\[[\w*.-]+\])?")


def completed(values: Mapping[str, Any]) -> tuple[list[str], list[int]]:
    """`metrics` and `topk`, with what `valid_metric` names among them."""
    metrics = [values["metrics"]] if isinstance(values["metrics"], str) else list(values["metrics"])
    topk = ranks(values["topk"])
    name, k, grouping = _parsed(values)
    metrics += [name] if name.lower() not in {str(metric).lower() for metric in metrics} else []
    names = [known(str(metric), values["eval_protocol"]) for metric in metrics]
    told = f"valid_metric={values['valid_metric']!r}"
    _check_grouping(values, known(name, values["eval_protocol"]), grouping, told)
    return names, sorted({*topk, *([k] if k else [])})


def ranks(given: Any) -> list[int]:
    """`topk` as rising numbers."""
    topk = list(given) if isinstance(given, (list, tuple)) else [given]
    if not topk or not all(isinstance(k, int) and not isinstance(k, bool) and 1 <= k <= 10**6 for k in topk):
        raise UsageError(f"topk={given!r}: a positive number, or a list of them")
    return sorted(set(topk))


def _parsed(values: Mapping[str, Any]) -> tuple[str, int | None, str]:
    """Name, K and grouping of `valid_metric`; a list has a K, an answer none."""
    found = _METRIC_KEY.fullmatch(str(values["valid_metric"]))
    lists = values["eval_protocol"] != "labeled"
    if not found or bool(found.group(2)) != lists:
        form = "a metric and its K, as in NDCG@20" if lists else "a metric of answers, as in AUC"
        raise UsageError(f"valid_metric={values['valid_metric']!r}: name {form}")
    return found.group(1), int(found.group(2)) if lists else None, (found.group(3) or "")[1:-1]


def _check_grouping(values: Mapping[str, Any], name: str, grouping: str, told: str) -> None:
    """A metric of groups is reported for each grouping, any other for none: refused now rather than after an epoch."""
    metric = metric_register.metrics_dict[name.lower()]
    if not getattr(metric, "has_better_side", True):
        raise UsageError(f"{told}: neither side of it is better; choose by another")
    kind = getattr(metric, "kind", "")
    given = [values[key] or [] for key in _GROUPINGS[kind]]
    offered = [name for names in given for name in ([names] if isinstance(names, str) else names)]
    if grouping not in (offered if kind else [""]):
        form = f"name one of the {kind} groupings, {offered}, as in CV@20[pop]" if kind else f"{name} has no [grouping]"
        raise UsageError(f"{told}: {form}")


def check_reported(values: Mapping[str, Any], key: str) -> None:
    """Refuse a figure that a run of this configuration does not report."""
    found = _METRIC_KEY.fullmatch(key)
    name, k, grouping = found.groups() if found else ("", None, None)
    protocol, reported = values["eval_protocol"], ", ".join(map(str, values["metrics"]))
    names = {key_of(str(metric)) for metric in values["metrics"]}
    if not found or key_of(name) not in names:
        raise UsageError(f"{key}: not among what is reported; add it to `metrics`, which are {reported}")
    if protocol != "labeled" and (k is None or int(k) not in ranks(values["topk"])):
        raise UsageError(
            f"{key}: name one of the cutoffs in topk={values['topk']}, as in {name}@{ranks(values['topk'])[0]}"
        )
    _check_grouping(values, known(name, protocol), (grouping or "")[1:-1], key)


def key_of(valid_metric: str) -> str:
    """`valid_metric` as results have it: the metric in lower case, the grouping as it is named."""
    name, bracket, grouping = valid_metric.partition("[")
    return answer_metrics.KEYS.get(name.lower(), name.lower()) + bracket + grouping


def known(metric: str, protocol: str) -> str:
    """The metric under the name it is registered by; refused where it does not fit the protocol."""
    name = answer_metrics.NAMES.get(metric.lower(), metric) if protocol == "labeled" else metric
    table = metric_register.metrics_dict
    if name.lower() not in table:
        raise UsageError(f"metrics: no metric {metric!r}.{nearest(metric.lower(), table)} docs/metrics.md lists them")
    judges_answers = getattr(table[name.lower()], "protocol", None) == "labeled"
    if protocol == "labeled" and not judges_answers:
        raise UsageError(f"metrics: {metric} judges lists; eval_protocol=labeled judges answers (docs/metrics.md)")
    if protocol != "labeled" and (judges_answers or table[name.lower()].metric_type == EvaluatorType.VALUE):
        raise UsageError(f"metrics: {metric} judges answers to labeled pairs; it needs eval_protocol=labeled")
    return name


def bigger_is_better(valid_metric: str) -> bool:
    """Direction of `valid_metric`, read from the metric itself."""
    name = re.split(r"[@\[]", valid_metric)[0].lower()
    return answer_metrics.NAMES.get(name, name).lower() not in metric_register.smaller_metrics


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


def _check_split(split: Any) -> None:
    """One way to split, with three shares where it takes any."""
    if not isinstance(split, Mapping) or len(split) != 1 or not set(split) <= {"RS", "LS", "TS", "US"}:
        raise UsageError(f"eval_args.split={split!r}: give one of RS, LS, TS and US, as in {{RS: [0.8, 0.1, 0.1]}}")
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


def check(values: Mapping[str, Any]) -> None:
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
    if "TS" in (arguments.get("split") or {}) and arguments.get("order") != "TO":
        raise UsageError("eval_args: a TS split needs `order: TO` (RecBole mixes past and future with RO)")
    _check_split(arguments.get("split"))
    _check_filter(values.get("val_interval") or {})
    unknown = set(values.get("clip_grad_norm") or {}) - {"max_norm", "norm_type"}
    if unknown:
        raise UsageError(f"clip_grad_norm: unknown {sorted(unknown)}; it has max_norm and norm_type")
    if values.get("threshold"):
        raise UsageError(
            "threshold: every row counts as a like; filter with val_interval, or use eval_protocol=labeled"
        )
    if values.get("MODEL_TYPE") == ModelType.SEQUENTIAL and arguments.get("order") != "TO":
        raise UsageError(f"{values['model']} reads items in time order: set eval_args.order=TO")
