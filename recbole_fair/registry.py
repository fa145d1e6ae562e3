"""The one table of names: what a user may type after `--model=` and where it lives.

Only strings: asking the table loads no model, no torch and no RecBole. A row is a preset: its class comes from
`target`, its keys from `properties/family/<family>.yaml` and `properties/model/<name>.yaml`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from types import MappingProxyType
from typing import Any

from recbole_fair.errors import UsageError

ITSELF = "*"


@dataclass(frozen=True, slots=True)
class Row:
    """One name of the table.

    `target` is "module:Class"; `host` names the RecBole model whose own yaml is loaded first; `variants` maps
    "key=value" of the configuration to another target (MF with `rec_loss=infonce`); `cite` is a key of
    properties/references.yaml.

    `base` says which trained runs it stands on (bases.py): a row's name; ITSELF for a strategy that works on the
    trained model; several as {name: row's name}; or "module:function" of a function that is given the configuration
    and answers {name: row's name, or a mapping of keys with `model` among them}. `trained_by` is the strategy that a
    row is trained with where none is named.
    """

    name: str
    target: str
    family: str
    cite: str
    needs: str = ""
    host: str = ""
    base: str | Mapping[str, str] = ""
    trained_by: str = ""
    variants: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def under(self, settings: Mapping[str, Any]) -> tuple[str, str]:
        """Class path and family under these settings: a matching variant's (its family is the value), else our own."""
        for condition, target in self.variants.items():
            key, _, value = condition.partition("=")
            if str(settings.get(key)) == value:
                return target, value
        return self.target, self.family


@dataclass(frozen=True, slots=True)
class Choice:
    """What `--model` and `--strategy` resolve to together."""

    model: Row
    strategy: Row | None = None
    beneath: Row | None = None  # what trained the model that a strategy after training works on

    @property
    def name(self) -> str:
        """The row label: strategy prefixes and model name."""
        return f"{self.strategy.name if self.strategy else ''}{self.base_name}"

    @property
    def base_name(self) -> str:
        """The label of the same model without the last strategy."""
        return f"{self.beneath.name if self.beneath else ''}{self.model.name}"

    @property
    def stands_on_itself(self) -> bool:
        """Whether the strategy works on the trained model."""
        return self.strategy is not None and self.strategy.base == ITSELF

    @property
    def strategies(self) -> list[Row]:
        """All of them, in the order in which they work."""
        return [row for row in (self.beneath, self.strategy) if row is not None]


def load(target: str) -> Any:
    """Import the object that a "module:Name" string points to."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def _host(kind: str, name: str, *, alias: str = "", needs: str = "", **variants: str) -> Row:
    target = f"recbole.model.{kind}_recommender.{name.lower()}:{name}"
    family = "sequential" if kind == "sequential" else "host"
    paths = MappingProxyType({f"rec_loss={value}": path for value, path in variants.items()})
    return Row(alias or name, target, family, cite=name, needs=needs, host=name, variants=paths)


_P5_BASES = "recbole_fair.models.p5.bases"
_ALGORITHM_1 = "recbole_fair.strategies.cfp:CounterfactualPrompt"


def _on_p5(name: str, target: str, cite: str, *, base: str = f"{_P5_BASES}:plain", trained_by: str = "") -> Row:
    target, needs = f"recbole_fair.models.p5.on_frozen:{target}", "a sensitive_attribute; a P5 (made first)"
    return Row(name, target, "p5", cite, needs, base=base, trained_by=trained_by)


_INFONCE = "recbole_fair.models.infonce:InfoNCE"
_TITLES = "item texts"
_BLEND = "recbole_fair.models.blend"

_OURS = (
    Row("AlphaRec", "recbole_fair.models.alpharec:AlphaRec", "embedding", "AlphaRec", _TITLES),
    Row("Linear", "recbole_fair.models.alpharec:Linear", "embedding", "Linear", _TITLES),
    Row("XSimGCL", "recbole_fair.models.xsimgcl:XSimGCL", "host", "XSimGCL", host="LightGCN"),
    Row("PMF", "recbole_fair.models.pmf:PMF", "host", "PMF"),
    Row("P5", "recbole_fair.models.p5.model:P5", "p5", "P5"),
    _on_p5("CFP", "CFP", "UP5", trained_by=_ALGORITHM_1),
    _on_p5("CFP-Mixture", "CFPMixture", "UP5", base=f"{_P5_BASES}:single_prompts", trained_by=_ALGORITHM_1),
    _on_p5("Erase", "Erase", "LEACE"),
    Row("Blend", f"{_BLEND}:Blend", "host", "RecBole", "two trained runs (`bases`)", base=f"{_BLEND}:runs"),
    Row("Pop", "recbole_fair.models.controls:Pop", "host", "Pop"),
    Row("Random", "recbole_fair.models.controls:Random", "host", "RecBole"),
)

_YESNO = "recbole_fair.models.llm.yesno"
_PROMPTS = "item texts, likes, user fields"


def _yesno(name: str, kind: str = "YesNo", base: str = f"{_YESNO}:base_of_rows") -> Row:
    return Row(name, f"{_YESNO}:{kind}", "yesno", cite="CL-MoE", needs=_PROMPTS, base=base)


_YES_NO = (
    _yesno("YesNo-Base", base=""),
    *(_yesno(name, "Untrained") for name in ("LLM-Rec", "Prompt-Eng-1", "Prompt-Eng-2", "Prompt-Eng-3")),
    *(_yesno(name, "Untrained") for name in ("Blind", "Averaged")),
    _yesno("CoT", "ChainOfThought"),
    *(_yesno(name) for name in ("Ins-Tuning", "CF", "Diff", "CF-Diff")),
    *(_yesno(f"{name}{suffix}") for name in ("MoE", "CL-MoE") for suffix in ("", "-A", "-G", "-GA")),
)

_MOS = "recbole_fair.models.llm.mos:MoS"
_STANDS_ON = "recbole_fair.models.llm.mos:base_of_rows"


def _mos(name: str, cite: str = "MoS", trained_by: str = "", target: str = _MOS, base: str = _STANDS_ON) -> Row:
    return Row(name, target, "mos", cite, "item texts; ratings; a user grouping", base=base, trained_by=trained_by)


# Tables 4 to 6 of MoS; which of its parts a row has, its yaml says.
_OF_MOS = (
    _mos("MoS-Base", base=""),
    *(_mos(name) for name in ("MoS", "MoS-top2", "MoS-stochastic", "MoS-no-reweight", "MoS-no-div")),
    *(_mos(name, "TALLRec") for name in ("TALLRec", "TALLRec--")),
    *(_mos(name, name) for name in ("Prompt-Tuning", "P-Tuning", "LoRA", "IFairLRS", "FaiRLLM")),
    _mos("UP5-Loss", "UP5", "recbole_fair.strategies.deceived:Deceived"),
    _mos("MoS-Blind", target="recbole_fair.models.llm.mos:Blind"),
)

# Which of RecBole's models run here, and why the others do not: docs/host-models.md.
_GENERAL = """
    ADMMSLIM AsymKNN CDAE ConvNCF DGCF DiffRec DMF EASE ENMF FISM GCMC ItemKNN LDiffRec LINE MacridVAE MultiDAE NAIS
    NCEPLRec NCL NeuMF NGCF NNCF RecVAE SGL SimpleX SLIMElastic SpectralCF
""".split()  # noqa: SIM905 (sixty lines of quotes say no more)
_SEQUENTIAL = """
    BERT4Rec Caser CORE FEARec FOSSIL FPMC GCSAN GRU4Rec HGN HRM LightSANs NARM NextItNet NPE RepeatNet
    SASRec SHAN SINE SRGNN STAMP TransRec
""".split()  # noqa: SIM905

_NEEDS = {"NCL": "the package faiss-cpu"}

_HOSTS = (
    _host("general", "BPR", alias="MF", infonce=f"{_INFONCE}MF"),
    _host("general", "LightGCN", infonce=f"{_INFONCE}LightGCN"),
    _host("general", "MultiVAE", alias="MultVAE"),
    *(_host("general", name, needs=_NEEDS.get(name, "")) for name in _GENERAL),
    *(_host("sequential", name, needs="timestamps") for name in _SEQUENTIAL),
)

_models: dict[str, Row] = {row.name: row for row in (*_OURS, *_YES_NO, *_OF_MOS, *_HOSTS)}
MODELS: Mapping[str, Row] = MappingProxyType(_models)
ALIASES: Mapping[str, str] = MappingProxyType({"BPR": "MF", "MultiVAE": "MultVAE"})

_PER_SAMPLE = "groups of items or users; losses per sample"
_HIDEABLE = "a sensitive_attribute; user vectors in one table"
_TRANSFORMER = "a sensitive_attribute; SASRec or BERT4Rec (made first)"
_REFINABLE = "groups of items or users; item vectors to refine"


def _strategy_row(name: str, module: str, needs: str = _PER_SAMPLE) -> Row:
    return Row(name, f"recbole_fair.strategies.{module}:{name}", "strategy", cite=name, needs=needs)


_RERANKERS = ("MinMax", "CPFair", "FA-IR", "P-MMF", "FairRec", "TaxRank", "Calibrated", "MMR")

_strategies: dict[str, Row] = {
    row.name: row
    for row in (
        _strategy_row("Reweight", "reweight"),
        _strategy_row("MultiFR", "multifr"),
        _strategy_row("PopDRO", "dro", f"{_PER_SAMPLE}; timestamps for its trend"),
        _strategy_row("DRORec", "dro"),
        _strategy_row("ITFR", "itfr"),
        Row("C-", "recbole_fair.strategies.counterfactual:Counterfactual", "strategy", "PCFR", _HIDEABLE),
        Row("S-", "recbole_fair.strategies.selective:Selective", "strategy", "PFRec", _TRANSFORMER, base=ITSELF),
        Row("BiFair", "recbole_fair.strategies.bifair.method:BiFair", "strategy", "BiFair", _REFINABLE),
        Row("BiFair-Alg2", "recbole_fair.strategies.bifair.method:BiFair", "strategy", "BiFair", _REFINABLE),
        Row("Separate", "recbole_fair.strategies.bifair.separate:Separate", "strategy", "BiFair", _REFINABLE),
        Row("Offset", "recbole_fair.strategies.offset:Offset", "strategy", "RecBole", "item groups", base=ITSELF),
        *(
            Row(name, "recbole_fair.strategies.rerank:Rerank", "strategy", name, "item groups", base=ITSELF)
            for name in _RERANKERS
        ),
    )
}
STRATEGIES: Mapping[str, Row] = MappingProxyType(_strategies)


def add(row: Row) -> None:
    """Add a row of your own for this process; a name that is taken or unclear is refused (docs/authoring.md)."""
    if row.name in MODELS or row.name in STRATEGIES or row.name in ALIASES:
        raise UsageError(f"{row.name!r}: is taken; choose another name")
    models, strategies = [*MODELS, *ALIASES], [*STRATEGIES]
    pairs = [(row.name, model) for model in models] if row.family == "strategy" else [(s, row.name) for s in strategies]
    for strategy, model in pairs:
        if model.startswith(strategy) or strategy.startswith(model):
            raise UsageError(
                f"{row.name!r}: of strategy {strategy} and model {model} one begins the other, so {strategy + model}"
                " could be read in two ways; choose another name"
            )
    (_strategies if row.family == "strategy" else _models)[row.name] = row


def resolve(model: str, strategy: str | None = None) -> Choice:
    """Find the rows behind `--model=ReweightAlphaRec` or `--model=AlphaRec --strategy=Reweight`, whatever the case."""
    model, strategy = _spelled(model, _all_names()), strategy and _spelled(strategy, STRATEGIES)
    name = ALIASES.get(model, model)
    if name in MODELS:
        return Choice(MODELS[name], _strategy(strategy))
    for prefix, row in _longest_first(STRATEGIES):
        rest = ALIASES.get(model.removeprefix(prefix), model.removeprefix(prefix))
        if model.startswith(prefix) and rest in MODELS:
            return _upon(Choice(MODELS[rest], row), strategy)
        if model.startswith(prefix) and row.base == ITSELF:
            return _upon(resolve(rest), prefix)
    hint = nearest(model, _all_names())
    raise UsageError(f"model={model!r}: no such model.{hint} `recbole-fair models` lists all")


def _all_names() -> list[str]:
    """Every model, also under its other name, alone and with each strategy before it."""
    alone = [*MODELS, *ALIASES]
    return [*alone, *(f"{strategy}{name}" for strategy in STRATEGIES for name in alone)]


def _spelled(name: str, known: Iterable[str]) -> str:
    """The one of these names that differs in its case only; without one, the name as it is."""
    same = [other for other in known if other.casefold() == name.casefold()]
    return name if name in same or len(same) != 1 else same[0]


def _upon(trained: Choice, strategy: str | None) -> Choice:
    """A second strategy upon a model that one has trained already: only one that works after training can be."""
    assert trained.strategy is not None
    row = _strategy(strategy)
    if row is None or row is trained.strategy:
        return trained
    if row.base != ITSELF:
        raise UsageError(f"model={trained.name} already names a strategy; drop strategy={strategy}")
    return Choice(trained.model, row, trained.strategy)


def _strategy(name: str | None) -> Row | None:
    if name is None:
        return None
    if name not in STRATEGIES:
        raise UsageError(
            f"strategy={name!r}: no such strategy.{nearest(name, STRATEGIES)} Known: {', '.join(STRATEGIES)}"
        )
    return STRATEGIES[name]


def _longest_first(rows: Mapping[str, Row]) -> Iterator[tuple[str, Row]]:
    """BiFair-Alg2 must be tried before BiFair."""
    yield from sorted(rows.items(), key=lambda entry: -len(entry[0]))


def label(kind: type) -> str:
    """The name under which users know a model's class: MF for RecBole's BPR."""
    rows = (row.name for row in MODELS.values() for target in (row.target, *row.variants.values())
            if target.endswith(f":{kind.__name__}"))  # fmt: skip
    return next(rows, kind.__name__)


def nearest(word: str, known: Any) -> str:
    """' Did you mean ...?' or nothing, to be appended to a refusal."""
    match = get_close_matches(str(word), list(known), n=1)
    return f" Did you mean {match[0]!r}?" if match else ""
