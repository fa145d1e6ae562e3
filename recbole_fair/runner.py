"""The life of one run, from a configuration to a result; the only place that assembles one.

    configuration, bases -> run directory -> data, split -> groups -> item vectors -> model -> training -> test -> files

`run()` is an ordinary function: it may be called again and again in one process, by a tuner or a comparison, and
leaves logging, random states and the environment as it found them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from recbole_fair import bases, parallel, registry
from recbole_fair.data import identity, load
from recbole_fair.data.inputs import Inputs
from recbole_fair.data.load import Data
from recbole_fair.data.prompts import prompt_inputs
from recbole_fair.errors import StorageError, TrainingError, UsageError
from recbole_fair.evaluation import asking, beside
from recbole_fair.evaluation.protocols import PROTOCOLS
from recbole_fair.evaluation.ranked import KeepingEvaluator
from recbole_fair.groups import named as grouping
from recbole_fair.host import Interaction, init_seed
from recbole_fair.metrics.intervals import mean_and_bounds, resampling
from recbole_fair.metrics.judging import judge
from recbole_fair.models.controls import Pop
from recbole_fair.rundir import facts, files, logs, machine, other_epochs
from recbole_fair.rundir import folder as rundir
from recbole_fair.rundir.announced import about_data, about_model
from recbole_fair.rundir.history import read_history
from recbole_fair.rundir.judged_again import trained_alike
from recbole_fair.rundir.result import Result, finished
from recbole_fair.screen import bars_wanted, duration, quietly
from recbole_fair.settings.config import Config, files_of
from recbole_fair.strategies.base import Strategy
from recbole_fair.training import checkpoint
from recbole_fair.training.rescored import Rescored
from recbole_fair.training.trainer import EpochCallback, FairTrainer, trainer_for
from recbole_fair.training.view import training_view

logger = logging.getLogger(__name__)


def run(
    model: str | None = None,
    dataset: Any = None,
    *,
    config_files: str | Path | Sequence[str | Path] = (),
    quiet: bool = True,
    on_epoch: EpochCallback | None = None,
    **keys: Any,
) -> Result:
    """Train and judge one recommender; `keys` are configuration keys, as on the command line.

    `dataset` is a name, or a DataFrame of interactions, of which `user`, `item`, `rating` and `time` name the columns,
    with `users` and `items` beside it (docs/data.md). A finished run of the same configuration and seed is not
    computed again. `on_epoch(epoch, valid score)` is called after every judged epoch.
    """
    if dataset is not None and not isinstance(dataset, str):
        from recbole_fair.convert.frames import stored

        dataset, keys = stored(dataset, keys, files_of(config_files))
    with restoring_process_state(), quietly(quiet):
        work = _Run(Config(model, dataset, config_files, keys), quiet, on_epoch)
        with rundir.locked(work.folder):
            return _claimed(work, quiet)


def _claimed(work: _Run, quiet: bool) -> Result:
    """Show what is finished, do what is not; a request that cannot be met leaves a fresh folder as it was."""
    fresh = rundir.claim(work.folder, work.config, work.digest)
    if finished(work.folder):
        work.write_what_is_missing()
        return _with_intervals_as_asked(Result.read(work.folder), work.folder, work.config)
    try:
        with logs.logging_to(work.folder, work.config["state"], quiet):
            return work.execute()
    except UsageError as error:
        if fresh and not isinstance(error, StorageError):  # a full disk is no request that cannot be met
            rundir.unclaim(work.folder)
        raise


def _with_intervals_as_asked(result: Result, folder: Path, config: Config) -> Result:
    """A finished run's result; bounds of another level, method or number of samples are made anew from its users."""
    how = resampling(config)
    if how and result.resampling and result.resampling != asdict(how):
        from recbole_fair.report.statistics.evaluated import recomputed

        result.interval, result.resampling = recomputed(folder, how), asdict(how)
    return result


def folder_of(
    model: str | None = None,
    dataset: str | None = None,
    *,
    config_files: Sequence[str | Path] = (),
    root: Path = bases.ROOT,
    **keys: Any,
) -> Path:
    """Where below `root` a run of these arguments belongs: the same keys, data and bases give the same folder.

    Nothing is trained, whatever the run stands on.
    """
    with restoring_process_state():
        return bases.folder_of(Config(model, dataset, config_files, keys), root)


