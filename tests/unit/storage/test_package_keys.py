"""Which objects of the drop zone are packages."""

from __future__ import annotations

import pytest

from perdura.storage.store import PROBES, is_package_key


@pytest.mark.parametrize(("key", "expected"), [("a.zip", True), ("deposits/1", True), ("folder/", False)])
def test_objects_are_packages_and_directory_markers_are_not(key: str, expected: bool) -> None:
    assert is_package_key(key) is expected


def test_an_object_that_only_tries_out_the_store_is_no_package() -> None:
    assert not is_package_key(f"{PROBES}01a2209a")
