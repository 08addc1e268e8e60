"""What a package costs is bounded by the limits, whatever it holds (packages.md 2.9), and so is what a disk offers."""

from __future__ import annotations

import gzip
import os
import subprocess
import time
import tracemalloc
from pathlib import Path

import pytest

from perdura.packages.limits import AIP_LIMITS, Limits
from perdura.packages.package import Report
from perdura.packages.sources import LocalTree, StoredObject
from perdura.packages.verify import verify
from perdura.storage.memory import MemoryStore
from tests.corpus.tree import as_archive, as_directory, as_tar, bag


def stored(data: bytes) -> StoredObject:
    store = MemoryStore()
    info = store.put("bags", "bag", data).info
    return StoredObject(store, info.ref, info.size)


def peak_of(source: StoredObject, limits: Limits) -> tuple[Report, int]:
    """The report and the bytes of memory that it took at most, beside the package itself."""
    tracemalloc.start()
    try:
        return verify(source, limits=limits), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["zip", "deflated", "tar", "tar.gz"])
def test_files_that_are_listed_and_missing_take_no_more_memory_than_is_allowed(kind: str) -> None:
    listed = b"".join(b"%032x  data/%x\n" % (0, number) for number in range(300_000))
    report, peak = peak_of(stored(as_archive(bag(manifest_md5_txt=listed), kind)), Limits(missing=2**20, ratio=1000))
    assert report.verdict == "invalid"
    assert report.counts["limit-missing"] == 1
    assert peak < 48 * 2**20


def test_an_aip_is_never_refused_for_the_memory_it_takes() -> None:
    strangers = {"path_memory", "digest_memory", "missing", "gzip_members", "ratio", "package_size"}
    assert all(getattr(AIP_LIMITS, name) >= 2**40 for name in strangers)


def test_empty_gzip_members_cost_little_each() -> None:
    data = gzip.compress(b"", mtime=0) * 100_000 + gzip.compress(as_tar(bag()))
    began = time.process_time()
    assert verify(stored(data)).verdict == "valid"
    assert time.process_time() - began < 3


def test_long_names_in_gzip_headers_cost_little_each() -> None:
    one = b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 60_000 + b"\0" + gzip.compress(b"", mtime=0)[10:]
    began = time.process_time()
    assert verify(stored(one * 200 + gzip.compress(as_tar(bag())))).verdict == "valid"
    assert time.process_time() - began < 3


def test_directories_may_lie_in_one_another_as_deep_as_a_disk_allows(tmp_path: Path) -> None:
    root = as_directory(bag(), tmp_path / "bag")
    top = os.open(root / "data", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=top)
        below = os.open("d", os.O_RDONLY, dir_fd=top)
        os.close(top)
        top = below
    os.close(os.open("file", os.O_CREAT, dir_fd=top))
    os.close(top)
    try:
        assert verify(LocalTree(root)).counts == {"name-too-long": 1}
    finally:
        # Python's own way to remove a tree goes as deep as the tree does.
        subprocess.run(["rm", "-rf", root], check=True)


def test_a_path_that_is_too_long_for_the_system_is_no_fault_of_the_disk(tmp_path: Path) -> None:
    root = as_directory(bag(), tmp_path / "bag")
    top = os.open(root / "data", os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=top)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=top)
        os.close(top)
        top = below
    os.close(top)
    assert verify(LocalTree(root)).counts == {"name-too-long": 1}


def test_a_name_on_disk_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    root = as_directory(bag(), tmp_path / "bag")
    Path(os.fsdecode(os.fsencode(root) + b"/data/\xff")).write_bytes(b"x")
    assert verify(LocalTree(root)).counts == {"name-encoding": 1}


def test_empty_directories_on_disk_are_nothing_to_complain_of(tmp_path: Path) -> None:
    root = as_directory(bag() | {"data/empty/within/": b"", "tags/": b""}, tmp_path / "bag")
    assert verify(LocalTree(root)).verdict == "valid"
