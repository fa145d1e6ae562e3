"""A finished run's best items for users, with titles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import torch

from recbole_fair.data.load import Data, item_texts
from recbole_fair.errors import UsageError
from recbole_fair.evaluation.reranked import RerankingCollector
from recbole_fair.registry import nearest
from recbole_fair.rundir.result import Result
from recbole_fair.runner import open_run
from recbole_fair.settings.config import Config
from recbole_fair.training.trainer import FairTrainer

COLUMNS = ("user_id", "rank", "item_id", "score", "title")
_AT_ONCE = 256  # users whose scores are held at a time


def recommend(run: Result | str | Path, users: Sequence[str] | str | None = None, k: int = 10) -> pd.DataFrame:
    """The k best items of each user, by raw ids; without `users` of all judged users.

    What a user has met in training or validation is left out, as it was when the run was judged. Scores order the items
    of one user; they are no probabilities and do not compare between users or models.
    """
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise UsageError(f"k={k!r}: a positive whole number")
    folder = Path(run.run_dir if isinstance(run, Result) else run)
    config, data, trainer = open_run(folder)
    if isinstance(trainer.eval_collector, RerankingCollector):
        raise UsageError(
            f"{folder}: lists of {config.name} are chosen for all users together; run it with"
            " save_recommendations=True and read recommendations.tsv"
        )
    titles = _titles(config, data)
    asked = [users] if isinstance(users, str) else users
    judged = data.tokens(data.dataset.uid_field)[data.test.uid_list.numpy()].tolist()
    rows = (
        (user, rank, item, score, titles.get(item, ""))
        for user, best in _top_items(data, trainer, judged if asked is None else list(map(str, asked)), k)
        for rank, (item, score) in enumerate(best, start=1)
    )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _titles(config: Config, data: Data) -> dict[str, str]:
    """Raw item id to its text; empty where the data set names no text."""
    fields = config["item_text"] or []
    columns = [data.values(field, "item_text") for field in ([fields] if isinstance(fields, str) else fields)]
    tokens = [str(token) for token in data.tokens(data.dataset.iid_field)]
    return dict(zip(tokens, item_texts(columns), strict=True)) if columns else {}


@torch.no_grad()
def _top_items(
    data: Data, trainer: FairTrainer, users: Sequence[str], k: int
) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """For each raw user id its k best items and their scores."""
    rows = _rows_of(data, users)
    trainer.tot_item_num = data.dataset.item_num
    trainer.item_tensor = data.test.dataset.get_item_feature().to(trainer.device)
    tokens = data.tokens(data.dataset.iid_field)
    for start in range(0, len(rows), _AT_ONCE):
        _, scores, _, _ = trainer.scores(data.test.collate_fn(rows[start : start + _AT_ONCE]))
        values, items = scores.topk(min(k, scores.shape[1] - 1), dim=1)
        for user, best, score in zip(users[start : start + _AT_ONCE], items.tolist(), values.tolist(), strict=True):
            pairs = zip(best, score, strict=True)
            yield user, [(str(tokens[item]), value) for item, value in pairs if value > float("-inf")]


def _rows_of(data: Data, users: Sequence[str]) -> list[int]:
    """Places of raw user ids in the test loader."""
    table = data.dataset.field2token_id[data.dataset.uid_field]
    place = {user: row for row, user in enumerate(data.test.uid_list.tolist())}
    for user in users:
        if user not in table:
            raise UsageError(f"users={user}: the data set has no such user.{nearest(user, table)}")
        if table[user] not in place:
            raise UsageError(f"users={user}: has no test items, so the run made no list for this user")
    return [place[table[user]] for user in users]
