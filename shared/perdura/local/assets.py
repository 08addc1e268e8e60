"""Where the functions and the manifests are: in the source tree, or inside the installed package."""

from __future__ import annotations

from pathlib import Path

import perdura
from perdura.errors import Broken

_PACKAGE = Path(perdura.__file__).resolve().parent


def functions_folder() -> Path:
    """The folder with one folder per function. Raises Broken where the installation lacks it."""
    return _first(_PACKAGE.parents[1] / "functions", _PACKAGE / "_functions")


def manifests_folder() -> Path:
    """The folder of the Knative manifests. Raises Broken where the installation lacks it."""
    return _first(_PACKAGE.parents[1] / "infra" / "knative", _PACKAGE / "_infra" / "knative")


def functions(folder: Path) -> dict[str, Path]:
    """Every function by name: its `main.py`."""
    return {main.parent.name: main for main in sorted(folder.glob("*/main.py"))}


def _first(*places: Path) -> Path:
    for place in places:
        if place.is_dir():
            return place
    raise Broken(f"this installation has no {places[-1].name}: looked in {', '.join(map(str, places))}")
