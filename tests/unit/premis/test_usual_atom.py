"""Entries that are written as most are come to the same without a tree; whatever differs is left to the XML parser."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdura.errors import Rejected
from perdura.premis.model import Event
from perdura.premis.service import unpacking
from perdura.premis.xml import V2, V3, events_in, parse, received, usual_atom
from perdura.premis.xml.names import ATOM
from perdura.premis.xml.usual_atom import UsualEvent, UsualFeed, usual_entry

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
ENTRY = f"""<entry xmlns="{ATOM}">
  <title>é</title><id>x</id>
  <updated>2024-03-05T16:40:30Z</updated><author><name>benchmark</name></author><content type="application/xml">
<premis:event xmlns:premis="{V2}"><premis:eventIdentifier>
  <premis:eventIdentifierType>UUID</premis:eventIdentifierType>
  <premis:eventIdentifierValue>1b4e28ba2fa111d2883f0016d3cca427</premis:eventIdentifierValue></premis:eventIdentifier>
  <premis:eventType>fixity check</premis:eventType><premis:eventDateTime>2024-03-05T16:40:30Z</premis:eventDateTime>
  <premis:eventDetail>"100 %" 'é' 🎉</premis:eventDetail>
  <premis:linkingObjectIdentifier><premis:linkingObjectIdentifierType>t</premis:linkingObjectIdentifierType>
  <premis:linkingObjectIdentifierValue>ark:/67531/coda1</premis:linkingObjectIdentifierValue>
  </premis:linkingObjectIdentifier></premis:event></content></entry>"""
USUAL = [
    ENTRY,
    ENTRY.replace(f' xmlns="{ATOM}"', "", 1),
    ENTRY.replace(V2, V3).replace("Detail>", "DetailInformation><premis:eventDetail>", 1).replace(
        "</premis:eventDetail>", "</premis:eventDetail></premis:eventDetailInformation>"
    ),
    ENTRY.replace("<title>é</title>", "<title/>"),
    "\n \t" + ENTRY.replace("<updated>", "<published>p</published><updated>"),
]  # fmt: skip
OTHER = [
    ENTRY.replace("benchmark", "a &amp; b"),
    ENTRY.replace("100 %", "1 &lt; 2"),
    ENTRY.replace("100 %", "1 > 2"),
    ENTRY.replace("100 %", "one\rtwo"),
    ENTRY.replace("100 %", "<![CDATA[<]]>"),
    ENTRY.replace("<id>x</id>", "<id>x</id><!-- <entry> -->"),
    ENTRY.replace("<id>x</id>", '<link href="x"/>'),
    ENTRY.replace("<id>", '<id xml:lang="en">'),
    ENTRY.replace("<premis:event ", '<premis:event xmlns:x="urn:x" '),
    ENTRY.replace("<premis:event ", '<premis:event version="2.2" '),
    ENTRY.replace(V2, "urn:none"),
    ENTRY.replace(V2, "http://www.loc.gov/standards/premis/v1"),
    ENTRY.replace("premis:", "p:").replace(":premis=", ":p="),
    ENTRY.replace("premis:", "").replace("xmlns:premis=", "xmlns="),
    ENTRY.replace("<entry ", '<entry xmlns:x="urn:x" '),
    ENTRY.replace("<content ", "<content src='y' "),
    ENTRY.replace("</content>", "</content><rights>r</rights>"),
    ENTRY.replace("1b4e28ba2fa111d2883f0016d3cca427", "TEMP"),
    ENTRY.replace("2024-03-05T16:40:30Z</premis", "yesterday</premis"),
    ENTRY.replace("100 %", "x" * 20_000),
    "<id>between</id>" + ENTRY,
]


def _feed(*entries: str, begin: str = f'<feed xmlns="{ATOM}"><title>t</title>\n', end: str = "</feed>\n") -> bytes:
    return "".join((begin, *entries, end)).encode()


def _outcome(kept: tuple[Event, str, str | None]) -> object:
    event, sent, shown = kept
    if event.identifier_value not in sent:  # what is no identifier is replaced by a new one, each time
        return sent, shown is None
    return event, sent, shown


def _all(data: bytes, *, by_tree: bool) -> list[object]:
    """What a feed comes to, entry by entry; an error is what ends it."""
    file = io.BytesIO(data)
    outcomes: list[object] = []
    try:
        for each in unpacking._elements(file) if by_tree else unpacking.entries(file):
            try:
                if isinstance(each, UsualEvent):
                    outcomes.append(_outcome(each.read(now=NOW)))
                else:
                    outcomes.append(_outcome(received(*events_in(each), now=NOW)))
            except Rejected as error:
                outcomes.append(error.message)
    except Rejected as error:
        outcomes.append(type(error))
    return outcomes


@pytest.fixture(autouse=True, params=[7, 2**17], scope="module")
def pieces(request: pytest.FixtureRequest) -> Iterator[None]:
    """Feeds are read in small and in large pieces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(usual_atom, "PIECE", request.param)
        yield