def open_run(folder: Path) -> tuple[Config, Data, FairTrainer]:
    """A finished run's configuration, data and trainer with its best weights loaded, to score or probe with."""
    if not finished(folder):
        raise UsageError(f"{folder}: no finished run; give the folder that holds its result.json")
    rundir.check_settings(folder)
    result = Result.read(folder)
    with restoring_process_state(), quietly():
        work = _reopened(folder, result.base, result.bases)
        return work.config, *work.restored()


def _reopened(folder: Path, base: str | None, others: Mapping[str, str]) -> _Run:
    """The run whose config.yaml lies in a folder, on these bases."""
    where = {"base": base, "bases": others or None, "run_dir": str(folder)}
    return _Run(Config(config_files=[folder / "config.yaml"], overrides=where), quiet=True, on_epoch=None)


def train_along() -> None:
    """On another rank than 0, instead of `run`: train what rank 0 trains, one run after another (parallel.py)."""
    while (job := parallel.said()) is not None:
        with restoring_process_state(), quietly(), logs.host_warnings_silenced():
            work = _reopened(Path(job["folder"]), job["base"], job["bases"])
            loaded, trainer = work.prepare()
            trainer.follow(loaded.train, job["resumed_from"])


def _scores_of(name: str, folder: Path, loaded: Data) -> Callable[[torch.Tensor], torch.Tensor]:
    """What a finished run says of users [B]: its scores of all items, [B, I], in the order of `loaded`."""
    config, data, trainer = open_run(folder)
    if config.sequential or isinstance(trainer.model, (asking.Answers, asking.Ranks)):
        raise UsageError(f"bases: {name}: {config.name} scores histories or prompts; name models that score users")
    for kind in ("user", "item"):
        if not np.array_equal(data.names(kind), loaded.names(kind)):
            raise UsageError(f"bases: {name}: {folder} numbers its {kind}s otherwise; make it again with these filters")
    model: Any = trainer.model

    @torch.no_grad()
    def scores(users: torch.Tensor) -> torch.Tensor:
        batch = Interaction({data.dataset.uid_field: users.to(config["device"])})
        answered: torch.Tensor = model.full_sort_predict(batch)
        return answered.view(len(users), -1)

    return scores


@contextmanager
def restoring_process_state() -> Iterator[None]:
    """Give random states, switches of torch and CUDA_VISIBLE_DEVICES back afterwards; RecBole sets them all."""
    tensors, states = checkpoint.random_state()
    anomaly = torch.is_anomaly_enabled()
    switches = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    try:
        yield
    finally:
        checkpoint.set_random_state(tensors, states)
        torch.autograd.set_detect_anomaly(anomaly)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = switches
        if visible is None:
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)


def _needs_our_loop(config: Config) -> bool:
    """Whether RecBole's own epoch cannot serve: batches of another shape, rates that change, a mean of all steps."""
    stepwise = config["lr_schedule"] != "constant" or config["warmup"] > 0 or config["average"] != "none"
    return stepwise or hasattr(config.model_class, "train_loader")


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        logger.info("%s", line)


@contextmanager
def _named_in_refusals(base: bases.Request) -> Iterator[None]:
    """Say of which run a refusal or a breakdown is, where another was asked for."""
    try:
        yield
    except (UsageError, TrainingError) as error:
        raise type(error)(f"{base}: {error}") from error


