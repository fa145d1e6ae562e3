"""From atomic files to loaders: one split for every kind of model, judged one list per user.

RecBole judges sequential models per interaction and without masking, all others per user and masked, so their
figures are not the same quantity (recbole traps 16-18). Here the split comes first for all of them; a sequential
model then learns from sequences of the training part only, and is asked once per user with the items before the
judged part as history.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from recbole_fair.data.exact import LateSequences, RatingData
from recbole_fair.data.faults import first_fault
from recbole_fair.data.headers import check_headers, count_rows
from recbole_fair.data.identity import PHASES, split_digest
from recbole_fair.data.inputs import Inputs
from recbole_fair.data.judged import JUDGED
from recbole_fair.data.labeled import likes
from recbole_fair.data.sequences import last_items
from recbole_fair.data.splits import by_windows
from recbole_fair.errors import UsageError
from recbole_fair.groups.membership import Groups, Values, number_text
from recbole_fair.groups.named import names_of, user_groups
from recbole_fair.host import (
    Dataset,
    FullSortEvalDataLoader,
    Sampler,
    create_samplers,
    get_dataloader,
    host_datasets,
    init_seed,
)
from recbole_fair.metrics.formulas import IntArray
from recbole_fair.registry import nearest
from recbole_fair.settings.config import Config

Tokens = npt.NDArray[np.str_]


@dataclass
class Data:
    """What a run reads: the whole data set, its parts before any augmentation, and their loaders."""

    dataset: Dataset
    parts: dict[str, Dataset]
    train: Any
    valid: Any
    test: Any
    rows_read: int  # interactions in the file, before any filter
    unseen: Mapping[str, int]  # held-out interactions with items that training does not hold
    asked: str | None = None  # digest of the candidates or labeled pairs, which the split alone does not fix

    def pairs(self, phase: str) -> tuple[IntArray, IntArray]:
        """User and item ids of a part's interactions."""
        feat = self.parts[phase].inter_feat
        return feat[self.dataset.uid_field].numpy(), feat[self.dataset.iid_field].numpy()

    def values(self, field: str, key: str, kind: str = "") -> Values:
        """Raw values of a field for every user or item id; `key` is the setting that asked for it, `kind` for whom.

        A field has one owner: RecBole cannot read two of one name.
        """
        dataset = self.dataset
        feats = {owner: feat for owner in ("user", "item") if (feat := getattr(dataset, f"{owner}_feat")) is not None}
        fields = {owner: [name for name in feat.columns if self._has_values(name)] for owner, feat in feats.items()}
        owner = next((owner for owner, names in fields.items() if field in names), None)
        if owner is None or (kind and owner != kind):
            sides = [kind] if kind and key != "fair_group" else fields  # a strategy's groups may be of either side
            has = [name for side in sides for name in fields.get(side, ())]
            reason = f"is a field of {owner}s" if owner else "the data has no such field"
            raise UsageError(
                f"{key}={field!r}: {reason}.{nearest(field, has)} {dataset.dataset_name} has"
                f" {', '.join(has) or f'no fields of {kind}s'}"
            )
        feat = feats[owner]
        if field in dataset.raw_numbers:
            return [() if np.isnan(value) else (number_text(value),) for value in dataset.raw_numbers[field].tolist()]
        return _raw_values(feat[field].numpy(), dataset.field2id_token[field])

    def _has_values(self, name: str) -> bool:
        ids = (self.dataset.uid_field, self.dataset.iid_field)
        return name not in ids and name in {*self.dataset.raw_numbers, *self.dataset.field2id_token}

    def item_texts(self, config: Config) -> list[str]:
        """The text of each item, of the fields that `item_text` names; it is refused to name none."""
        fields = names_of(config, "item_text")
        if not fields:
            name, feat = config["dataset"], self.dataset.item_feat
            readable = [name for name in (() if feat is None else feat.columns) if self._has_values(name)]
            remedy = (
                f"name those to read, as in --item_text={readable[0]}; {name} has {', '.join(readable)}"
                if readable
                else f"{name} has no item fields: convert it with --items=FILE, or choose a model without texts (MF)"
            )
            raise UsageError(f"item_text: {config.name} needs item texts; {remedy}")
        return item_texts([self.values(field, "item_text", "item") for field in fields])

    def trained(self, wish: str) -> tuple[IntArray, IntArray]:
        """User and item ids of the training interactions; before there is a split, a `wish` for them is refused."""
        if not self.parts:
            raise UsageError(f"{wish}: is made from the training part, which is not split off yet; name a field")
        return self.pairs("train")

    def tokens(self, field: str) -> Tokens:
        """Raw ids in the order of RecBole's own."""
        return self.dataset.field2id_token[field]

    def names(self, kind: str) -> Tokens:
        """Raw ids of all users or items, in the order of RecBole's own."""
        return self.tokens(self.dataset.uid_field if kind == "user" else self.dataset.iid_field)

    def tied_users(self) -> int | None:
        """Users with interactions of one time on both sides of a cut: the file's order decides what is held out.

        None where the order is no order of time.
        """
        time = self.dataset.time_field
        if self.dataset.config["eval_args"]["order"] != "TO":
            return None
        latest = np.full(self.dataset.user_num, -np.inf)
        tied = np.zeros(self.dataset.user_num, dtype=bool)
        for phase in PHASES:
            users, times = self.pairs(phase)[0], self.parts[phase].inter_feat[time].numpy()
            first = np.full(self.dataset.user_num, np.inf)
            np.minimum.at(first, users, times)
            tied |= first == latest
            np.maximum.at(latest, users, times)
        return int(tied.sum())

    def split_digest(self) -> str:
        """Equal for two runs exactly if they share the split."""
        return split_digest(self.names("user"), self.names("item"), {phase: self.pairs(phase) for phase in PHASES})


