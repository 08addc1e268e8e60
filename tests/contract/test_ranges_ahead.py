"""Long streams of one object, asked for in ranges ahead of their use, against a server that misbehaves when told to."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from perdura.errors import ObjectChanged, StoreUnavailable
from perdura.storage import ranges
from perdura.storage.ranges import RangeReader
from perdura.storage.store import ObjectRef

CONTENT = random.Random(3).randbytes(1_000_000)
RANGE = 300_000
REF = ObjectRef("b", "k", etag="first")


@dataclass
class Origin:
    """What the server does: of `broken` ranges half is sent, `refused` get a status; once each, by their first byte."""

    port: int = 0
    etag: str = "first"
    broken: set[int] = field(default_factory=set)
    refused: dict[int, int] = field(default_factory=dict)
    away: bool = False
    asked: list[tuple[int, int]] = field(default_factory=list)

    def reader(self) -> RangeReader:
        """A reader of its one object."""
        return RangeReader(lambda _ref, _seconds: f"http://127.0.0.1:{self.port}/b/k?signed=1", pause=0.001)


@pytest.fixture
def origin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Origin]:
    monkeypatch.setattr(ranges, "AHEAD", RANGE)
    made = Origin()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            first, last = (int(each) for each in self.headers["Range"].removeprefix("bytes=").split("-"))
            made.asked.append((first, last + 1))
            if self.headers["If-Match"] != f'"{made.etag}"':
                status = 412
            elif made.away:
                status = 503
            else:
                status = 416 if first >= len(CONTENT) else made.refused.pop(first, 206)
            body = CONTENT[first : last + 1] if status == 206 else b""
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{made.etag}"')
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(CONTENT)}")
            self.end_headers()
            if first in made.broken:
                made.broken.remove(first)
                body, self.close_connection = body[: len(body) // 2], True
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients go as they please
    made.port = server.server_port
    serving = threading.Thread(target=server.serve_forever, args=(0.01,))
    serving.start()
    yield made
    server.shutdown()
    serving.join()
    server.server_close()


def _read(reader: RangeReader, offset: int, length: int) -> bytes:
    try:
        return b"".join(map(bytes, reader.stream(REF, offset, length, 10_000)))
    finally:
        reader.close()


@pytest.mark.parametrize(("offset", "length"), [(0, 1_000_000), (7, 600_000), (7, 600_001), (1, 2 * RANGE), (5, 299)])
def test_a_long_stream_gives_the_bytes_of_its_range(origin: Origin, offset: int, length: int) -> None:
    assert _read(origin.reader(), offset, length) == CONTENT[offset : offset + length]
    assert sorted(origin.asked)[0][0] == offset
    assert max(end for _, end in origin.asked) == offset + length
    assert sum(end - start for start, end in origin.asked) == length


def test_the_next_range_is_asked_for_before_the_first_one_is_used(origin: Origin) -> None:
    reader = origin.reader()
    stream = reader.stream(REF, 0, 1_000_000, 10_000)
    next(stream)
    assert origin.asked == [(0, RANGE), (RANGE, 2 * RANGE)]
    stream.close()  # type: ignore[attr-defined]
    reader.close()


def test_a_range_that_breaks_off_is_continued_where_it_broke(origin: Origin) -> None:
    origin.broken = {0, RANGE, 3 * RANGE}
    assert _read(origin.reader(), 0, len(CONTENT)) == CONTENT


def test_a_range_that_cannot_be_had_ahead_is_asked_for_again_when_it_is_needed(origin: Origin) -> None:
    origin.refused = {RANGE: 503, 2 * RANGE: 500}
    assert _read(origin.reader(), 0, len(CONTENT)) == CONTENT
    assert [start for start, _ in origin.asked].count(RANGE) == 2


def test_what_was_replaced_meanwhile_is_noticed_where_the_new_bytes_would_begin(origin: Origin) -> None:
    reader = origin.reader()
    stream = reader.stream(REF, 0, len(CONTENT), 10_000)
    next(stream)
    origin.etag = "second"
    for _ in range(2 * RANGE // 10_000 - 1):
        next(stream)  # of both that were asked for while it was the first
    with pytest.raises(ObjectChanged):
        next(stream)
    reader.close()


def test_an_object_that_ends_early_ends_the_stream(origin: Origin) -> None:
    assert _read(origin.reader(), 600_000, 50_000_000) == CONTENT[600_000:]
    assert len(origin.asked) <= 4


def test_a_store_that_stays_away_is_reported(origin: Origin) -> None:
    origin.away = True
    with pytest.raises(StoreUnavailable):
        _read(origin.reader(), 0, len(CONTENT))