class _Run:
    """One run's state while it works; each stage is timed and a failure is recorded before it is raised."""

    def __init__(self, config: Config, quiet: bool, on_epoch: EpochCallback | None) -> None:
        self.config, self.on_epoch = config, on_epoch
        self.fingerprint = identity.fingerprint(config.folder, config["dataset"])
        self.bases, self.quiet = bases.bases_of(config), quiet
        self.digest = bases.digest_of(config, self.bases)
        self.stored = {"model": config.name, "data": self.fingerprint}  # what weights that fit say of themselves
        self.folder = rundir.folder_for(config, self.digest)
        self.bars = bars_wanted() and bool(config["show_progress"])
        strategy = config.choice.strategy.name if config.choice.strategy else None
        self.result = Result(config.name, strategy, config["dataset"], config["seed"], self.digest)
        folders = {base.name: str(base.folder) for base in self.bases}
        self.result.run_dir, self.result.base = str(self.folder), folders.pop("", None)
        self.result.bases = folders

    def execute(self) -> Result:
        """All stages; the result is written whether they succeed or fail."""
        config, result = self.config, self.result
        self._refuse_other_processes()
        result.warnings += [f"{key}: not used by {config.name}" for key in config.unused]
        together = {"processes": parallel.ranks()} if parallel.ranks() > 1 else {}
        machine.describe(result, str(config["device"]), threads=torch.get_num_threads(), **together)
        try:
            self._stages()
        except Exception as error:
            if not isinstance(error, UsageError) or isinstance(error, StorageError):
                self._record_failure(error)
            raise
        on_card = config["device"].type == "cuda"
        result.environment["peak_memory"] = torch.cuda.max_memory_allocated() if on_card else machine.peak_memory()
        result.save(self.folder)
        (self.folder / rundir.RESUME).unlink(missing_ok=True)
        return result

    def _refuse_other_processes(self) -> None:
        """Several processes train a model whose loss reads the rows of all of them, under no strategy."""
        if parallel.ranks() == 1:
            return
        choice = self.config.choice
        if choice.strategy or choice.model.trained_by or not getattr(self.config.model_class, "trains_in_parallel", 0):
            raise UsageError(
                f"model={self.config.name}: {parallel.ranks()} processes train P5 and the rows of yesno and mos that"
                " have something to train, without a strategy or an adversary; start this one without torchrun"
            )

    def _make_bases(self) -> None:
        """Train those of this run's bases that are not finished."""
        for base in self.bases:
            if isinstance(base, bases.Request) and not finished(base.folder):
                logger.info("%s is made first, in %s", base, base.folder)
                with self._timed("bases"), _named_in_refusals(base):
                    run(base.model, base.dataset, quiet=self.quiet, resume=True, **base.keys)

    def _record_failure(self, error: Exception) -> None:
        self.result.status, self.result.error = "failed", f"{type(error).__name__}: {error}"
        with suppress(StorageError):  # where the disk is full, the error itself is all that can be said
            self.result.save(self.folder)

    def _stages(self) -> None:
        self._make_bases()
        loaded, trainer = self.prepare()
        with self._timed("train"):
            self._train(trainer, loaded)
        with self._timed("evaluate"):
            self.result.valid = trainer.evaluate(loaded.valid, load_best_model=False, show_progress=self.bars)
            reworded = beside.in_other_words(trainer, loaded.test)
            self.result.test = trainer.evaluate(loaded.test, load_best_model=False, show_progress=self.bars)
            self.result.wordings = beside.spread([self.result.test, *reworded])
            table = self._judge(trainer.evaluator)
            self._say_beside(loaded, trainer.model, table)
            self._set_beside_pop(loaded, trainer)
        if self.config["probe"]:
            with self._timed("probe"):
                self._probe(loaded, trainer)
        files.write_users(self.folder, loaded.names("user"), table)
        files.write_groups(self.folder, self.result.group_rows)
        protocol = PROTOCOLS[self.config["eval_protocol"]]
        for name in (*protocol.files, *(protocol.asked_files if self.config["save_recommendations"] else ())):
            files.WRITERS[name](self.folder, loaded, table)
        files.write_history(self.folder, trainer.history)
        if self.config["save_item_vectors"]:
            self._save_vectors(loaded, trainer)

    def _judge(self, evaluator: KeepingEvaluator) -> Any:
        """Intervals and figures by group of the evaluation just done."""
        how = resampling(self.config)
        judged = judge(evaluator.table, evaluator.declared, how, self.config["min_group_users"])
        self.result.interval = {key: judged.interval.get(key) for key in self.result.test}
        self.result.group_rows, self.result.resampling = judged.groups, asdict(how) if how else {}
        self.result.threshold = getattr(evaluator, "threshold", None)
        self.result.warnings += judged.notes
        if reason := evaluator.collapse(self._figures_of_base()):
            self.result.status = "collapsed"
            self.result.warnings.append(reason)
        return evaluator.table

    def _figures_of_base(self) -> dict[str, float | None]:
        """The test figures of the only run that this one stands on."""
        return Result.read(Path(self.result.base)).test if self.result.base else {}

    def _say_beside(self, loaded: Data, model: Any, table: Any) -> None:
        """What a model's prompts were and met, and the figures that its own are to be read beside."""
        self.result.prompts = facts.prompt_counts(loaded, model)
        self.result.warnings += facts.prompt_warnings(self.result.prompts)
        if isinstance(model, asking.Counts):
            for row in self.result.group_rows:
                row.update(model.of_groups().get((row["field"], row["group"]), {}))
        if self.config["eval_protocol"] == "labeled":
            base = beside.of_base(self._figures_of_base())
            self.result.beside = beside.without_model(self.config, loaded, table) | ({"base": base} if base else {})

    def _set_beside_pop(self, loaded: Data, trainer: FairTrainer) -> None:
        """Have Pop judged on the same test users: a model that does not beat it has learnt little."""
        table, model, figure = trainer.evaluator.table, trainer.model, trainer.valid_metric
        if isinstance(model, Pop) or figure not in getattr(table, "per_user", ()) or len(table.users) < 2:
            return
        collector = trainer.eval_collector
        trainer.eval_collector = PROTOCOLS[self.config["eval_protocol"]].collector(self.config, self.groups[0])
        trainer.eval_collector.training = loaded.parts["train"]
        trainer.eval_collector.data_collect(loaded.train)
        trainer.model = Pop(self.config, loaded.parts["train"]).to(self.config["device"])
        trainer.evaluate(loaded.test, load_best_model=False)
        theirs = trainer.evaluator.table.per_user[figure]
        trainer.model, trainer.eval_collector, trainer.evaluator.table = model, collector, table
        gain = mean_and_bounds(table.per_user[figure] - theirs, self.config["interval"] or 0.95)
        words = ("pop", "difference", "low", "high")
        self.result.popularity = {"metric": figure, **dict(zip(words, (float(theirs.mean()), *gain), strict=True))}

    def _probe(self, loaded: Data, trainer: FairTrainer) -> None:
        """How well each attribute of `probe` can be read from the users' states."""
        from recbole_fair.probe import findings  # scikit-learn only for who asks

        probed = findings.probe_run(self.config, loaded, trainer)
        self.result.test.update(probed.values)
        self.result.interval.update(probed.intervals)
        self.result.warnings += probed.notes
        files.write_table(self.folder / "probe.tsv", findings.HEADER, probed.rows, "\t")
        logger.info("%s", probed.table)

    def prepare(self) -> tuple[Data, FairTrainer]:
        """Everything that stands before training: data, groups, item vectors, model and its trainer."""
        logs.DETAILS.info("data set %s from %s", self.config["dataset"], self.config.folder)
        with self._timed("data"):
            loaded = load.load(self.config)
            self.groups = grouping.reported(self.config, loaded)
            grouping.sensitive_groups(self.config, loaded)  # refused now rather than after training
        _say(about_data(self.config, loaded, [*self.groups[0], *self.groups[1]]))
        self.result.data = facts.data_facts(loaded, self.fingerprint)
        self._refuse_bases_of_other_splits()
        self.result.warnings += [*facts.data_warnings(loaded), *grouping.notes([*self.groups[0], *self.groups[1]])]
        with self._timed("encode"):
            load.give_inputs(self.config, loaded, self._inputs(loaded))
        init_seed(self.config["seed"], self.config["reproducibility"])
        trainer = self._trainer(loaded)
        if self.config["probe"]:
            from recbole_fair.probe import findings

            findings.check(self.config, loaded, trainer)
        return loaded, trainer

    def _refuse_bases_of_other_splits(self) -> None:
        """A base that has learnt from what is judged here would leak: its split must be this run's."""
        for base in self.bases:
            split = Result.read(base.folder).data.get("split") if finished(base.folder) else None
            if split not in (None, self.result.data["split"]):
                raise UsageError(
                    f"base {base.folder}: was trained on another split of {self.config['dataset']}, so it may have"
                    " learnt from what is judged here; remove that run and make it again"
                )

    def restored(self) -> tuple[Data, FairTrainer]:
        """The finished run of this folder, ready to score."""
        for base in self.bases:
            if not finished(base.folder):
                raise UsageError(f"{self.folder}: the run it stands on, {base.folder}, is not there; make it again")
        with logs.host_warnings_silenced():
            loaded, trainer = self.prepare()
            trainer.eval_collector.data_collect(loaded.train)
            trainer.load_best(self.folder, self.stored)
            trainer.model.eval()
        return loaded, trainer

    def write_what_is_missing(self) -> None:
        """A finished run that is asked for its lists or item vectors afterwards writes them from its weights."""
        if self.config["save_item_vectors"] and not (self.folder / "item_vectors.safetensors").exists():
            self._save_vectors(*self.restored())
        lists = self.config["save_recommendations"] and "lists" in PROTOCOLS[self.config["eval_protocol"]].asked_files
        if lists and not (self.folder / "recommendations.tsv").exists():
            loaded, trainer = self.restored()
            trainer.evaluate(loaded.test, load_best_model=False)
            files.write_lists(self.folder, loaded, trainer.evaluator.table)

    def _inputs(self, loaded: Data) -> Inputs:
        """What the model is given beside the data set, as far as it reads it."""
        prompts = (
            prompt_inputs(self.config, loaded) if getattr(self.config.model_class, "reads_prompts", False) else None
        )
        folders = {base.name: base.folder for base in self.bases}
        asked = folders if getattr(self.config.model_class, "reads_scores", False) else {}
        scores = {name: _scores_of(name, folder, loaded) for name, folder in asked.items() if name}
        return Inputs(self._item_vectors(loaded), prompts, folders, scores)

    def _item_vectors(self, loaded: Data) -> npt.NDArray[np.float32] | None:
        if self.config["item_encoder"] is None:
            return None
        from recbole_fair.encoding import items as vectors

        encoder = vectors.encoder_of(self.config)
        matrix, source = vectors.for_items(self.config, loaded, encoder, self.bars)
        self.result.environment["item_encoder"] = source
        logger.info("item vectors: %s, %d x %d", source, *matrix.shape)
        return matrix

    def _save_vectors(self, loaded: Data, trainer: FairTrainer) -> None:
        from recbole_fair.encoding import items as vectors

        vectors.save(self.folder, loaded, trainer.model)

    def _trainer(self, loaded: Data) -> FairTrainer:
        config = self.config
        model = config.model_class(config, loaded.train.dataset).to(config["device"])
        logs.DETAILS.info("%s", model)
        strategy = self._strategy(loaded)
        if strategy:
            strategy.prepare(model)
        about = {**self.stored, "config_hash": self.digest, "seed": config["seed"]}
        config["checkpoint_dir"] = str(self.folder)
        trainer = trainer_for(config, model, folder=self.folder, about=about, strategy=strategy)
        items, users = self.groups
        protocol = PROTOCOLS[config["eval_protocol"]]
        collect = partial(strategy.collector, protocol.collector) if strategy else protocol.collector
        trainer.eval_collector = collect(config, items)
        trainer.eval_collector.training = loaded.parts["train"]
        trainer.evaluator = protocol.evaluator(config, items, users)
        trainer.evaluator.learn(*loaded.pairs("train"), loaded.dataset.item_num)
        trainer.on_epoch = self.on_epoch
        self.result.parameters = checkpoint.parameter_counts(model)
        _say(about_model(config, self.result.parameters["trainable"], strategy and strategy.view))
        return trainer

    def _strategy(self, loaded: Data) -> Strategy | None:
        choice, own = self.config.choice, self.config.choice.model.trained_by
        target = choice.strategy.target if choice.strategy else own
        if self.config["fair_group"] and not target:
            note = f"fair_group: {self.config.name} alone balances nothing; a strategy before its name reads it"
            self.result.warnings.append(f"{note} (`recbole-fair models`)")
        if not target and not _needs_our_loop(self.config):
            return None
        strategy: Strategy = (registry.load(target) if target else Strategy)(training_view(self.config, loaded))
        self.result.warnings += strategy.notes()
        return strategy

    def _train(self, trainer: FairTrainer, loaded: Data) -> None:
        """Train from the beginning, from a resume point, or not at all; end with the best weights loaded."""
        if self.config["load"]:
            trainer.eval_collector.data_collect(loaded.train)
            trainer.load_best(Path(self.config["load"]), self.stored)
        elif trainer.strategy is not None and trainer.strategy.after_training:
            self._fit(trainer.strategy, trainer, loaded)
        elif (former := self._trained_alike()) is not None:
            self._take_over(former, trainer, loaded)
        else:
            self._train_by_epochs(trainer, loaded)

    def _train_by_epochs(self, trainer: FairTrainer, loaded: Data) -> None:
        """Train from the first epoch or from a resume point on."""
        start = perf_counter()
        if self.config["resume"] and (trainer.resume(loaded.train) or self._resume_other(trainer, loaded)):
            logger.info("resumed after epoch %d", trainer.start_epoch)
            self.result.seconds["train"] = trainer.seconds_before
        with parallel.leading({
            "folder": str(self.folder), "base": self.result.base, "bases": self.result.bases,
            "resumed_from": trainer.resumed_from and str(trainer.resumed_from),
        }):  # fmt: skip
            trainer.fit(loaded.train, loaded.valid, saved=True, show_progress=self.bars)
        took, judged = duration(perf_counter() - start), int(self._load_best(trainer)["epoch"]) + 1
        _say([f"trained in {took} to epoch {len(trainer.train_loss_dict)}; the weights of epoch {judged} are judged"])

    def _resume_other(self, trainer: FairTrainer, loaded: Data) -> bool:
        """Go on from an unfinished run that differs in `epochs` alone; where none does, say what it differs in."""
        if self.config["run_dir"]:
            return False
        parents = bases.parents_of(self.config, self.bases)
        neighbour = other_epochs.same_but_for_epochs(self.folder, self.config, self.fingerprint, parents)
        if neighbour is None or not trainer.can_resume:
            _say(filter(None, [other_epochs.nothing_to_resume(self.folder, self.config)]))
            return False
        with other_epochs.nobody_working(neighbour):
            trainer.resume_other(neighbour, loaded.train)
        logger.info("goes on from %s, which differs in epochs", neighbour)
        return True

    def _load_best(self, trainer: FairTrainer) -> dict[str, Any]:
        """Load the weights that are judged, and note what their strategy has to say of them; what is stored of them."""
        about = trainer.load_best()
        if trainer.strategy is not None:
            self.result.warnings += trainer.strategy.notes_after()
        return about

    def _trained_alike(self) -> Path | None:
        """A finished run that these settings would only repeat; a folder that was asked for by name gets its own."""
        if self.config["run_dir"] or (self.folder / rundir.RESUME).exists():
            return None
        parents = bases.parents_of(self.config, self.bases)
        return trained_alike(self.folder, self.config, self.fingerprint, parents)

    def _take_over(self, former: Path, trainer: FairTrainer, loaded: Data) -> None:
        """Take the weights and the history of a run that was trained alike."""
        logger.info("trained already, in %s: its weights are judged anew", former)
        trainer.eval_collector.data_collect(loaded.train)
        about = trainer.load_best(former, self.stored)
        trainer.history = read_history(former)
        trainer._save_checkpoint(about["epoch"])
        self._load_best(trainer)

    def _fit(self, strategy: Strategy, trainer: FairTrainer, loaded: Data) -> None:
        """Instead of training: load the base's weights, let the strategy choose a setting, and write frontier.csv."""
        assert self.result.base is not None
        trainer.eval_collector.data_collect(loaded.train)
        # Whatever the base has changed is stored here too, BiFair's item vectors among it.
        trainer.initial_buffers = {name: value.detach().clone() for name, value in trainer.model.named_buffers()}
        trainer.load_best(Path(self.result.base), {**self.stored, "model": self.config.choice.base_name})
        parts = {"valid": loaded.valid, "test": loaded.test}
        with torch.no_grad():
            rows = strategy.fit(trainer.model, lambda part: Rescored(self.config, trainer, parts[part], strategy))
        files.write_table(self.folder / "frontier.csv", rows[0], rows[1:])
        trainer._save_checkpoint(0)
        self._load_best(trainer)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = perf_counter()
        yield
        self.result.seconds[stage] = self.result.seconds.get(stage, 0.0) + perf_counter() - start
