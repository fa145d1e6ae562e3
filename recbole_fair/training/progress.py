"""What a run shows while it trains: one bar on a terminal or in a notebook, elsewhere one line an epoch.

    epoch 5/300  loss 35.3  ndcg@20 .2220 (best .2230 at 3, 18 left)  cv@20[genre] .466  12 s, about 55 min

Epochs count from 1 here; history.csv and RecBole's lines in run.log, which hold every digit, count from 0.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from recbole_fair.groups.named import names_of
from recbole_fair.metrics.key import MetricKey
from recbole_fair.screen import WIDTH, brief, duration, short

logger = logging.getLogger(__name__)

_BAR = "{percentage:3.0f}% |{bar}| {desc}"
_BESIDE = 14  # columns that a terminal's bar needs beside its line


class Progress:
    """The console's account of one training by a FairTrainer."""

    def __init__(self, trainer: Any, batches: int, bar: bool) -> None:
        self.trainer, self.batches = trainer, batches
        self.epoch = self.first = trainer.start_epoch
        self.began = self.latest = perf_counter()
        self.wants_bar, self.bar = bar, None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Have a bar in this block, if one is wanted; it moves with every step of the optimiser."""
        if not self.wants_bar:
            yield
            return
        from tqdm.auto import tqdm

        total, done = self.trainer.epochs * self.batches, self.first * self.batches
        begins = f"epoch {self.first}/{self.trainer.epochs}"
        hook = self.trainer.optimizer.register_step_post_hook(self._step)
        with tqdm(total=total, initial=done, desc=begins, bar_format=_BAR, dynamic_ncols=True) as self.bar:
            yield
        hook.remove()

    def _step(self, *_: Any) -> None:
        """A batch is done; a model with several steps a batch does not run ahead of its epoch."""
        if self.bar is not None and self.bar.n + 1 < (self.epoch + 1) * self.batches:
            self.bar.update()

    def judged(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Validation has judged an epoch, counted from 0, and early stopping has been updated."""
        self.epoch = epoch + 1
        if self.bar is None:
            logger.info("%s", self.line(figures, WIDTH))
        else:
            self.bar.update(self.epoch * self.batches - self.bar.n)
            self.bar.set_description_str(self.line(figures, shutil.get_terminal_size().columns - _BESIDE))
        self.latest = perf_counter()

    def line(self, figures: Mapping[str, float], width: int) -> str:
        """The latest epoch in one line; where it is narrow, without the loss, the groups' figure, the time."""
        trainer, metric = self.trainer, self.trainer.valid_metric
        best = self.epoch - trainer.cur_step * trainer.eval_step
        left = max(trainer.stopping_step - trainer.cur_step, 0)
        head = f"epoch {self.epoch}/{trainer.epochs}"
        loss = f"loss {brief(trainer.train_loss_dict.get(self.epoch - 1, 0.0))}"
        score = f"{metric} {short(figures[metric])} (best {short(trainer.best_valid_score)} at {best}, {left} left)"
        groups = _of_groups(figures, trainer.config)
        rest = ([loss, score, groups, self._time()], [score, groups, self._time()], [score, self._time()], [score])
        lines = ["  ".join([head, *filter(None, words)]) for words in rest]
        return next((line for line in lines if len(line) <= width), lines[-1][:width])

    def _time(self) -> str:
        """What the latest epochs took, and about how long all that are left would take."""
        now = perf_counter()
        each = (now - self.began) / (self.epoch - self.first)
        left = (self.trainer.epochs - self.epoch) * each
        return f"{duration(now - self.latest)}{f', about {duration(left)}' if left else ''}"


def _of_groups(figures: Mapping[str, float], config: Mapping[str, Any]) -> str:
    """A figure of the grouping that a strategy would balance, at the K that epochs are chosen by."""
    names = [name for key in ("fair_group", "item_groups", "user_groups") for name in names_of(config, key)]
    k = MetricKey.parse(str(config["valid_metric"])).k
    parsed = {key: MetricKey.parse(key) for key in figures}
    compared = [key for key, one in parsed.items() if one.grouping and one.k == k]
    shown = next((key for name in names[:1] for key in compared if parsed[key].grouping == name), None)
    return f"{shown} {short(figures[shown], 3)}" if shown else ""
