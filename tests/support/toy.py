"""Planted toy data: rectangular, two groups of unequal size and activity, one right answer.

Users of a taste have rated every item of that taste and nothing else. So what is held out for a user is exactly what
is left of its taste, a model that learned anything ranks it first, and one that mixes up users and items cannot.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

COMICS, NOIRS = 10, 14  # items of each taste
FANS = {"F": 30, "M": 12}  # users: women read comics, men noir


def write_toy(folder: Path, name: str = "toy") -> Path:
    """Write toy.inter, toy.user and toy.item below `folder`/`name`."""
    target = folder / name
    target.mkdir(parents=True)
    comics = [f"c{number}" for number in range(COMICS)]
    noirs = [f"n{number}" for number in range(NOIRS)]
    users = [(f"u{gender}{number}", gender) for gender, count in FANS.items() for number in range(count)]
    lines, clock = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"], 0
    for place, (user, gender) in enumerate(users):
        liked = comics if gender == "F" else noirs
        for step in range(len(liked)):
            clock += 1
            lines.append(f"{user}\t{liked[(place + step * 3) % len(liked)]}\t{3 + step % 3}\t{clock}")
    (target / f"{name}.inter").write_text("\n".join(lines) + "\n")
    rows = [f"{user}\t{'' if user == 'uF0' else gender}\t{20 + place}" for place, (user, gender) in enumerate(users)]
    (target / f"{name}.user").write_text("\n".join(["user_id:token\tgender:token\tage:token", *rows]) + "\n")
    titles = [f"{item}\tFunny comic number {item[1:]}\tcomic drawn" for item in comics]
    titles += [f"{item}\tDark city night {item[1:]}\tnoir" for item in noirs]
    (target / f"{name}.item").write_text("\n".join(["item_id:token\ttitle:token\tgenre:token_seq", *titles]) + "\n")
    return target


TOY_KEYS: dict[str, Any] = {
    "topk": [3, 5],
    "valid_metric": "NDCG@5",
    "eval_args": {"split": {"RS": [0.6, 0.2, 0.2]}},
    "item_groups": ["pop", "genre"],
    "genre_field": "genre",
    "user_groups": ["gender"],
    "item_text": "title",
    "train_batch_size": 64,
    "MAX_ITEM_LIST_LENGTH": 8,
    "epochs": 2,
    "bootstrap": 100,
    "use_gpu": False,
}
# Cheap settings for the models whose defaults are made for real data.
MODEL_KEYS: dict[str, dict[str, Any]] = {
    "AlphaRec": {"item_encoder": "tfidf-svd", "negatives": 8, "learning_rate": 0.01},
    "Linear": {"item_encoder": "tfidf-svd", "negatives": 8, "learning_rate": 0.01},
}


def toy_keys(root: Path, run_dir: Path, model: str, **more: Any) -> dict[str, Any]:
    """Keys for `run(**keys)` on the toy data below `root`."""
    cheap = next((keys for name, keys in MODEL_KEYS.items() if model.endswith(name)), {})  # whatever its strategy
    where = {"data_path": str(root), "cache_dir": str(root / "cache"), "run_dir": str(run_dir)}
    return {"model": model, "dataset": "toy", **TOY_KEYS, **where, **cheap, **more}
