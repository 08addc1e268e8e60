"""Events that are written as most are come to the same by the short way; all others are left to the long one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from perdura.errors import Rejected
from perdura.premis.model import Event
from perdura.premis.xml import V2, V3, canonical, event_from, event_xml, parse, received
from perdura.premis.xml.usual import usual

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
IDENTIFIER = "<p:eventIdentifier><p:eventIdentifierType>UUID</p:eventIdentifierType>\n"
IDENTIFIER += "<p:eventIdentifierValue> 1b4e28ba2fa111d2883f0016d3cca427 </p:eventIdentifierValue></p:eventIdentifier>"
KIND = "<p:eventType>fixity check</p:eventType>"
DATE = "<p:eventDateTime>2024-03-05T16:40:30Z</p:eventDateTime>"
DETAIL = "<p:eventDetail>100 %s \"done\" 'so'</p:eventDetail>"
WRAPPED = "<p:eventDetailInformation> <p:eventDetail>Wrapped</p:eventDetail> </p:eventDetailInformation>"
NOTE = "<p:eventOutcomeDetail><p:eventOutcomeDetailNote>noted</p:eventOutcomeDetailNote></p:eventOutcomeDetail>"
OUTCOME = f"<p:eventOutcomeInformation><p:eventOutcome>success</p:eventOutcome>{NOTE}</p:eventOutcomeInformation>"


def _link(kind: str, value: str = "v", more: str = "") -> str:
    name = f"p:linking{kind}Identifier"
    return f"<{name}><{name}Type>t</{name}Type><{name}Value>{value}</{name}Value>{more}</{name}>"


AGENT, OBJECT = _link("Agent"), _link("Object", "ark:/67531/coda1")
ROLE = _link("Agent", more="<p:linkingAgentRole>implementer</p:linkingAgentRole>")


def _event(*parts: str, namespace: str = V2, prefix: str = "premis:", between: str = "\n", more: str = "") -> bytes:
    declared = f'xmlns:{prefix[:-1]}="{namespace}"' if prefix else f'xmlns="{namespace}"'
    text = between.join((f"<p:event {declared}{more}>", *parts, "</p:event>"))
    return text.replace("<p:", f"<{prefix}").replace("</p:", f"</{prefix}").encode()


def _both(document: bytes) -> tuple[object, object]:
    """What the short way and the long way come to."""
    element = parse(document)

    def outcome(short: bool) -> object:
        try:
            event = received(element, now=NOW)[0] if short else event_from(element, now=NOW)
        except Rejected as error:
            return type(error), error.message
        return event

    return outcome(short=True), outcome(short=False)


@pytest.mark.parametrize(
    "document",
    [
        _event(IDENTIFIER, KIND, DATE, DETAIL, OUTCOME, AGENT, OBJECT),
        _event(IDENTIFIER, KIND, DATE, WRAPPED, OUTCOME, AGENT, ROLE, OBJECT, OBJECT, namespace=V3),
        _event(IDENTIFIER, KIND, DATE, DETAIL, OUTCOME, AGENT, OBJECT, prefix=""),
        _event(IDENTIFIER, KIND, DATE, between=""),
        _event(IDENTIFIER, KIND, DATE, OUTCOME.replace(NOTE, ""), OBJECT),
        _event(IDENTIFIER, "<p:eventType/>", DATE, "<p:eventDetail> </p:eventDetail>", ROLE),
        _event(IDENTIFIER, KIND, "<p:eventDateTime>20240305</p:eventDateTime>", namespace=V3),
        _event(IDENTIFIER, KIND, DATE, more=' xmlns="http://www.w3.org/2005/Atom" xmlns:x="urn:x"'),
    ],
)
def test_what_most_senders_write_is_read_and_rendered_as_the_reader_and_the_writer_do(document: bytes) -> None:
    element = parse(document)
    event, sent, shown = received(element, now=NOW)
    assert shown is not None
    assert event == event_from(element, now=NOW)
    assert shown == event_xml(event)
    assert sent == canonical(element)


@pytest.mark.parametrize(
    "document",
    [
        _event(IDENTIFIER, KIND, DATE, prefix="p:"),
        _event(IDENTIFIER, KIND, DATE, namespace="http://www.loc.gov/standards/premis/v1"),
        _event(IDENTIFIER, KIND, DATE, more=' version="2.2"'),
        _event(IDENTIFIER.replace("1b4e", "zzzz"), KIND, DATE),
        _event(KIND, DATE),
        _event(IDENTIFIER, DATE, KIND),
        _event(IDENTIFIER, KIND, "<p:eventDateTime>2011/2012</p:eventDateTime>"),
        _event(IDENTIFIER, KIND, "<!-- aside -->", DATE),
        _event(IDENTIFIER, KIND, DATE, DETAIL, DETAIL),
        _event(IDENTIFIER, KIND, DATE, "<p:eventDetail>a &amp; b</p:eventDetail>"),
        _event(IDENTIFIER, KIND, DATE, "<p:eventDetail>a &gt; b</p:eventDetail>"),
        _event(IDENTIFIER, KIND, DATE, "<p:eventDetail>a&#13;b</p:eventDetail>"),
        _event(IDENTIFIER, KIND, DATE, "<p:eventDetail lang='en'>a</p:eventDetail>"),
        _event(IDENTIFIER, KIND, DATE, f"<p:eventDetail>{'x' * 20_000}</p:eventDetail>"),
        _event(IDENTIFIER, KIND, DATE, OUTCOME, OUTCOME),
        _event(IDENTIFIER, KIND, DATE, OUTCOME.replace("success", "")),
        _event(IDENTIFIER, KIND, DATE, OUTCOME.replace(NOTE, NOTE + NOTE)),
        _event(IDENTIFIER, KIND, DATE, OUTCOME.replace(NOTE, "loose")),
        _event(IDENTIFIER, KIND, DATE, OBJECT, AGENT),
        _event(IDENTIFIER, KIND, DATE, _link("Agent", more="<p:linkingAgentRole>a</p:linkingAgentRole>" * 2)),
        _event(IDENTIFIER, KIND, DATE, "loose"),
        _event(IDENTIFIER, KIND, DATE, "<p:other/>"),
        _event(IDENTIFIER, KIND.replace("p:eventType>", "q:eventType>"), DATE, more=f' xmlns:q="{V3}"'),
    ],
)
def test_what_is_written_otherwise_is_left_to_the_reader(document: bytes) -> None:
    assert usual(canonical(parse(document)), now=NOW) is None
    ours, theirs = _both(document)
    assert isinstance(ours, Event)
    if "eventIdentifierValue> 1b4e" in document.decode():
        assert ours == theirs


@pytest.mark.parametrize(
    "document",
    [
        _event(IDENTIFIER, KIND),
        _event(IDENTIFIER, KIND, "<p:eventDateTime></p:eventDateTime>"),
        _event(IDENTIFIER, KIND, "<p:eventDateTime>yesterday</p:eventDateTime>"),
        _event(IDENTIFIER, KIND, DATE, _link("Object", " ")),
        _event(IDENTIFIER, KIND, DATE, namespace="urn:other"),
    ],
)
def test_what_is_wrong_is_refused_in_the_same_words(document: bytes) -> None:
    ours, theirs = _both(document)
    assert isinstance(ours, tuple)
    assert ours == theirs


_ANY = [IDENTIFIER, KIND, DATE, DETAIL, WRAPPED, OUTCOME, AGENT, ROLE, OBJECT]
_PARTS = st.lists(st.sampled_from([*_ANY, _link("Agent", ""), "<p:x/>"]), max_size=9)
_CHARACTERS = st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
_TEXTS = st.text(_CHARACTERS | st.sampled_from("\t\n\r%s\\{}&<"), max_size=20)


@given(_PARTS, st.booleans(), st.sampled_from([V2, V3]), st.sampled_from(["premis:", ""]), _TEXTS, _TEXTS)
@settings(max_examples=300)
def test_both_ways_come_to_the_same_whatever_is_written(
    parts: list[str], in_order: bool, namespace: str, prefix: str, detail: str, value: str
) -> None:
    if in_order:
        kept = sorted({*parts, IDENTIFIER, KIND, DATE} & {*_ANY}, key=_ANY.index)
        parts = [part for part in kept if part != WRAPPED or DETAIL not in kept]
    element = parse(_event(*parts, namespace=namespace, prefix=prefix))
    for name, text in (("eventDetail", detail), ("linkingObjectIdentifierValue", value)):
        for found in element.iter(f"{{{namespace}}}{name}"):
            found.text = text
    document = etree.tostring(element)
    ours, theirs = _both(document)
    if IDENTIFIER in parts:
        assert ours == theirs
    shown = usual(canonical(parse(document)), now=NOW) if isinstance(theirs, Event) else None
    if shown is not None:
        assert shown[1] == event_xml(shown[0])


def test_canonical_xml_keeps_every_element_in_its_namespace() -> None:
    document = _event(IDENTIFIER, KIND, DATE, AGENT, OBJECT, prefix="").decode()
    wrapped = parse(f'<entry xmlns="http://www.w3.org/2005/Atom"><content>{document}</content></entry>'.encode())
    sent = canonical(wrapped[0][0])
    assert [each.tag for each in parse(sent.encode()).iter()] == [each.tag for each in parse(document.encode()).iter()]
    assert sent == canonical(parse(document.encode()))


def test_canonical_xml_keeps_elements_without_a_namespace() -> None:
    held = '<p:eventDetailExtension><x xmlns="">y</x></p:eventDetailExtension>'
    extension = f"<p:eventDetailInformation>{held}</p:eventDetailInformation>"
    element = parse(
        _event(IDENTIFIER, KIND, DATE, extension, namespace=V3, more=' xmlns="http://www.w3.org/2005/Atom"')
    )
    assert '<x xmlns="">y</x>' in canonical(element)
