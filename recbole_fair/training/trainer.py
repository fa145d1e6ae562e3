"""FairTrainer: a mixin over whatever trainer RecBole uses for a model.

It adds four things by overriding the host's small hooks: a strategy's backward pass, checkpoints without pickles,
resume points, and the history of losses and validation figures. The host's `fit` is run as it is.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_

from recbole_fair import parallel, storage
from recbole_fair.data.labeled import LabeledLoader
from recbole_fair.errors import TrainingError, UsageError
from recbole_fair.evaluation import asking
from recbole_fair.host import Trainer, get_trainer
from recbole_fair.rundir.folder import RESUME
from recbole_fair.settings import figures
from recbole_fair.settings.config import Config
from recbole_fair.strategies.base import Strategy
from recbole_fair.training import checkpoint, optimiser
from recbole_fair.training.average import Average
from recbole_fair.training.progress import Progress

EpochCallback = Callable[[int, float], None]


class FairTrainer(Trainer):
    """Mixed over the host trainer of a model by `trainer_for`; `about` identifies the run in its files."""

    folder: Path
    about: dict[str, Any]
    strategy: Strategy | None
    host: type[Trainer]  # the trainer this one is mixed over
    on_epoch: EpochCallback | None
    best_valid_score: float  # this and the next two are the host's
    best_valid_result: Any
    cur_step: int
    judged: dict[str, float]  # validation's figures of the latest judged epoch

    def __init__(self, config: Config, model: torch.nn.Module) -> None:
        super().__init__(config, model)
        self.valid_metric = figures.key_of(config["valid_metric"])  # the host's is lower case, names of fields too
        self.history: list[tuple[int, str, float]] = []
        self.initial_buffers = checkpoint.initial_buffers(model)
        self.on_epoch = None
        self.average = Average(model) if config["average"] == "ema" else None
        if tries := getattr(model, "tries", 0):  # a model that has so many choices, one an epoch, and nothing to learn
            self.epochs, self.eval_step = int(tries), 1
        self.eval_step = min(self.eval_step, self.epochs)  # else the host would judge nothing and keep no weights
        if config["keep"] == "last" and self.epochs % self.eval_step:
            raise UsageError(
                f"eval_step={self.eval_step}: keep=last judges the last epoch, so it must divide epochs={self.epochs}"
            )
        self.seconds_before = 0.0  # of training, before the process that resumed it
        self.resumed_from: Path | None = None
        _refuse_missing_kernels(model)

    # --- training

    def _build_optimizer(self, **options: Any) -> Any:
        """The host's optimiser over what is trained, with rates by module, or Adafactor, which the host lacks."""
        model_rates = self.config["module_rates"] or {}
        frozen = any(not parameter.requires_grad for parameter in self.model.parameters())
        if options or not (model_rates or frozen or self.learner == "adafactor"):
            return super()._build_optimizer(**options)
        groups = optimiser.parameter_groups(self.model, model_rates)
        if self.learner == "adafactor":
            return optimiser.adafactor(groups, float(self.learning_rate), float(self.weight_decay or 0.0))
        return super()._build_optimizer(params=groups)

    def _train_epoch(self, train_data: Any, epoch_idx: int, loss_func: Any = None, show_progress: bool = False) -> Any:
        """Without a strategy the host's epoch, else one step of the strategy per batch."""
        if self.strategy is None:
            loss = super()._train_epoch(train_data, epoch_idx, loss_func, show_progress=False)  # a bar is of the run
        else:
            parallel.said(epoch_idx)
            loss = self._strategy_epoch(self.strategy, train_data, epoch_idx)
        self.history.append((epoch_idx, "loss", float(sum(loss) if isinstance(loss, tuple) else loss)))
        return loss

    def _strategy_epoch(self, strategy: Strategy, train_data: Any, epoch_idx: int) -> float:
        self.model.train()
        sums: dict[str, float] = {}
        for number, batch in enumerate(train_data):
            for name, value in self._step(strategy, batch, f"epoch {epoch_idx}, batch {number}").items():
                sums[name] = sums.get(name, 0.0) + float(value)
        sums.update(strategy.end_epoch(epoch_idx))
        self.history += [(epoch_idx, name, value) for name, value in sums.items() if name != "loss"]
        return sums["loss"]

    def _step(self, strategy: Strategy, batch: Any, where: str) -> dict[str, torch.Tensor]:
        self.optimizer.zero_grad()
        batch = batch.to(self.device)
        try:
            logged = strategy.backward(self.model, batch)
            parallel.sum_gradients(self.model.parameters())
            _check_finite(logged, self.model)
        except TrainingError as error:
            culprit = strategy.blame(self.model, batch)
            raise TrainingError(_broken(f"{where}: {error}{f' ({culprit})' if culprit else ''}")) from error
        if self.clip_grad_norm:
            clip_grad_norm_(self.model.parameters(), **self.clip_grad_norm)
        self.optimizer.step()
        self.schedule.step()
        if self.average is not None:
            self.average.update()
        return logged

    def _averaged(self) -> AbstractContextManager[None]:
        """A block in which the model has the weights that are judged and kept."""
        return nullcontext() if self.average is None else self.average.in_place()

    def _check_nan(self, loss: torch.Tensor) -> None:
        if not torch.isfinite(loss):
            epoch = max(self.train_loss_dict, default=-1) + 1
            raise TrainingError(_broken(f"epoch {epoch}: the training loss is {loss.item()}"))

    def fit(self, train_data: Any, valid_data: Any = None, **options: Any) -> tuple[float, dict[str, float]]:
        """The host's fit from the last resume point, if there is one."""
        self._loader, self._began = train_data, perf_counter()
        self._start_schedule(train_data)
        self._set_patience()
        if self.strategy is not None:
            self.strategy.start(len(train_data))
        if self.average is not None:
            self.average.steps_of_epoch = len(train_data)
        if self.resumed_to_end:
            self.eval_collector.data_collect(train_data)  # as the host does, which is not asked now
            return self.best_valid_score, self.best_valid_result
        self.progress = Progress(self, len(train_data), bool(options.get("show_progress")))
        # Importing any of RecBole's sequential models turns this on for the whole process (its SINE): slow, and a NaN
        # would be a RuntimeError from within torch.
        with torch.autograd.set_detect_anomaly(False), self.progress.shown():
            return super().fit(train_data, valid_data, callback_fn=self._after_epoch, **options)

    def follow(self, train_data: Any, resumed_from: str | None) -> None:
        """On another rank than 0, instead of `fit`: train the epochs that rank 0 trains, with dropout of our own."""
        assert self.strategy is not None, "the runner refuses models without our loop"
        if resumed_from:
            self._restore(Path(resumed_from), *storage.read_sealed(Path(resumed_from)), train_data)
        self._start_schedule(train_data)
        while (epoch := parallel.said()) is not None:
            noise = np.random.SeedSequence([self.config["seed"], epoch, parallel.rank()])
            torch.manual_seed(int(noise.generate_state(1)[0]))
            with suppress(TrainingError, UsageError):  # all ranks meet it at this step, and rank 0 reports it
                self._strategy_epoch(self.strategy, train_data, epoch)

    def _start_schedule(self, train_data: Any) -> None:
        """From the first step, or from where a resume point left it."""
        kind, warmup = self.config["lr_schedule"], float(self.config["warmup"])
        made, steps = self.start_epoch * len(train_data), self.epochs * len(train_data)
        growth = getattr(train_data, "growth", 1.0)
        self.schedule = optimiser.schedule(self.optimizer, kind, warmup, steps, made=made, growth=growth)

    def _after_epoch(self, epoch: int, valid_score: float) -> None:
        """The host calls this after every judged epoch, with early stopping already updated."""
        self.progress.judged(epoch, self.judged)
        if self.config["keep"] == "last":
            self._save_checkpoint(epoch)
        turning = self._begin_next_part(epoch)
        stopping = self.cur_step > self.stopping_step or epoch + 1 >= self.epochs
        if turning or stopping or (epoch + 1) % (self.config["checkpoint_every"] * self.eval_step) == 0:
            self.save_resume_point(epoch, stopping)
        if self.on_epoch is not None:
            self.on_epoch(epoch, valid_score)

    def _set_patience(self) -> None:
        """Only the last part of a training may end it; the host knows of no others."""
        more = self.strategy is not None and self.strategy.more_parts
        self.stopping_step = sys.maxsize if more else self.config["stopping_step"]

    def _begin_next_part(self, epoch: int) -> bool:
        """From one part of a strategy's training to the next: the best weights so far, a new patience and best score.

        A resume point must follow: the next part overwrites the weights from which it began.
        """
        ended = self.cur_step > self.config["stopping_step"] or epoch + 1 >= self.epochs // 2
        if self.strategy is None or not self.strategy.more_parts or not ended or epoch + 1 >= self.epochs:
            return False
        self.load_best()
        self.strategy.begin_next_part()
        if self.average is not None:
            self.average.restart()
        self.best_valid_score, self.cur_step = -math.inf if self.valid_metric_bigger else math.inf, 0
        self._set_patience()
        return True

    def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> tuple[float, dict[str, float]]:
        with self._averaged():
            score, result = super()._valid_epoch(valid_data, show_progress)
        epoch = max(self.train_loss_dict, default=-1)
        if math.isnan(score):  # NaN compares with nothing: no epoch would ever be the best
            raise TrainingError(f"epoch {epoch}: {self.config['valid_metric']} is undefined on validation")
        self.judged = result
        watched = {**result, **self.evaluator.followed()}
        self.history += [(epoch, f"valid {name}", float(value)) for name, value in watched.items()]
        return score, result

    def evaluate(self, eval_data: Any, *options: Any, **more: Any) -> dict[str, Any]:
        """The host's evaluation of every item, or only the pairs that are judged from a model that answers or ranks."""
        self.eval_collector.loader = eval_data
        progress = bool(more.get("show_progress"))
        self.model.eval()
        variants, again = self.evaluator.variants, self.evaluator.asks_again
        if isinstance(eval_data, LabeledLoader) and isinstance(self.model, asking.Answers):
            self.eval_collector.prompted = asking.answered(self.model, eval_data, variants, again, progress)
        elif not isinstance(eval_data, LabeledLoader) and isinstance(self.model, asking.Ranks):
            asking.ranked(self.model, eval_data, self.eval_collector, progress, variants, again)
        else:
            return super().evaluate(eval_data, *options, **{**more, "show_progress": False})
        self.eval_collector.model_collect(self.model)
        figures: dict[str, Any] = self.evaluator.evaluate(self.eval_collector.get_data_struct())
        return figures

    def scores(self, batch: Any) -> tuple[Any, torch.Tensor, torch.Tensor, torch.Tensor]:
        """A judged batch with its scores [B, I]: the only place where the host's private evaluation is entered."""
        judged: tuple[Any, torch.Tensor, torch.Tensor, torch.Tensor] = self._full_sort_batch_eval(batch)
        return judged

    # --- what is kept

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **_: Any) -> None:
        """The host calls this when validation improved: keep these weights."""
        with self._averaged():
            checkpoint.save_best(self.folder, self.model, self.initial_buffers, {**self.about, "epoch": epoch})

    @property
    def resume_file(self) -> Path:
        """The last resume point."""
        return self.folder / RESUME

    @property
    def resumed_to_end(self) -> bool:
        """Whether the resume point lies at the end of training."""
        return self.start_epoch > 0 and (self.start_epoch >= self.epochs or self.cur_step > self.stopping_step)

    def save_resume_point(self, epoch: int, finished: bool) -> None:
        """Everything a later process needs to go on exactly as this one would."""
        if not self.can_resume:
            return
        tensors, generators = checkpoint.random_state()
        if generator := getattr(self._loader, "generator", None):
            tensors["random.loader"] = generator.get_state()
        weights = checkpoint.model_state(self.model, self.initial_buffers)
        tensors.update({f"model.{name}": value for name, value in weights.items()})
        average = {"means": self.average.means, "steps": self.average.steps} if self.average else {}
        state = {
            "optimizer": self.optimizer.state_dict(),
            "average": average,
            "strategy": self.strategy.state_dict() if self.strategy else {},
            "plain": checkpoint.plain_state(self.model),
        }
        about = {
            **self.about,
            "epoch": epoch,
            "seconds": self.seconds_before + perf_counter() - self._began,
            "cur_step": self.cur_step,
            "best_valid_score": float(self.best_valid_score),
            "best_valid_result": dict(self.best_valid_result or {}),
            "train_loss": {str(key): value for key, value in self.train_loss_dict.items()},
            "history": self.history,
            "random": generators,
            "state": checkpoint.flatten(state, "state", tensors),
        }
        storage.write_sealed(self.resume_file, tensors, about)

    @property
    def can_resume(self) -> bool:
        """Trainers with a `fit` or an epoch of their own keep state we cannot see: they start again from epoch 0."""
        return self.host is Trainer

    def resume(self, train_data: Any) -> bool:
        """Go to the last resume point; False if there is none and training starts at the beginning."""
        if not self.resume_file.exists():
            return False
        self._restore(self.resume_file, *self._stored(self.resume_file, self.about), train_data)
        return True

    def resume_other(self, neighbour: Path, train_data: Any) -> None:
        """Go to the last resume point of a run of other `epochs`, and take over its best weights."""
        file = neighbour / RESUME
        expected = {key: value for key, value in self.about.items() if key != "config_hash"}
        tensors, about = self._stored(file, expected)
        if (epoch := int(about["epoch"]) + 1) > self.epochs:
            raise UsageError(
                f"epochs={self.epochs}: {neighbour} has come to epoch {epoch}; --epochs={epoch} ends it there with its"
                " best weights so far, more go on"
            )
        best = self.load_best(neighbour, expected)
        checkpoint.save_best(self.folder, self.model, self.initial_buffers, {**self.about, "epoch": best["epoch"]})
        self._restore(file, tensors, about, train_data)

    def _stored(self, file: Path, expected: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """The content of a resume point, which must be of the run that is expected."""
        tensors, about = storage.read_sealed(file)
        if wrong := [key for key in expected if about.get(key) != expected[key]]:
            raise UsageError(f"{file}: of another run ({wrong[0]} differs); remove it to start again")
        return tensors, about

    def _restore(self, file: Path, tensors: dict[str, torch.Tensor], about: dict[str, Any], train_data: Any) -> None:
        try:
            self._go_on(file, tensors, about, train_data)
            self.resumed_from = file
        except UsageError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise UsageError(f"{file}: damaged ({error}); remove it to start again") from error

    def _go_on(self, file: Path, tensors: dict[str, torch.Tensor], about: dict[str, Any], train_data: Any) -> None:
        """Put back what `save_resume_point` stored."""
        prefix = "model."
        model_state = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
        checkpoint.load_model_state(self.model, model_state, file)
        state = checkpoint.unflatten(about["state"], tensors)
        self.optimizer.load_state_dict(state["optimizer"])
        checkpoint.check_optimizer(self.optimizer)
        if self.strategy:
            self.strategy.load_state_dict(state["strategy"])
        if self.average is not None:
            self.average.load(**state["average"])
        checkpoint.load_plain_state(self.model, state["plain"])
        self.start_epoch, self.cur_step = int(about["epoch"]) + 1, int(about["cur_step"])
        self.seconds_before = float(about.get("seconds", 0.0))
        self.best_valid_score, self.best_valid_result = float(about["best_valid_score"]), about["best_valid_result"]
        self.train_loss_dict = {int(key): value for key, value in about["train_loss"].items()}
        self.history = [(epoch, name, value) for epoch, name, value in about["history"]]
        if "random.loader" in tensors:
            train_data.generator.set_state(tensors["random.loader"])
        checkpoint.set_random_state(tensors, about["random"])

    def load_best(self, folder: Path | None = None, expected: dict[str, Any] | None = None) -> dict[str, Any]:
        """Load the best weights of this run, or of another one's folder."""
        return checkpoint.load_best(folder or self.folder, self.model, self.about if expected is None else expected)


def trainer_for(
    config: Config, model: torch.nn.Module, *, folder: Path, about: dict[str, Any], strategy: Strategy | None
) -> FairTrainer:
    """The host's trainer for this model with FairTrainer mixed over it."""
    host = get_trainer(config["MODEL_TYPE"], config["model"])
    if strategy is not None and host._train_epoch is not Trainer._train_epoch:
        raise UsageError(f"{config.name}: {host.__name__} has a training loop of its own, which no strategy can enter")
    if strategy is not None and config["enable_scaler"]:
        raise UsageError(f"enable_scaler=True: {config.name}'s strategy scales no gradients; train without it")
    mixed = type(f"Fair{host.__name__}", (FairTrainer, host), {"host": host})
    trainer: FairTrainer = mixed(config, model)
    trainer.folder, trainer.about, trainer.strategy = folder, about, strategy
    return trainer


def _check_finite(logged: dict[str, torch.Tensor], model: torch.nn.Module) -> None:
    """Refuse to step with a loss or a gradient that is NaN or infinite."""
    for name, value in logged.items():
        if not torch.isfinite(value).all():
            raise TrainingError(f"{name} is {value.tolist()}")
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    largest = [torch.linalg.vector_norm(gradient, ord=float("inf")) for gradient in gradients.values()]
    if largest and not torch.isfinite(torch.stack(largest)).all():  # one look for all of them
        wrong = [name for name, value in zip(gradients, largest, strict=True) if not torch.isfinite(value)]
        raise TrainingError(f"the gradient of {', '.join(wrong)} is not finite")


def _broken(what: str) -> str:
    return f"{what}; lower learning_rate or set clip_grad_norm. The best epoch so far is kept"


def _refuse_missing_kernels(model: torch.nn.Module) -> None:
    """A kernel that torch lacks raises NotImplementedError; the host would predict item by item instead (trap 22)."""
    predict = model.full_sort_predict

    def guarded(interaction: Any) -> torch.Tensor:
        try:
            return predict(interaction)  # type: ignore[operator]
        except NotImplementedError as error:
            if error.args:  # the host's own is raised bare
                raise RuntimeError(f"{type(model).__name__}: {error}") from error
            raise

    model.full_sort_predict = guarded  # type: ignore[assignment]
