"""The configuration of one run: layered, checked, never evaluated, reloadable to the same hash.

A subclass of RecBole's Config that overrides its small hooks. Layers, lowest first: RecBole's own yaml files,
then ours (overall, dataset, family, model, strategy), then the user's files, then the command line.
"""

from __future__ import annotations

import os
import re
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from recbole_fair import registry
from recbole_fair.errors import UsageError
from recbole_fair.host import HostConfig, InputType, ModelType, recbole
from recbole_fair.registry import Choice
from recbole_fair.settings import figures, host_metrics, keys, yamls
from recbole_fair.settings.digest import config_hash

_HOST_FOLDER = Path(recbole.__file__).parent
_HOST_PROPERTIES = _HOST_FOLDER / "properties"
_DATASET_NAME = re.compile(r"[\w][\w.+-]*")
# How a run is called, not what it computes: never written to config.yaml, where they would be taken up again.
_NOT_WRITTEN = frozenset({"MODEL_TYPE", "run_dir", "resume", "load", "base", "bases"})
# Read by RecBole though no yaml of its names them.
_HOST_KEYS_WITHOUT_DEFAULT = frozenset({"encoding", "double_tower", "convert_token_to_onehot", "token_num_threshold"})
# Ours, which enter the hash of a run only where they are set: a default would have changed the hash of every run.
_OF_PROMPTS = frozenset({"max_eval_prompts"})


