"""DataFrames as a data set: CSV files that nobody has written yet."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from recbole_fair.convert import build
from recbole_fair.convert.sources import csv_options
from recbole_fair.convert.sources.catalogue import OWN_WORDS
from recbole_fair.errors import UsageError
from recbole_fair.settings import yamls
from recbole_fair.storage import open_regular

_DIGITS = 8
_TABLES = ("interactions", "users", "items")


def stored(frame: Any, keys: Mapping[str, Any], config_files: Sequence[str] = ()) -> tuple[str, dict[str, Any]]:
    """Convert a DataFrame of interactions; the data set's name, and the keys that are not about the frames.

    `user`, `item`, `rating` and `time` name columns, `users` and `items` are DataFrames or CSV files, `name` is the
    data set's: by default one made of its content, so the same frames are converted once. It lies in `data_path`,
    which a configuration file may name too.
    """
    about_frames = {word: keys[word] for word in (*OWN_WORDS, "name") if word in keys}
    rest = {key: value for key, value in keys.items() if key not in about_frames}
    with TemporaryDirectory() as temporary:
        options = {**about_frames, "interactions": frame}
        for word in _TABLES:
            if word in options and not isinstance(options[word], (str, Path)):
                options[word] = _written(options[word], Path(temporary) / f"{word}.csv", options)
        name = str(options.pop("name", None) or f"frame-{_digest(options)}")
        named = [yamls.read_mapping(Path(file)).get("data_path") for file in config_files]  # the last one counts
        out = Path(str(next(filter(None, [rest.get("data_path"), *reversed(named)]), "dataset_atomic")))
        try:
            if "name" in about_frames or not (out / name).is_dir():
                build.convert(build.Conversion("csv", Path(temporary), out, name, options))
        except UsageError as error:
            raise UsageError(_as_typed(str(error), Path(temporary))) from error
    return name, rest


def _as_typed(refusal: str, temporary: Path) -> str:
    """In the words of Python: a frame by its argument in place of its file, user="COLUMN" in place of --user=COLUMN."""
    for word in _TABLES:
        refusal = refusal.replace(f"{temporary / word}.csv", f"{word} (a data frame)")
    return re.sub(r"--(\w+)=COLUMN\b", r'\1="COLUMN"', refusal.replace(f"{temporary}{os.sep}", ""))


def _written(frame: Any, path: Path, options: Mapping[str, Any]) -> Path:
    """A frame as a CSV file; lists in a column of `lists` are joined as that column is split."""
    if not hasattr(frame, "to_csv") or not hasattr(frame, "columns"):
        raise UsageError(
            f"{path.stem}: expected a pandas DataFrame or the path of a CSV file, not {type(frame).__name__}"
        )
    for name in csv_options.words(options.get("lists")):
        if name in frame.columns:
            frame = frame.assign(**{name: [_joined(value) for value in frame[name]]})
    frame.to_csv(path, index=False)
    return path


def _joined(value: Any) -> Any:
    return "|".join(map(str, value)) if isinstance(value, (list, tuple)) else value


def _digest(options: Mapping[str, Any]) -> str:
    content = hashlib.sha256()
    for word, value in sorted(options.items()):
        content.update(f"{word}=".encode())
        if word not in _TABLES:
            content.update(str(value).encode())
            continue
        with open_regular(Path(value)) as stream:
            content.update(stream.read())
    return content.hexdigest()[:_DIGITS]
