"""Which runs a run stands on, and the hash and folder that follow. Pure: nothing here trains or writes.

A base is a `Made` (a finished run whose folder the configuration names) or a `Request` (an ordinary run by its
configuration, found by its hash and made by who needs it). The hash of a run needs only the hashes of its bases, so
its folder is known before any of them is trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from recbole_fair import registry, storage
from recbole_fair.data import identity
from recbole_fair.errors import UsageError
from recbole_fair.registry import ITSELF, nearest
from recbole_fair.rundir import folder as rundir
from recbole_fair.rundir.result import Result, finished
from recbole_fair.settings import keys, yamls
from recbole_fair.settings.config import Config

AUTO = "auto"
_DEEPEST = 8  # runs that stand one on the other; more is a row that stands on itself
ROOT = Path("runs")  # where bases that nobody named lie, whoever asks for them


@dataclass(frozen=True)
class Made:
    """A finished run that was named by its folder; `name` is "" for the only base of most runs."""

    name: str
    folder: Path

    @cached_property
    def result(self) -> Result:
        """Its result.json."""
        return Result.read(self.folder)

    @property
    def model(self) -> str:
        """Its row label."""
        return self.result.model

    def identity(self) -> tuple[str, int]:
        """Its hash and its seed."""
        return self.result.config_hash, self.result.seed


@dataclass(frozen=True)
class Request:
    """An ordinary run that another stands on: `runner.run(model, dataset, **keys)`, made or not.

    `above` are the labels of the runs that stand on it, the nearest last.
    """

    name: str
    model: str
    dataset: str
    keys: Mapping[str, Any]
    above: tuple[str, ...]

    @cached_property
    def config(self) -> Config:
        """Its configuration; what cannot be is refused with the base's name."""
        if len(self.above) > _DEEPEST:
            raise UsageError(f"bases: {' on '.join(self.above)}: no end of runs that stand on each other")
        try:
            return Config(self.model, self.dataset, overrides=self.keys)
        except UsageError as error:
            raise UsageError(f"{self}: {error}") from error

    @cached_property
    def bases(self) -> tuple[Request | Made, ...]:
        """What it stands on itself."""
        return bases_of(self.config, self.above)

    @cached_property
    def digest(self) -> str:
        """The hash that it has or will have."""
        return digest_of(self.config, self.bases)

    def identity(self) -> tuple[str, int]:
        """Its hash and its seed."""
        return self.digest, self.config["seed"]

    @property
    def folder(self) -> Path:
        """Where it lies or will lie."""
        return rundir.folder_for(self.config, self.digest, ROOT)

    def __str__(self) -> str:
        return f"base {f'{self.name}: ' if self.name else ''}{self.model} of {self.above[-1]}"


Base = Request | Made


def bases_of(config: Config, above: tuple[str, ...] = ()) -> tuple[Base, ...]:
    """The runs that a run of this configuration stands on, by their names; most stand on none.

    `base` names the folder of the base "", `bases` those of others; what is not named, or `auto`, is asked for as the
    registry's row declares it.
    """
    beneath = _bases_of_the_trained(config)
    declared = {**_declared(config, beneath), **dict.fromkeys(beneath, AUTO)}
    named = {**beneath, **_named(config)}
    for name in named:
        if name not in declared:
            raise UsageError(_no_such_base(config, name, declared))
    return tuple(
        _made(config, name, Path(named[name])) if named.get(name, AUTO) != AUTO else _asked(config, name, row, above)
        for name, row in sorted(declared.items())
    )


def digest_of(config: Config, bases: tuple[Base, ...]) -> str:
    """The hash of a run: its values, its data and its parents."""
    return config.hash(identity.fingerprint(config.folder, config["dataset"]), parents_of(config, bases))


def parents_of(config: Config, bases: tuple[Base, ...]) -> list[str]:
    """Digests of what else the figures depend on: the runs beneath, weights to judge, the text encoder."""
    parents = [
        f"base {f'{base.name} ' if base.name else ''}{_seeded(*base.identity(), config['seed'])}" for base in bases
    ]
    if config["load"]:
        parents.append(f"weights {_weights(Path(config['load']), config['seed'])}")
    if config["item_encoder"]:
        from recbole_fair.encoding import items  # sentence-transformers and its kin only for models that read texts

        parents.append(f"encoder {items.encoder_of(config).identity}")
    return parents


