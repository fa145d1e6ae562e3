"""`recbole-fair recommend RUN_DIR --users=1,2 --k=20`: a saved run's top items, with titles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from recbole_fair.commands.arguments import Arguments
from recbole_fair.data.load import Data
from recbole_fair.data.texts import item_texts
from recbole_fair.errors import UsageError
from recbole_fair.evaluation.reranked import RerankingCollector
from recbole_fair.registry import nearest
from recbole_fair.screen import visible
from recbole_fair.settings.config import Config
from recbole_fair.training.trainer import FairTrainer


def main(arguments: Arguments) -> int:
    """Print rank, item, score and title for each user asked for."""
    if len(arguments.words) != 1:
        raise UsageError("recommend: give one run directory, as in `recbole-fair recommend RUN_DIR --users=1,2 --k=20`")
    users, k = arguments.take_ids("users"), arguments.take("k", 20)
    if users is None:
        raise UsageError("recommend: name the users by their raw ids, as in --users=1,2")
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise UsageError(f"--k={k!r}: a positive whole number")
    arguments.refuse_rest("recommend", words=False)
    from recbole_fair.runner import open_run

    config, data, trainer = open_run(Path(arguments.words[0]))
    if isinstance(trainer.eval_collector, RerankingCollector):
        raise UsageError(
            f"{arguments.words[0]}: lists of {config.name} are chosen for all users together; run it with"
            " save_recommendations=True and read recommendations.tsv"
        )
    titles = item_titles(config, data)
    for user, listed in top_items(data, trainer, users, k):
        print(visible(f"user {user}"))
        for rank, (item, score) in enumerate(listed, start=1):
            print(visible(f"{rank:>4}  {item:<12} {score:>10.4f}  {titles.get(item, '')}".rstrip()))
    return 0


def item_titles(config: Config, data: Data) -> dict[str, str]:
    """Raw item id to its text; empty where the data set names no text."""
    fields = config["item_text"] or []
    columns = [data.values(field, "item_text") for field in ([fields] if isinstance(fields, str) else fields)]
    tokens = [str(token) for token in data.tokens(data.dataset.iid_field)]
    return dict(zip(tokens, item_texts(columns), strict=True)) if columns else {}


@torch.no_grad()
def top_items(
    data: Data, trainer: FairTrainer, users: Sequence[str], k: int
) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """For each raw user id its k best items and their scores."""
    rows = _rows_of(data, users)
    trainer.tot_item_num = data.dataset.item_num
    trainer.item_tensor = data.test.dataset.get_item_feature().to(trainer.device)
    _, scores, _, _ = trainer.scores(data.test.collate_fn(rows))
    values, items = scores.topk(min(k, scores.shape[1] - 1), dim=1)
    tokens = data.tokens(data.dataset.iid_field)
    for user, best, score in zip(users, items.tolist(), values.tolist(), strict=True):
        pairs = zip(best, score, strict=True)
        yield user, [(str(tokens[item]), value) for item, value in pairs if value > float("-inf")]


def _rows_of(data: Data, users: Sequence[str]) -> list[int]:
    """Places of raw user ids in the test loader."""
    table = data.dataset.field2token_id[data.dataset.uid_field]
    place = {user: row for row, user in enumerate(data.test.uid_list.tolist())}
    for user in users:
        if user not in table:
            raise UsageError(f"--users={user}: the data set has no such user.{nearest(user, table)}")
        if table[user] not in place:
            raise UsageError(f"--users={user}: has no test items, so the run made no list for this user")
    return [place[table[user]] for user in users]
