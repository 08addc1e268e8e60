"""Ranged reads from a store that breaks off, and whose signatures run out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import accumulate
from urllib.parse import urlsplit

import pytest

from perdura.errors import Broken
from perdura.storage.ranges import RangeReader
from perdura.storage.store import ObjectRef
from tests.upstreams.server import Reply, Upstream

REF = ObjectRef("b", "k")
CHUNK = 4096
BODY = bytes(range(256)) * 200
WHOLE = Reply(BODY, headers={"ETag": '"e"'}, ranges=True)
EXPIRED = Reply(b"<Error><Code>ExpiredToken</Code></Error>", 400)


@pytest.fixture
def ranges(upstream: Upstream) -> Iterator[RangeReader]:
    reader = RangeReader(lambda ref, seconds: f"{upstream.base}/{ref.key}?until={seconds}", pause=0)
    yield reader
    reader.close()


def test_a_reading_that_broke_off_is_back_at_whole_chunks_with_the_second_piece(
    upstream: Upstream, ranges: RangeReader
) -> None:
    upstream.add("/k", Reply(BODY, headers={"ETag": '"e"'}, ranges=True, cut_at=CHUNK + 1000), WHOLE)
    pieces = [bytes(piece) for piece in ranges.stream(REF, 0, None, CHUNK)]
    assert b"".join(pieces) == BODY
    ends = list(accumulate(map(len, pieces)))
    assert ends[:3] == [CHUNK, CHUNK + 1000, 2 * CHUNK]
    assert [end for end in ends[2:-1] if end % CHUNK] == []


def test_an_address_whose_credentials_ran_out_is_signed_anew(upstream: Upstream, ranges: RangeReader) -> None:
    upstream.add("/k", EXPIRED, WHOLE)
    ranges._urls[REF] = (time.monotonic() + 60, urlsplit(f"{upstream.base}/k?long-ago"))
    assert b"".join(map(bytes, ranges.stream(REF, 0, None, CHUNK))) == BODY
    assert upstream.paths() == ["/k?long-ago", "/k?until=3600"]


def test_credentials_that_are_over_at_once_are_said_so(upstream: Upstream, ranges: RangeReader) -> None:
    upstream.add("/k", EXPIRED)
    with pytest.raises(Broken):
        list(ranges.stream(REF, 0, None, CHUNK))
