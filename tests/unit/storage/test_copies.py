"""A copy of buckets in a folder holds every key that S3 allows, and comes back as it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdura.errors import Broken, Conflict
from perdura.storage.copies import copy_in, copy_out, file_of, listed
from perdura.storage.memory import MemoryStore
from perdura.storage.store import ObjectRef

LONG = "l" * 300
TAKEN = f".by-digest/{hashlib.sha256(LONG.encode()).hexdigest()}"
"""A key that is called as the file of another one would be."""
KEYS = ("x/data/a", "x/data/a/b", "x/data/a/b/c", "x/data/a.part", "x/./y", "a b/ä", "%41", LONG, TAKEN, ".part")


def quiet(_line: str) -> None:
    pass


def stored(*keys: str) -> MemoryStore:
    store = MemoryStore()
    for key in keys:
        store.put("bucket", key, key.encode())
    return store


def held(store: MemoryStore) -> dict[str, bytes]:
    return {info.ref.key: store.read(info.ref) for info in store.list("bucket", "")}


@pytest.mark.parametrize("first", [KEYS[:0], KEYS[2:3], KEYS[:1], KEYS[1:]])
def test_keys_that_are_folders_of_others_come_back_whichever_was_copied_first(
    tmp_path: Path, first: tuple[str, ...]
) -> None:
    copy_out(stored(*first), ["bucket"], tmp_path, quiet)
    assert copy_out(stored(*KEYS), ["bucket"], tmp_path, quiet) == len(KEYS)
    assert len({each.file for each in listed(tmp_path)}) == len(KEYS)
    back = MemoryStore()
    copy_in(back, tmp_path, quiet)
    assert held(back) == {key: key.encode() for key in KEYS}


def test_a_copy_that_broke_off_is_taken_for_no_object(tmp_path: Path) -> None:
    class Dying(MemoryStore):
        def stream(self, ref: ObjectRef, *_: object, **__: object) -> Iterator[memoryview]:  # type: ignore[override]
            yield memoryview(b"tru")
            if ref.key == "a":
                raise KeyboardInterrupt

    store = Dying()
    store.put("bucket", "a.part", b"tru")
    copy_out(store, ["bucket"], tmp_path, quiet)
    store.put("bucket", "a", b"another")
    with pytest.raises(KeyboardInterrupt):
        copy_out(store, ["bucket"], tmp_path, quiet)
    (other,) = (each for each in listed(tmp_path) if each.key == "a.part")
    assert (tmp_path / other.file).read_bytes() == b"tru"
    assert [path.name for path in (tmp_path / "bucket").iterdir()] == ["a.part"]


def test_what_is_unchanged_is_not_read_again(tmp_path: Path) -> None:
    store = stored("a", "a/b")
    copy_out(store, ["bucket"], tmp_path, quiet)
    for each in listed(tmp_path):
        (tmp_path / each.file).write_bytes(b"marked")
    copy_out(store, ["bucket"], tmp_path, quiet)
    assert {(tmp_path / each.file).read_bytes() for each in listed(tmp_path)} == {b"marked"}


def test_two_copies_into_one_folder_exclude_each_other(tmp_path: Path) -> None:
    def again(_line: str) -> None:
        with pytest.raises(Conflict, match="Another backup"):
            copy_out(stored("b"), ["bucket"], tmp_path, quiet)

    copy_out(stored("a"), ["bucket"], tmp_path, again)
    assert [each.key for each in listed(tmp_path)] == ["a"]


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "bucket").write_bytes(b"in the way")
    with pytest.raises(Broken, match="cannot be written"):
        copy_out(stored("a"), ["bucket"], tmp_path, quiet)


def test_a_list_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    copy_out(stored("a"), ["bucket"], tmp_path / ".", quiet)
    line = json.loads((tmp_path / "objects.jsonl").read_text())
    (tmp_path / "objects.jsonl").write_text(json.dumps({**line, "file": "../a"}) + "\n")
    with pytest.raises(Broken, match="outside"):
        copy_in(MemoryStore(), tmp_path, quiet)


def test_only_names_that_a_file_cannot_have_are_digests() -> None:
    assert file_of("bucket", "a b/ä") == "bucket/a b/%C3%A4"
    assert file_of("bucket", "a//b").startswith("bucket/.by-digest/")
    assert file_of("bucket", TAKEN) != file_of("bucket", LONG)
