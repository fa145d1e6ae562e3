"""What an epoch costs, and what is learnt, as users and items grow together.

    python benchmarks/scale.py [--model=AlphaRec] [--sizes=6250,12500,25000] [--epochs=10] [--most_steps=40]

Made-up data: each size has as many items as users and 24 interactions a user, most of them from the user's two kinds of
items; an item's title tells its kind. Each size is trained twice for the same epochs: in batches of `train_batch_size`,
so that steps grow with the data, and in at most `most_steps` larger ones. Printed are seconds an epoch, what a doubling
multiplies them by, and test NDCG@20. (Goal: <= 2.3 x a doubling at an NDCG within .5 %.)
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import numpy as np

from recbole_fair import run

_KINDS, _ROWS, _OWN = 50, 24, 0.8


def write(folder: Path, size: int) -> None:
    """Atomic files of so many users and items."""
    generator = np.random.default_rng(size)
    kinds = np.arange(size) % _KINDS  # [I]
    popularity = generator.zipf(1.6, size).clip(max=100).astype(float)  # [I]
    of_kind = [np.flatnonzero(kinds == kind) for kind in range(_KINDS)]
    shares = [popularity[items] / popularity[items].sum() for items in of_kind]
    lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    for user in range(size):
        liked = generator.choice(_KINDS, 2, replace=False)
        drawn = [
            generator.choice(of_kind[kind], round(_ROWS * _OWN / 2), replace=True, p=shares[kind]) for kind in liked
        ]
        drawn.append(generator.integers(0, size, _ROWS - 2 * len(drawn[0])))
        items = generator.permutation(np.unique(np.concatenate(drawn)))
        lines += [f"u{user}\ti{item}\t5\t{place}" for place, item in enumerate(items)]
    folder.mkdir(parents=True)
    (folder / f"{folder.name}.inter").write_text("\n".join(lines) + "\n")
    words = generator.integers(0, 4, (size, 3))
    titles = [f"i{item}\t{' '.join(f'kind{kinds[item]}word{word}' for word in words[item])}" for item in range(size)]
    (folder / f"{folder.name}.item").write_text("\n".join(["item_id:token\ttitle:token_seq", *titles]) + "\n")


def main(model: str, sizes: str, epochs: int, most_steps: int) -> None:
    """One line a size and way of batches."""
    former: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as root:
        for size in map(int, sizes.split(",")):
            write(Path(root) / f"made{size}", size)
            for name, most in (("batches as they are", None), (f"at most {most_steps} steps", most_steps)):
                made = run(
                    model=model, dataset=f"made{size}", data_path=root, run_dir=f"{root}/{size}-{most}", quiet=True,
                    eval_args={"split": {"RS": [8, 1, 1]}, "order": "RO"}, item_text="title", item_encoder="tfidf-svd",
                    metrics=["NDCG"], topk=[20], item_groups=[], user_groups=[], epochs=epochs, eval_step=epochs,
                    keep="last", most_steps=most, interval=None,
                )  # fmt: skip
                seconds = made.seconds["train"] / epochs
                grown = f"{seconds / former[name]:.2f} x" if name in former else ""
                former[name] = seconds
                print(f"{size:>8} {name:<22} {seconds:8.2f} s an epoch {grown:>7}  ndcg@20 {made.test['ndcg@20']:.4f}")
                sys.stdout.flush()


if __name__ == "__main__":
    options = dict(word.lstrip("-").split("=") for word in sys.argv[1:])
    main(
        options.get("model", "AlphaRec"), options.get("sizes", "6250,12500,25000"), int(options.get("epochs", 10)),
        int(options.get("most_steps", 40)),
    )  # fmt: skip