class Config(HostConfig):
    """RecBole's Config with a safe reader, our layers and a check of every key.

    `name` is the row label (ReweightAlphaRec), `effective` the merged values before RecBole digests them,
    `unused` the given keys that belong to other models.
    """

    def __init__(
        self,
        model: str | None = None,
        dataset: str | None = None,
        config_files: str | Path | Sequence[str | Path] = (),
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        self.unused: list[str] = []
        host_metrics.offer_declared()  # the host looks names up in its own table
        values = {"model": model, "dataset": dataset, **yamls.nested(keys.plain(overrides or {}))}
        values = {key: value for key, value in values.items() if key not in ("model", "dataset") or value is not None}
        with _host_refusals():
            super().__init__(config_file_list=files_of(config_files), config_dict=values)

    def _lacks_negatives(self, values: Mapping[str, Any]) -> bool:
        """Whether a model that learns from pairs of an item and a drawn one is configured to draw none."""
        refused = self.external_config_dict.get("train_neg_sample_args", True) is None
        draws = getattr(self.model_class, "input_type", None) is InputType.PAIRWISE and values.get("loss_type") != "CE"
        return refused and draws and bool(self.internal_config_dict["train_neg_sample_args"])

    # --- RecBole's hooks, in the order it calls them

    def _init_parameters_category(self) -> None:
        super()._init_parameters_category()
        # The host appends to lists that the whole process shares.
        self.parameters: dict[str, list[str]] = deepcopy(self.parameters)

    def _load_config_files(self, file_list: list[str | Path]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        self._files: dict[str, Path] = {}  # where each key stands
        for file in map(Path, file_list):
            values = yamls.nested(yamls.read_mapping(file))
            merge(merged, values)
            self._files |= dict.fromkeys(values, file)
        return merged

    def _load_variable_config_dict(self, config_dict: dict[str, Any]) -> dict[str, Any]:
        return dict(config_dict)

    def _load_cmd_line(self) -> dict[str, Any]:
        return {}  # argv belongs to cli.py, which reads it once

    def _merge_external_config_dict(self) -> None:
        merged = keys.by_full_names(deepcopy(self.file_config_dict))
        merge(merged, keys.by_full_names(deepcopy(self.variable_config_dict)))
        self.external_config_dict, self.choice = _continued(merged)

    def _get_model_and_dataset(self, model: str | None, dataset: str | None) -> tuple[str, type, str]:
        values = self.external_config_dict
        _check_word(values, "dataset")
        self.name = self.choice.name
        self.folder = data_folder(values["dataset"], Path(values.get("data_path") or "dataset_atomic"))
        target, self.family = self.choice.model.under(values)
        return super()._get_model_and_dataset(registry.load(target), values["dataset"])

    def _update_internal_config_dict(self, file: str) -> dict[str, Any]:
        content: dict[str, Any] = deepcopy(_of_host(Path(file)))
        self.internal_config_dict.update(content)
        return content

    def _load_internal_config_dict(self, model: str, model_class: type, dataset: str) -> None:
        row = self.choice.model
        super()._load_internal_config_dict(row.host or model, model_class, dataset)
        layers = [f"family/{self.family}", f"model/{row.name}"]
        layers += [f"strategy/{row.name}" for row in self.choice.strategies]
        contents = [of_data_set(self.folder), *(yamls.packaged(f"{layer}.yaml") for layer in layers)]
        overall = yamls.packaged("overall.yaml")
        protocol = ChainMap(self.external_config_dict, *reversed(contents), overall)["eval_protocol"]
        keys.check_value("eval_protocol", protocol, None)  # it names a file
        for content in (overall, yamls.packaged(f"protocol/{protocol}.yaml"), *contents):
            merge(self.internal_config_dict, deepcopy(content))

    def _get_final_config_dict(self) -> dict[str, Any]:
        self._check_external()
        final = deepcopy(self.internal_config_dict)
        merge(final, deepcopy(self.external_config_dict))
        final.update(model=self.name, strategy=None)
        if final.get("loss_type") == "CE" and "train_neg_sample_args" not in self.external_config_dict:
            final["train_neg_sample_args"] = None  # cross-entropy over all items draws no negatives
        elif self._lacks_negatives(final):
            raise UsageError(f"train_neg_sample_args=~: {self.name} learns from sampled negatives; leave the key out")
        final["metrics"], final["topk"] = figures.completed(final)
        self.effective = _plain({key: value for key, value in final.items() if key not in _NOT_WRITTEN})
        figures.check(final, final.get("MODEL_TYPE") == ModelType.SEQUENTIAL)
        return final

    def _set_default_parameters(self) -> None:
        super()._set_default_parameters()
        final = self.final_config_dict
        final["data_path"] = str(self.folder)
        final["valid_metric_bigger"] = figures.bigger_is_better(final)

    def _init_device(self) -> None:
        """Let RecBole pick the device without touching an existing CUDA_VISIBLE_DEVICES."""
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible is not None:
            self.final_config_dict["gpu_id"] = visible
        if not self.final_config_dict["use_gpu"]:
            self.final_config_dict["gpu_id"] = ""  # the host reads use_gpu nowhere when it picks the device
        super()._init_device()
        if visible is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = visible
        elif self.final_config_dict["device"].type == "cpu":
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)

    # --- ours

    def _check_external(self) -> None:
        """Refuse unknown keys and wrong values; set aside keys that only other models read."""
        values, defaults = self.external_config_dict, self.internal_config_dict
        read = {*defaults, *_HOST_KEYS_WITHOUT_DEFAULT, "model", "dataset"}
        if values.get("eval_protocol", defaults["eval_protocol"]) != "full":
            read |= _OF_PROMPTS
        files = {key: file for key, file in self._files.items() if key not in self.variable_config_dict}
        for key in values:
            if key not in read:
                with _naming(files.get(key)):
                    keys.check_name(key, {*read, *_keys_of_all_models()})
        self.unused = [key for key in values if key not in read]
        for key in self.unused:
            del values[key]
        for key in values:
            values[key] = keys.as_declared(key, values[key], defaults.get(key))
            with _naming(files.get(key)):
                keys.check_value(key, values[key], defaults.get(key))
        for key in _OF_PROMPTS & values.keys():
            if values[key] is None:
                del values[key]

    def hash(self, fingerprint: str, parents: Sequence[str] = ()) -> str:
        """`config_hash` of the effective values."""
        return config_hash(self.effective, fingerprint, parents)

    def replaced(self, **values: Any) -> Config:
        """A shallow copy with other final values, for a host class that must see something else."""
        other = object.__new__(Config)
        other.__dict__.update(self.__dict__)
        other.final_config_dict = {**self.final_config_dict, **values}
        return other

    @property
    def sequential(self) -> bool:
        """Whether the model reads the order of a user's items."""
        return self["MODEL_TYPE"] == ModelType.SEQUENTIAL


def files_of(files: Any) -> list[str]:
    """Property files as a list: one, several, or several in one text, by blank or comma."""
    if isinstance(files, str) and not Path(files).is_file():
        return [name for name in re.split(r"[,\s]+", files) if name]
    return [str(file) for file in ([files] if isinstance(files, (str, Path)) else files or ())]


def _continued(own: dict[str, Any]) -> tuple[dict[str, Any], Choice]:
    """The keys, over those of a run that they go on with, and the rows that they name; only the run may name a model.

    A run goes on with the weights that it judges (`load`), or with the trained model that its strategy works on.
    """
    choice = _choice(own) if "model" in own else None
    row = choice.strategy if choice else registry.STRATEGIES.get(str(own.get("strategy")))
    after_training = row is not None and row.base == registry.ITSELF
    key = "load" if own.get("load") else "base" if after_training and own.get("base") not in (None, "auto") else ""
    merged = _settings_of_run(own, key) if key else {}
    merge(merged, own)
    return merged, choice or _choice(merged)


def _settings_of_run(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The configuration of the run that a key names; it goes on with that run's data set."""
    folder = values[key]
    if not isinstance(folder, str) or not (Path(folder) / "config.yaml").is_file():
        raise UsageError(f"{key}={folder!r}: no run is there; give the folder of a finished one (`recbole-fair runs`)")
    settings = yamls.read_mapping(Path(folder) / "config.yaml")
    own = settings.get("dataset")
    if own is not None and values.get("dataset", own) != own:
        raise UsageError(
            f"{key}={folder}: is a run on {own}, so it knows nothing of {values['dataset']}; leave"
            " --dataset out, or train a run on that"
        )
    return settings


def _choice(values: Mapping[str, Any]) -> Choice:
    """The rows that these keys name."""
    _check_word(values, "model")
    return registry.resolve(values["model"], values.get("strategy"))


def _check_word(values: Mapping[str, Any], key: str) -> None:
    if not isinstance(values.get(key), str) or not values[key]:
        raise UsageError(f"{key}={values.get(key)!r}: give --{key}=NAME")


def merge(base: dict[str, Any], layer: Mapping[str, Any]) -> None:
    """Put one layer over another: `eval_args` key by key (RecBole drops what is not repeated), the rest whole."""
    for key, value in layer.items():
        if key == "eval_args" and isinstance(value, dict) and isinstance(base.get(key), dict):
            base[key] = {**base[key], **value}
        else:
            base[key] = value


def data_folder(name: str, data_path: Path) -> Path:
    """Where a data set's atomic files lie: under `data_path`, else the ML-100K inside the recbole package."""
    if not _DATASET_NAME.fullmatch(name):
        raise UsageError(f"dataset={name!r}: a data set's name is letters, digits, '.', '_', '+' and '-'")
    if (data_path / name).is_dir():
        return data_path / name
    if name == "ml-100k":
        return _HOST_FOLDER / "dataset_example" / name
    if yamls.packaged(f"dataset/{name}.yaml"):
        raise UsageError(
            f"dataset={name}: no folder {data_path / name}. Make it with `recbole-fair convert {name} --raw DIR`, and"
            " --download where its publisher allows that (dataset_atomic/README.md)"
        )
    present = sorted(entry.name for entry in data_path.iterdir() if entry.is_dir()) if data_path.is_dir() else []
    raise UsageError(
        f"dataset={name!r}: no folder {data_path / name}.{registry.nearest(name, [*present, 'ml-100k'])}"
        f" Make it of your table with `recbole-fair convert csv FILE --user=COLUMN --item=COLUMN --name={name}`"
    )


def of_data_set(folder: Path) -> dict[str, Any]:
    """The property file of a data set: ours, else NAME.yaml beside the atomic files, which may say what ours may."""
    path = folder / f"{folder.name}.yaml"
    values = yamls.packaged(f"dataset/{folder.name}.yaml")
    if values or not path.is_file():
        return values
    values, allowed = yamls.nested(yamls.read_mapping(path)), _keys_of_data_sets()
    for key in values:
        if key not in allowed:
            raise UsageError(
                f"{path}: {key}: is no key of a data set.{registry.nearest(key, allowed)} Move it to a file"
                " of your own, for --config_files"
            )
        values[key] = keys.as_declared(key, values[key], None)
        with _naming(path):
            keys.check_value(key, values[key], None)
    return values


@cache
def _of_host(file: Path) -> dict[str, Any]:
    """One of RecBole's own yaml files, which it would parse again for every run."""
    return yamls.read_mapping(file)


@contextmanager
def _naming(file: Path | None) -> Iterator[None]:
    """Say of a refused key in which file it stands, if in one."""
    try:
        yield
    except UsageError as error:
        raise (UsageError(f"{file}: {error}") if file else error) from error


@cache
def _keys_of_data_sets() -> frozenset[str]:
    """What a property file may say of a data set; the rest is the run's business."""
    return frozenset(key for file in (yamls.PROPERTIES / "dataset").glob("*.yaml") for key in yamls.read_mapping(file))


@cache
def _keys_of_all_models() -> frozenset[str]:
    """Keys that some model, family or strategy reads: not unknown, but perhaps of no use to this one."""
    ours = [file for file in yamls.PROPERTIES.glob("*/*.yaml") if file.parent.name != "prompts"]
    files = [*(_HOST_PROPERTIES / "model").glob("*.yaml"), *ours]
    return frozenset(key for file in files for key in yamls.read_mapping(file))


def _plain(value: Any) -> Any:
    """Values that YAML and JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(entry) for entry in value]
    return value.name if isinstance(value, Enum) else value


@contextmanager
def _host_refusals() -> Iterator[None]:
    """RecBole's own objections to a value, as ours: without a traceback."""
    try:
        yield
    except UsageError:
        raise
    except (ValueError, TypeError, NotImplementedError, RuntimeError, AttributeError, LookupError) as error:
        raise UsageError(f"configuration: {error or type(error).__name__}") from error