def item_texts(columns: Sequence[Values]) -> list[str]:
    """One text an item: its fields in the given order, the words of a field joined by blanks, empty ones left out.

    >>> item_texts([[("Toy", "Story"), ()], [("1995",), ("1990",)]])
    ['Toy Story, 1995', '1990']
    """
    return [", ".join(" ".join(entry) for entry in row if entry) for row in zip(*columns, strict=True)]


def _raw_values(ids: IntArray, tokens: Tokens) -> Values:
    table = tokens.tolist()
    rows = ids.reshape(len(ids), -1).tolist()
    # A blank inside one of several values is written as U+00A0 (docs/data.md); groups and texts show the blank.
    return [tuple(str(table[place]).replace("\u00a0", " ") for place in row if place) for row in rows]


def load(config: Config) -> Data:
    """Read, split and wrap the data set; draws from the split's own seed only (trap 13)."""
    check_headers(config)
    _check_new_users(config)
    init_seed(config["split_seed"], config["reproducibility"])
    try:
        dataset = _dataset_class(config)(config)
        built = dataset.build()
        if len(built) == 1:
            built = by_windows(config, built[0], _strata(config, built[0]))
    except UsageError:
        raise
    except (ValueError, LookupError, AssertionError, TypeError, AttributeError, NotImplementedError, OSError) as error:
        raise UsageError(first_fault(config, error)) from error
    _check_times(config, dataset)
    unseen = _unseen(built, dataset.iid_field, drop=config["drop_unseen"])
    parts = dict(zip(PHASES, built, strict=True))
    _check_parts(config, parts)
    for part in () if config["batch_features"] else built:
        part.user_feat = part.item_feat = None  # else the loader joins every column of both to every row
    parts = {phase: part.copy(part.inter_feat) for phase, part in parts.items()}
    history = _history(config, parts)
    learnt = _learnt_from(config, parts)
    valid, test = (_judged_loader(config, parts, learnt, phase, history) for phase in ("valid", "test"))
    built[0].inter_feat = learnt["train"].inter_feat
    samplers = create_samplers(config, dataset, built)
    if isinstance(built[0], LateSequences):
        built[0].augment()
    train = _training_loader(config, built[0], samplers[0])
    rows = count_rows(config.folder / f"{config['dataset']}.inter")
    asked = JUDGED[config["eval_protocol"]].digest([valid, test])
    return Data(dataset, parts, train, valid, test, rows, unseen, asked)


def _unseen(built: list[Dataset], item_field: str, *, drop: bool) -> dict[str, int]:
    """How many interactions of each held-out part name an item that training does not hold; `drop` takes them out."""
    train, *others = built
    seen, counts = train.inter_feat[item_field], {}
    for phase, part in zip(PHASES[1:], others, strict=True):
        learnt = torch.isin(part.inter_feat[item_field], seen)
        counts[phase] = int((~learnt).sum())
        if drop:
            part.inter_feat = part.inter_feat[learnt]
    return counts


def _strata(config: Config, whole: Dataset) -> Groups:
    """The groups of users within which windows are split: the first of `user_groups`."""
    if not (names := names_of(config, "user_groups")):
        raise UsageError("eval_args.split=WS: is split within groups of users; name them, as in user_groups=gender")
    return user_groups(config, Data(whole, {}, None, None, None, 0, {}), names[0])


def _history(config: Config, parts: dict[str, Dataset]) -> Sampler:
    """What each user has met: masked where lists are judged, never drawn as a negative."""
    try:
        return Sampler(list(PHASES), list(parts.values()), "uniform")
    except ValueError as error:  # a user who has met every item
        raise UsageError(f"{config.folder}: {error}") from error


