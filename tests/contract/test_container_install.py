"""The Dockerfile's own commands, run in a directory tree without an engine; functions are started from the result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.image import FUNCTIONS, NoPackages, build_image, served

INSTALLING_SECONDS = 110
IDLE_BYTES = 120 * 2**20


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree that the build stage makes; skips where no package index answers within the time."""
    root = tmp_path_factory.mktemp("image")
    try:
        build_image(root, INSTALLING_SECONDS)
    except NoPackages as missing:
        pytest.skip(str(missing))
    return root


def test_everything_is_compiled_and_nothing_is_linked_to_the_source(image: Path) -> None:
    packages = next((image / "opt/perdura/lib").glob("python3.*")) / "site-packages"
    module = packages / "perdura" / "runtime" / "delivery.py"
    assert module.is_file()
    assert not list(packages.glob("*editable*"))
    compiled = list(module.parent.joinpath("__pycache__").glob("delivery.*.pyc"))
    assert compiled
    flags = int.from_bytes(compiled[0].read_bytes()[4:8], "little")
    assert flags == 1, "by hash and unchecked: valid whatever the times of the files become in the image"
    bill = {
        entry["purl"].partition("@")[0] for entry in json.loads((image / "sbom.cdx.json").read_text())["components"]
    }
    assert {"pkg:pypi/perdura", "pkg:pypi/bagit", "pkg:generic/python"} <= bill
    assert bool({"pkg:deb/debian/libc6", "pkg:deb/ubuntu/libc6"} & bill) is Path("/var/lib/dpkg/status").is_file()
    assert not (image / "opt/perdura/bin/pip").exists()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_starts_from_it_and_is_small_when_idle(image: Path, tmp_path: Path, function: str) -> None:
    with served(image, function, tmp_path / "log") as started:
        assert started.memory <= IDLE_BYTES