def folder_of(config: Config, root: Path = ROOT) -> Path:
    """Where below `root` a run of this configuration belongs; nothing that it stands on is made."""
    return rundir.folder_for(config, digest_of(config, bases_of(config)), root)


def _seeded(digest: str, own: int, seed: int) -> str:
    """A hash, and the seed where it is another: the seeds of a comparison then share one hash."""
    return f"{digest}{'' if own == seed else f' s{own}'}"


def _weights(source: Path, seed: int) -> str:
    """The finished run whose weights are judged; of one that has not ended, the digest of its file."""
    if finished(source):
        result = Result.read(source)
        return _seeded(result.config_hash, result.seed, seed)
    return str(storage.read_json(source / "model.json").get("sha256"))


def _bases_of_the_trained(config: Config) -> Mapping[str, str]:
    """By name, the folders that the run `base` stands on, where a strategy works upon that finished run."""
    named = config.choice.stands_on_itself and config["base"] not in (None, AUTO)
    return Result.read(Path(config["base"])).bases if named and finished(Path(config["base"])) else {}


def _declared(config: Config, beneath: Mapping[str, str]) -> Mapping[str, Any]:
    """By name: ITSELF, a row's name, or the keys of a base, as the rows of this run declare them."""
    if config.choice.stands_on_itself:
        own = {} if beneath else _of_row(config.choice.model, config)
        return {"": ITSELF} | {name: wanted for name, wanted in own.items() if name}
    declared: dict[str, Any] = {}
    for row in (config.choice.model, *config.choice.strategies):
        declared |= _of_row(row, config)
    return declared


def _of_row(row: registry.Row, config: Config) -> Mapping[str, Any]:
    if not isinstance(row.base, str):
        return row.base
    if ":" in row.base:
        answered: Mapping[str, Any] = registry.load(row.base)(config)
        return answered
    return {"": row.base} if row.base else {}


def _named(config: Config) -> dict[str, str]:
    """`base` and `bases` as they were given."""
    named = {"": config["base"], **(config["bases"] or {})}
    for name, value in named.items():
        if value is not None and not isinstance(value, str):
            raise UsageError(f"bases: {name}: {value!r} must be auto or the folder of a finished run")
    return {name: value for name, value in named.items() if value is not None}


def _no_such_base(config: Config, name: str, declared: Mapping[str, Any]) -> str:
    key = f"bases: {name}" if name else f"base={config['base']}"
    names = ", ".join(other or "base" for other in declared)
    other = f"no such run.{nearest(name, declared)} It has {names}" if declared else "no other run; drop it"
    return f"{key}: {config.name} stands on {other}"


def _made(config: Config, name: str, folder: Path) -> Made:
    if not finished(folder):
        key = f"bases: {name}: " if name else "base="
        raise UsageError(f"{key}{folder}: no finished run; give a run's folder or base=auto")
    made = Made(name, folder)
    if not name and config.choice.stands_on_itself and made.model != config.choice.base_name:
        raise UsageError(f"base={folder}: holds {made.model}; {config.name} works on {config.choice.base_name}")
    return made


def _asked(config: Config, name: str, wanted: str | Mapping[str, Any], above: tuple[str, ...]) -> Request:
    """The run that a row's declaration stands for, with what it takes over from the run above it."""
    label, values = (*above, config.name), config.external_config_dict
    if wanted == ITSELF:
        own = yamls.packaged(f"strategy/{config.choice.strategies[-1].name}.yaml")
        taken = {key: value for key, value in values.items() if key not in own and keys.handed_down(key) is not False}
        bases = {"bases": config["bases"]} if config["bases"] else {}
        return Request(name, config.choice.base_name, config["dataset"], {**taken, **bases}, label)
    taken = {key: value for key, value in values.items() if keys.handed_down(key)}
    more = {"model": wanted} if isinstance(wanted, str) else dict(wanted)
    return Request(name, str(more.pop("model")), config["dataset"], {**taken, **more}, label)