def _training_loader(config: Config, part: Dataset, sampler: Any) -> Any:
    """The host's loader, or the model's own: anything with `__iter__`, `__len__`, `dataset` and `shuffle`.

    A model whose batches are no rows of interactions (prompts by token budget) has a class method
    `train_loader(config, part)`. If its loader draws from a `generator`, resume keeps that too.
    """
    most = config["most_steps"]
    if hasattr(config.model_class, "train_loader"):
        if most is not None:
            raise UsageError(
                f"most_steps={most}: {config.name} makes batches of its own; give train_batch_size instead"
            )
        return _Unread(part)
    loader = get_dataloader(config, "train")(config, part, sampler, shuffle=config["shuffle"])
    return loader if most is None or len(loader) <= most else _with_larger_batches(loader, most)


def _with_larger_batches(loader: Any, most: int) -> Any:
    """The host's loader of the same rows in at most so many batches, which knows their growth."""
    config = loader.config
    given = config["train_batch_size"]
    config["train_batch_size"] = math.ceil(given * len(loader) / most)
    try:
        larger = type(loader)(config, loader.dataset, loader._sampler, shuffle=loader.shuffle)
    finally:
        config["train_batch_size"] = given
    larger.growth = larger.step / loader.step
    return larger


@dataclass
class _Unread:
    """Holds the training part until a model's own loader takes its place, which needs the inputs."""

    dataset: Dataset


def give_inputs(config: Config, data: Data, inputs: Inputs) -> None:
    """Hang the inputs on the data set that the model is built on; a model's own training loader is made of them."""
    part = data.train.dataset
    part.inputs = inputs
    own = getattr(config.model_class, "train_loader", None)
    if own is not None:
        data.train = own(config, part)


def _dataset_class(config: Config) -> type[Dataset]:
    if hasattr(host_datasets, f"{config['model']}Dataset"):
        raise UsageError(
            f"{config.name}: reads data in a form of its own (knowledge graphs), which is not offered here"
        )
    return LateSequences if config.sequential else RatingData


def _check_new_users(config: Config) -> None:
    """Refuse to judge users that training never saw with a model that has learnt a vector for each user it saw."""
    if "US" in config["eval_args"]["split"] and not getattr(config.model_class, "scores_new_users", False):
        raise UsageError(
            f"eval_args.split=US: judges users that training never saw, and {config.name} knows only those it has seen"
            " (it does not declare scores_new_users); split within users, with RS or LS"
        )


def _check_times(config: Config, dataset: Dataset) -> None:
    """Refuse interactions without a time where the latest ones are wanted: RecBole gives them the mean."""
    time = dataset.time_field
    if config["eval_args"]["order"] != "TO" and config["targets_per_user"] is None:
        return
    absent = dataset.missing.get(time, 0)
    endless = int((~torch.isfinite(dataset.inter_feat[time])).sum()) if time in dataset.inter_feat else 0
    if absent or endless:
        raise UsageError(
            f"{config.folder}: {absent or endless} interactions have {'no' if absent else 'an infinite'} {time}, so"
            f" their order is unknown; leave them out with val_interval={{{time}: '[0,1e300]'}}, or give order: RO"
            f"{' and no targets_per_user' if config['targets_per_user'] else ''}"
        )


def _check_parts(config: Config, parts: dict[str, Dataset]) -> None:
    if max(config["topk"]) >= parts["train"].item_num:
        raise UsageError(f"topk={config['topk']}: the data set has only {parts['train'].item_num - 1} items")
    for phase, part in parts.items():
        if len(part) == 0:
            raise UsageError(
                f"dataset={config['dataset']}: the {phase} part is empty after filtering and splitting;"
                " check val_interval, user_inter_num_interval and eval_args.split"
            )


def _learnt_from(config: Config, parts: dict[str, Dataset]) -> dict[str, Dataset]:
    """The rows that a model may learn from: where pairs are judged, those that are likes, else all.

    To a model that only ranks, every training row is a like; a model with a loader of its own reads the ratings.
    """
    if config["eval_protocol"] != "labeled" or config["learn_from"] == "all":
        return parts
    return {phase: part.copy(part.inter_feat[torch.from_numpy(likes(config, part))]) for phase, part in parts.items()}


def _judged_loader(
    config: Config, parts: dict[str, Dataset], learnt: dict[str, Dataset], phase: str, history: Sampler
) -> FullSortEvalDataLoader:
    # Users are judged alike for all models, so the loader must not see that a model is sequential.
    general = config.replaced(MODEL_TYPE=None)
    loader = JUDGED[config["eval_protocol"]].loader(general, parts, phase, history)
    if config.sequential:
        before = [learnt[earlier].inter_feat for earlier in PHASES[: PHASES.index(phase)]]
        loader.user_df.update(last_items(config, parts["train"], before, loader.uid_list))
    return loader
