"""The index of an AIP comes from the store in chunks that know nothing of its lines."""

from __future__ import annotations

import pytest

from perdura.packages.aip_index import lines


@pytest.mark.parametrize("chunks", [[b"one\ntwo\n"], [b"o", b"ne\nt", b"wo\n"], [b"one", b"\n", b"two"], [b"one\ntwo"]])
def test_lines_are_the_same_however_the_text_is_cut(chunks: list[bytes]) -> None:
    assert list(lines(memoryview(chunk) for chunk in chunks)) == [b"one", b"two"]


def test_an_empty_text_has_no_line_and_an_empty_line_is_one() -> None:
    assert list(lines([])) == []
    assert list(lines([b"\n\nlast"])) == [b"", b"", b"last"]