@pytest.mark.parametrize("entry", USUAL)
def test_usual_entries_are_read_without_a_tree(entry: str) -> None:
    feed = _feed(entry, entry)
    assert len(list(UsualFeed(io.BytesIO(feed)))) == 2
    assert _all(feed, by_tree=False) == _all(feed, by_tree=True)
    assert usual_entry(b'<?xml version="1.0"?>\n' + ENTRY.encode() + b"\n") is not None


@pytest.mark.parametrize("entry", OTHER)
def test_whatever_differs_is_left_to_the_parser_from_there_on(entry: str) -> None:
    feed = _feed(ENTRY, entry, ENTRY)
    assert _all(feed, by_tree=False) == _all(feed, by_tree=True)


@given(st.lists(st.sampled_from(USUAL + OTHER), max_size=6))
def test_any_feed_comes_to_what_its_tree_does(entries: list[str]) -> None:
    feed = _feed(*entries)
    assert _all(feed, by_tree=False) == _all(feed, by_tree=True)


@given(
    st.integers(0, len(ENTRY) * 2),
    st.integers(0, 12),
    st.binary(max_size=3) | st.sampled_from(list(b"<>&/\r\0\x1f\xff")),
)
@settings(max_examples=400)
def test_a_feed_that_is_broken_anywhere_comes_to_what_its_tree_does(at: int, gone: int, put: bytes | int) -> None:
    feed = _feed(ENTRY, ENTRY)
    broken = feed[:at] + (bytes([put]) if isinstance(put, int) else put) + feed[at + gone :]
    assert _all(broken, by_tree=False) == _all(broken, by_tree=True)


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("", ""),
        (f"<feed xmlns='{ATOM}'>", ""),
        (f"<feed xmlns='{ATOM}'>", "</fed>"),
        (f"<feed xmlns='{ATOM}'>", "</feed><feed/>"),
        (f"<feed xmlns='{ATOM}'>", "loose</feed>"),
        (f'<?xml version="1.0" encoding="UTF-8"?>\n<feed xmlns="{ATOM}">', "</feed>"),
        (f'<?xml version="1.0" encoding="latin-1"?>\n<feed xmlns="{ATOM}">', "</feed>"),
        ("<feed>", "</feed>"),
        (f'\v<feed xmlns="{ATOM}">', "</feed>"),
        (f'<feed xmlns="{ATOM}" xmlns:x="urn:x">', "</feed>"),
        (f'<feed xmlns="{ATOM}" xml:lang="en">', "</feed>"),
        (f'<premis xmlns="{V3}">', "</premis>"),
    ],
)
def test_the_beginning_and_the_end_of_a_feed_count(begin: str, end: str) -> None:
    feed = _feed(ENTRY, ENTRY, begin=begin, end=end)
    assert _all(feed, by_tree=False) == _all(feed, by_tree=True)


@pytest.mark.parametrize("entry", [each.strip() for each in USUAL + OTHER])
def test_an_entry_alone_comes_to_what_its_tree_does(entry: str) -> None:
    def outcome(read: Callable[[], tuple[Event, str, str | None]]) -> object:
        try:
            return _outcome(read())
        except Rejected as error:
            return error.message

    found = usual_entry(entry.encode())
    if found is not None:
        expected = outcome(lambda: received(*events_in(parse(entry.encode())), now=NOW))
        assert outcome(lambda: found.read(now=NOW)) == expected


def test_an_error_is_told_with_the_line_where_it_is() -> None:
    feed = _feed(ENTRY, ENTRY, end="\n\n</fed>")
    line = feed.count(b"\n") + 1
    with pytest.raises(Rejected, match=f"line {line}"):
        list(unpacking.entries(io.BytesIO(feed)))


def test_the_identifier_is_the_one_sent() -> None:
    found = usual_entry(ENTRY.encode())
    assert found is not None
    assert found.read(now=NOW)[0].id == UUID("1b4e28ba2fa111d2883f0016d3cca427")
