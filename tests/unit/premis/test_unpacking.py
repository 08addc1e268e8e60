"""What a batch holds is read in parts, and comes to what reading it whole does."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdura.premis.json_form import BadJson
from perdura.premis.service import unpacking
from perdura.premis.service.unpacking import entries, items, lines, root_name
from perdura.premis.xml.usual_atom import UsualEvent

LONGEST = 100_000
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@pytest.fixture(autouse=True, scope="module")
def small_pieces() -> object:
    """Every value is read in several pieces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpacking, "PIECE", 3)
        yield


@given(st.lists(VALUES, max_size=8), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_the_values_of_a_list_are_those_that_it_holds(values: list[object], indent: object, ascii_: bool) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=ascii_)  # type: ignore[arg-type]
    assert list(items(io.BytesIO(f" {text}\n".encode()), LONGEST)) == values


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b"[1",
        b"[1,",
        b"[1,]",
        b"[,1]",
        b"[1 2]",
        b"[1]]",
        b'["a]',
        b"[nul]",
        b"{}",
        b'["\xff"]',
        b'["\xc3',
        b"[" * 100_000,
    ],
)
def test_a_list_that_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(BadJson):
        list(items(io.BytesIO(body), LONGEST))


def test_a_value_that_is_too_long_is_refused_before_all_of_it_is_read() -> None:
    file = io.BytesIO(b'["' + b"x" * 50 * LONGEST)
    with pytest.raises(BadJson, match="longer than"):
        list(items(file, LONGEST))
    assert file.tell() < 5 * LONGEST


def test_lines_are_bounded_and_blank_ones_left_out() -> None:
    assert list(lines(io.BytesIO(b"\n{}\n  \n[]"), 10)) == [b"{}\n", b"[]"]
    with pytest.raises(BadJson, match="longer than"):
        list(lines(io.BytesIO(b"x" * 11), 10))


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"<feed>", b"feed"),
        (b"\xef\xbb\xbf\n<?xml version='1.0'?>\n<!-- <feed> --><a:premis x='y'/>", b"premis"),
        (b"<feed/>", b"feed"),
        (b"<!DOCTYPE feed><feed>", b"!DOCTYPE"),
        (b"<!-- never ends", b""),
        (b"", b""),
        (b"<", b""),
        (b"{}", b""),
    ],
)
def test_the_root_of_a_document_is_known_by_its_head(head: bytes, name: bytes) -> None:
    assert root_name(head) == name


@pytest.mark.parametrize("wrap", [lambda body: body, lambda body: b"\n <?xml version='1.0'?>" + body])
def test_the_entries_of_a_feed_come_one_by_one(wrap: Callable[[bytes], bytes]) -> None:
    held = b"".join(b"<entry><id>%d</id><entry/></entry>" % number for number in range(120))
    feed = wrap(b"<feed xmlns='http://www.w3.org/2005/Atom'><id/>" + held + b"</feed>")
    found = [each for each in entries(io.BytesIO(feed)) if not isinstance(each, UsualEvent)]
    assert len(found) == 120
    names = [each.findtext("{*}id") for each in entries(io.BytesIO(feed)) if not isinstance(each, UsualEvent)]
    assert names == [str(number) for number in range(120)]
