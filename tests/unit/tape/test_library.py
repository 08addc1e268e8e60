"""The tape library: where a file is, when it leaves the disk, and what it refuses."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from perdura.local.tape.faults import Faults
from perdura.local.tape.http import split_target
from perdura.local.tape.library import BadSize, BufferFull, Exists, Library, Model
from perdura.local.tape.scheduler import Scheduler

Make = Callable[..., Library]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Libraries over one directory, one after the other."""
    made: list[tuple[Library, Scheduler]] = []

    def start(**model: Any) -> Library:
        stop()
        scheduler = Scheduler()
        values = {"mount": 0.0, "seek": 0.0, "rate": 0.0, "keep": 3600.0} | model
        library = Library(tmp_path, Model(**values), Faults(tmp_path / "faults.json"), scheduler)
        made.append((library, scheduler))
        return library

    def stop() -> None:
        while made:
            library, scheduler = made.pop()
            library.stop()
            scheduler.stop()

    yield start
    stop()


def write(library: Library, path: str, data: bytes = b"data") -> None:
    with library.writer(path, len(data)) as writer:
        writer.write(data)
        writer.finish()


def until(library: Library, path: str, locality: str) -> None:
    end = time.monotonic() + 10
    while library.locality(path)[0] != locality:
        assert time.monotonic() < end, library.locality(path)
        time.sleep(0.005)


def test_a_file_reaches_tape_leaves_the_disk_and_comes_back(make: Make, tmp_path: Path) -> None:
    library = make()
    write(library, "/p/a", b"content")
    until(library, "/p/a", "DISK_AND_TAPE")
    assert (tmp_path / "tape/V00001/000000001").read_bytes() == b"content"
    library.release(["/p/a"])
    assert library.locality("/p/a") == ("TAPE", None)
    assert list((tmp_path / "disk").iterdir()) == []
    request = library.stage([("/p/a", 60)])
    until(library, "/p/a", "DISK_AND_TAPE")
    assert [file.state for file in library.catalogue.stage_files(request)] == ["COMPLETED"]
    assert [file.read_bytes() for file in (tmp_path / "disk").iterdir()] == [b"content"]


def test_a_file_leaves_the_disk_by_itself(make: Make) -> None:
    library = make(keep=0.01)
    write(library, "/a")
    until(library, "/a", "TAPE")


def test_sizes_are_refused_at_close(make: Make, tmp_path: Path) -> None:
    library = make(largest=5)
    for data in (b"", b"123456"):
        with pytest.raises(BadSize):
            write(library, "/a", data)
    assert list((tmp_path / "disk").iterdir()) == []
    assert library.locality("/a")[0] is None


def test_a_file_on_tape_is_not_replaced(make: Make) -> None:
    library = make()
    write(library, "/a")
    until(library, "/a", "DISK_AND_TAPE")
    with pytest.raises(Exists):
        library.writer("/a", 4)


def test_a_full_buffer_evicts_what_is_on_tape_and_else_refuses(make: Make) -> None:
    library = make(buffer=10)
    write(library, "/a", b"12345678")
    until(library, "/a", "DISK_AND_TAPE")
    write(library, "/b", b"12345678")
    assert library.locality("/a")[0] == "TAPE"
    with pytest.raises(BufferFull):
        library.writer("/c", 11)


def test_a_write_that_breaks_off_leaves_nothing(make: Make, tmp_path: Path) -> None:
    library = make()
    with library.writer("/a", 4) as writer:
        writer.write(b"da")
    assert library.locality("/a")[0] is None
    assert list((tmp_path / "disk").iterdir()) == []


def test_what_counts_as_archived_outlasts_a_power_cut(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file, its folder and the folder of the volumes are written down before the catalogue says so, and it too."""
    library = make()
    (level,) = library.catalogue._db.execute("PRAGMA synchronous").fetchone()
    assert level == 2, "FULL: no commit is taken back"
    done: list[Path | str] = []
    sync, archived = os.fsync, library.catalogue.archived

    def synced(opened: int) -> None:
        done.append(Path(f"/proc/self/fd/{opened}").readlink())
        sync(opened)

    def noted(*arguments: Any) -> None:
        done.append("archived")
        archived(*arguments)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(library.catalogue, "archived", noted)
    write(library, "/a")
    until(library, "/a", "DISK_AND_TAPE")
    (file,) = (each for each in (tmp_path / "tape").rglob("*") if each.is_file())
    assert done[: done.index("archived")][-3:] == [file, file.parent, tmp_path / "tape"]


def test_volumes_fill_up(make: Make) -> None:
    library = make(volume=10, drives=1)
    for name in ("/a", "/b"):
        write(library, name, b"12345678")
        until(library, name, "DISK_AND_TAPE")
    assert [name for name, _, _ in library.catalogue.volumes()] == ["V00001", "V00002"]


def test_damage_on_tape_is_noticed_at_recall(make: Make, tmp_path: Path) -> None:
    library = make()
    for name in ("/a", "/b"):
        write(library, name, b"content")
        until(library, name, "DISK_AND_TAPE")
    library.release(["/a", "/b"])
    entries = {name: library.catalogue.entry(name) for name in ("/a", "/b")}
    places = {n: library.tape_file(str(e.volume), e.sequence or 0) for n, e in entries.items() if e is not None}
    places["/a"].write_bytes(b"c0ntent")
    places["/b"].unlink()
    request = library.stage([("/a", 60), ("/b", 60)])
    end = time.monotonic() + 10
    while any(f.state not in ("FAILED", "COMPLETED") for f in library.catalogue.stage_files(request)):
        assert time.monotonic() < end
        time.sleep(0.005)
    errors = {file.path: str(file.error) for file in library.catalogue.stage_files(request)}
    assert "checksum on tape" in errors["/a"]
    assert "lost on tape" in errors["/b"]


def test_what_was_queued_is_done_after_a_restart(make: Make, tmp_path: Path) -> None:
    (tmp_path / "faults.json").write_text(json.dumps([{"effect": "never-archived", "match": "/a"}]))
    library = make()
    write(library, "/a")
    time.sleep(0.05)
    assert library.locality("/a")[0] == "DISK"
    (tmp_path / "faults.json").unlink()
    library = make()
    until(library, "/a", "DISK_AND_TAPE")
    entry = library.catalogue.entry("/a")
    assert entry is not None
    assert entry.adler32 == f"{zlib.adler32(b'data'):08x}"


def test_faults_are_used_up_and_read_again(tmp_path: Path) -> None:
    faults = Faults(tmp_path / "faults.json")
    assert faults.apply("lost", "/a") is None
    faults.path.write_text(json.dumps([{"effect": "lost", "match": "/a", "times": 1}, {"effect": "nonsense"}]))
    assert faults.apply("lost", "/b") is None
    assert faults.apply("lost", "/a/b") is not None
    assert faults.apply("lost", "/a/b") is None
    faults.path.write_text("not JSON, and longer than before, so that the change is seen")
    assert faults.apply("lost", "/a") is None


@pytest.mark.parametrize(
    ("target", "path"),
    [("//jobs", "/jobs"), ("/", "/"), ("//", "/"), ("/a%20b?x=//y", "/a b"), ("///eos//a", "/eos/a")],
)
def test_repeated_slashes_of_a_request_are_merged(target: str, path: str) -> None:
    assert split_target(target)[0] == path
