"""Writing an object over several processes: what is left open, what is given up, and how much memory it takes."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from perdura.errors import NotStored, StoreUnavailable
from perdura.storage import kept_open
from perdura.storage.kept_open import KeptOpenWriter
from perdura.storage.memory import MemoryStore

PART = 1000
CONTENT = bytes(range(250)) * 20


@pytest.fixture(autouse=True)
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_open, "_SMALLEST_PART", PART)


def written(writer: KeptOpenWriter, content: bytes) -> None:
    while content:
        piece, content = content[: writer.room], content[writer.room :]
        writer.write(piece)


@pytest.mark.parametrize(("memory", "at_once"), [(10 * PART, 2), (2 * PART, 1), (PART, 0)])
def test_no_more_parts_are_under_way_than_memory_allows(
    monkeypatch: pytest.MonkeyPatch, memory: int, at_once: int
) -> None:
    monkeypatch.setattr(kept_open, "_MEMORY", memory)
    store = MemoryStore()
    lock, under_way, most = threading.Lock(), 0, 0
    put_part = store.uploads.put_part

    def slow(*arguments: Any) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.01)
        put_part(*arguments)
        with lock:
            under_way -= 1

    monkeypatch.setattr(store.uploads, "put_part", slow)
    with KeptOpenWriter(store, "b", "k", size=len(CONTENT)) as writer:
        written(writer, CONTENT)
        if at_once == 0:
            assert under_way == 0, "a part that alone fills the memory is waited for"
        info = writer.finish()
    assert store.read(info.ref) == CONTENT
    assert most == max(at_once, 1)


def test_a_resumed_upload_is_kept_when_the_store_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    with KeptOpenWriter(store, "b", "k", size=len(CONTENT)) as writer:
        written(writer, CONTENT[: 2 * PART])
        upload = writer.put_down()
    with (
        pytest.raises(StoreUnavailable),
        KeptOpenWriter(store, "b", "k", size=len(CONTENT), resumed=upload, position=2 * PART),
    ):
        raise StoreUnavailable("away")
    with KeptOpenWriter(store, "b", "k", size=len(CONTENT), resumed=upload, position=2 * PART) as writer:
        written(writer, CONTENT[2 * PART :])
        assert store.read(writer.finish().ref) == CONTENT


def test_what_is_left_without_a_word_is_given_up() -> None:
    store = MemoryStore()
    with KeptOpenWriter(store, "b", "k", size=len(CONTENT)) as writer:
        written(writer, CONTENT)
    assert store.uploads._parts == {}
    assert list(store.list("b", "")) == []


@pytest.mark.parametrize(("resumed", "error"), [(False, StoreUnavailable), (True, NotStored)])
def test_an_upload_whose_completion_was_not_answered_is_gone(
    monkeypatch: pytest.MonkeyPatch, resumed: bool, error: type[Exception]
) -> None:
    store = MemoryStore()
    complete = store.uploads.complete

    def unanswered(*arguments: Any) -> Any:
        complete(*arguments)
        raise NotStored("asked again, as the answer was lost")

    monkeypatch.setattr(store.uploads, "complete", unanswered)
    upload, position = None, 0
    if resumed:
        with KeptOpenWriter(store, "b", "k", size=len(CONTENT)) as writer:
            written(writer, CONTENT[:PART])
            upload, position = writer.put_down(), PART
    with KeptOpenWriter(store, "b", "k", size=len(CONTENT), resumed=upload, position=position) as writer:
        written(writer, CONTENT[position:])
        with pytest.raises(error):
            writer.finish()
