"""What an AIP tells besides its own making: rights, and the producer's own PREMIS."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from lxml import etree

from perdura.ids import derived_id
from perdura.outcome import Outcome, StepState
from perdura.packages.limits import LIMITS
from perdura.packages.mets_read import MetsEvent, read_mets
from perdura.premis.model import Agent, Event, Identifier
from perdura.steps import preserve_history, preserve_import
from perdura.steps.preserve import run
from perdura.storage.memory import MemoryStore
from tests.unit.preserve.fakes import ports
from tests.unit.preserve.submissions import ARCHIVE, FILES, bag, deposit, stored, unpacked, zipped
from tests.unit.preserve.test_standards import PREMIS, schema

PRODUCERS = b"""<?xml version="1.0"?>
<premis xmlns="http://www.loc.gov/premis/v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" version="3.0">
  <object xsi:type="file">
    <objectIdentifier><objectIdentifierType>local</objectIdentifierType>
      <objectIdentifierValue>f1</objectIdentifierValue></objectIdentifier>
    <objectCharacteristics><format><formatDesignation><formatName>text</formatName></formatDesignation></format>
    </objectCharacteristics>
    <originalName>objects/readme.txt</originalName>
  </object>
  <event>
    <eventIdentifier><eventIdentifierType>local</eventIdentifierType>
      <eventIdentifierValue>e1</eventIdentifierValue></eventIdentifier>
    <eventType>capture</eventType><eventDateTime>2020-02-02T10:00:00Z</eventDateTime>
    <linkingAgentIdentifier><linkingAgentIdentifierType>local</linkingAgentIdentifierType>
      <linkingAgentIdentifierValue>scanner</linkingAgentIdentifierValue></linkingAgentIdentifier>
    <linkingObjectIdentifier><linkingObjectIdentifierType>local</linkingObjectIdentifierType>
      <linkingObjectIdentifierValue>f1</linkingObjectIdentifierValue></linkingObjectIdentifier>
  </event>
  <agent>
    <agentIdentifier><agentIdentifierType>local</agentIdentifierType>
      <agentIdentifierValue>scanner</agentIdentifierValue></agentIdentifier>
    <agentName>Flatbed scanner</agentName><agentType>hardware</agentType>
  </agent>
</premis>"""


def preserved(files: dict[str, bytes], **changes: Any) -> tuple[Outcome, etree._Element]:
    store = MemoryStore()
    archive = replace(deposit(store, zipped(files)), **changes)
    outcome = run(archive, ports(store))
    mets = etree.fromstring(unpacked(stored(store))["data/metadata/METS.xml"])
    schema().assertValid(mets)
    return outcome, mets


def texts(mets: etree._Element, name: str) -> list[str]:
    return [element.text or "" for element in mets.iter(f"{PREMIS}{name}")]


def agents(mets: etree._Element) -> dict[str | None, dict[str, str | None]]:
    """What is said of each agent, by its name."""
    return {
        agent.findtext(f"{PREMIS}agentName"): {etree.QName(child).localname: child.text for child in agent}
        for agent in mets.iter(f"{PREMIS}agent")
    }


def test_agents_are_those_of_the_log_and_nobody_is_called_software_who_may_be_a_person() -> None:
    store, at = MemoryStore(), datetime(2026, 11, 24, tzinfo=UTC)
    archive = deposit(store, zipped(bag()))
    orcid, curator = Identifier("ORCID", "0000-0002-1825-0097"), Identifier("ORCID", "0000-0001-5109-3700")
    other = Identifier("local", "0000-0001-5109-3700")
    program = Identifier("software", "perdura/0.1.0 ingest")
    earlier = [Event(derived_id("earlier", 1), "capture", at, agents=(orcid, curator, other, program))]
    known = Agent(Identifier("ORCID", curator.value), "Ada Curator", "person", ("at the library",), "2")
    asked: list[Sequence[str]] = []

    def logged(identifiers: Sequence[str]) -> list[Agent]:
        asked.append(identifiers)
        return [known]

    run(archive, ports(store, extras={"earlier_events": earlier, "known_agents": logged}))
    mets = etree.fromstring(unpacked(stored(store))["data/metadata/METS.xml"])
    schema().assertValid(mets)
    found = agents(mets)
    assert "agentType" not in found[orcid.value]
    assert "agentType" not in found[other.value]
    assert (found["Ada Curator"]["agentType"], found["Ada Curator"]["agentNote"]) == ("person", "at the library")
    assert (found[program.value]["agentType"], found[program.value]["agentVersion"]) == ("software", "0.1.0 ingest")
    assert sorted(asked[0]) == sorted([orcid.value, curator.value, other.value, program.value])


@pytest.mark.parametrize("path", ["metadata/premis.xml", "data/metadata/premis.xml"])
def test_the_producers_premis_becomes_part_of_the_history(path: str) -> None:
    files = bag({**FILES, **({path: PRODUCERS} if path.startswith("data/") else {})})
    outcome, mets = preserved({**files, path: PRODUCERS})
    event = outcome.events[0]
    assert event.type == "capture"
    assert str(ARCHIVE) in {link.value for link in event.objects}
    assert event.details == ("identifier given by the producer: e1",)
    readme = next(
        each for each in mets.iter(f"{PREMIS}object") if each.findtext(f"{PREMIS}originalName") == "data/readme.txt"
    )
    assert readme.findtext(f"{PREMIS}objectIdentifier/{PREMIS}objectIdentifierValue") in {
        link.value for link in event.objects
    }
    assert texts(mets, "eventType")[0] == "capture"
    assert "Flatbed scanner" in texts(mets, "agentName")


def test_a_deposit_cannot_take_an_identifier_of_the_log() -> None:
    taken = "0190a1b2-0000-7000-8000-00000000000e"
    files = {**bag(), "metadata/premis.xml": PRODUCERS.replace(b">e1<", f">{taken}<".encode())}
    outcome, _ = preserved(files)
    assert taken not in {str(event.id) for event in outcome.events}


@pytest.mark.parametrize("text", [b"<premis", b'<!DOCTYPE x [<!ENTITY a "b">]><premis/>', b"<other/>"])
def test_premis_that_cannot_be_read_is_kept_and_warned_of(text: bytes) -> None:
    outcome, _ = preserved({**bag(), "metadata/premis.xml": text})
    assert outcome.state is StepState.COMPLETED_WITH_WARNINGS
    assert [finding.code for finding in outcome.findings] == ["premis-not-read"]


def producers_events(count: int) -> bytes:
    """The document with that many events."""
    begin, end = PRODUCERS.index(b"  <event>"), PRODUCERS.index(b"  <agent>")
    event = PRODUCERS[begin:end]
    events = b"".join(event.replace(b">e1<", b">e%d<" % number) for number in range(count))
    return PRODUCERS[:begin] + events + PRODUCERS[end:]


@pytest.mark.parametrize("path", ["metadata/premis.xml", "data/metadata/premis.xml"])
def test_a_producers_premis_of_many_events_is_read_as_a_stream(path: str) -> None:
    text = producers_events(7_000)
    assert len(text) > LIMITS.tag_file
    files = bag({**FILES, path: text}) if path.startswith("data/") else {**bag(), path: text}
    outcome, mets = preserved(files)
    assert outcome.state is StepState.COMPLETED
    assert texts(mets, "eventType").count("capture") == 7_000
    assert sum(event.type == "capture" for event in outcome.events) == 7_000


def test_a_premis_document_beyond_its_bound_is_kept_and_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preserve_import, "LARGEST", 1000)
    outcome, _ = preserved({**bag(), "metadata/premis.xml": PRODUCERS})
    assert outcome.state is StepState.COMPLETED_WITH_WARNINGS
    assert [finding.code for finding in outcome.findings] == ["premis-not-read"]


def test_more_events_than_one_transaction_takes_are_recorded_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preserve_history, "TOGETHER", 10)
    store, recorded = MemoryStore(), list[Sequence[Event]]()
    archive = deposit(store, zipped({**bag(), "metadata/premis.xml": producers_events(2_500)}))
    outcome = run(archive, replace(ports(store), record=recorded.append))
    assert [len(batch) for batch in recorded] == [1000, 1000, 500]
    assert len({event.id for batch in recorded for event in batch}) == 2_500
    assert "capture" not in {event.type for event in outcome.events}


def test_what_the_log_has_of_the_producers_events_is_told_once() -> None:
    store = MemoryStore()
    archive = deposit(store, zipped({**bag(), "metadata/premis.xml": PRODUCERS}))
    first = run(archive, ports(store))
    known = [event for event in first.events if event.type == "capture"]
    store = MemoryStore()
    deposit(store, zipped({**bag(), "metadata/premis.xml": PRODUCERS}))
    again = run(archive, ports(store, extras={"earlier_events": known}))
    assert "capture" not in {event.type for event in again.events}
    mets = etree.fromstring(unpacked(stored(store))["data/metadata/METS.xml"])
    assert texts(mets, "eventType").count("capture") == 1


def test_objects_and_licences_of_the_producers_premis_are_not_passed_over() -> None:
    characteristics = b"<objectCharacteristics>"
    fixity = (
        b"<fixity><messageDigestAlgorithm>SHA-256</messageDigestAlgorithm><messageDigest>ABCD</messageDigest></fixity>"
    )
    rights = (
        b"<rights><rightsStatement><rightsBasis>license</rightsBasis><licenseInformation>"
        b"<licenseTerms>CC BY 4.0</licenseTerms></licenseInformation></rightsStatement></rights></premis>"
    )
    text = PRODUCERS.replace(characteristics, characteristics + fixity).replace(b"</premis>", rights)
    outcome, mets = preserved({**bag(), "metadata/premis.xml": text})
    assert [finding.code for finding in outcome.findings] == ["premis-contradicts"]
    assert "abcd" in outcome.findings[0].message
    assert texts(mets, "licenseTerms") == ["CC BY 4.0"]


@pytest.mark.parametrize(
    ("profile", "place"), [("perdura", "data/metadata/METS.xml"), ("eark", "metadata/preservation/premis.xml")]
)
def test_a_history_of_any_length_is_told_whole(profile: str, place: str) -> None:
    store, at = MemoryStore(), datetime(2026, 11, 24, tzinfo=UTC)
    archive = deposit(store, zipped(bag()))
    archive = replace(archive, step=replace(archive.step, input={"profile": profile}))
    tools = [(Identifier("software", f"tool {number}"),) for number in range(3)]
    earlier = (
        Event(derived_id("earlier", number), "fixity check", at, agents=tools[number % 3]) for number in range(12_000)
    )
    run(archive, ports(store, extras={"earlier_events": earlier}))
    (text,) = (
        body
        for path, body in unpacked(stored(store)).items()
        if path.endswith(place) and "/representations/" not in path
    )
    kinds = Counter(type(part) for part in read_mets([text]))
    assert kinds[MetsEvent] > 12_000
    assert [text.count(b"<premis:agentName>tool %d<" % number) for number in range(3)] == [1, 1, 1]


def test_no_rights_are_invented() -> None:
    _, mets = preserved(bag())
    assert not texts(mets, "rightsBasis")


def test_rights_of_bag_info_and_of_records() -> None:
    files = bag()
    files["bag-info.txt"] += b"Rights: CC BY 4.0 & more\n"
    metadata = {
        "rights": [{"id": "cc0", "title": {"en": "CC Zero"}, "link": "https://creativecommons.org/publicdomain/zero"}],
        "datacite": {"rightsList": [{"rights": "MIT", "rightsUri": "https://opensource.org/license/mit"}]},
    }
    _, mets = preserved(files, metadata=metadata)
    assert texts(mets, "licenseTerms") == ["CC BY 4.0 & more", "CC Zero", "MIT"]
    assert len(texts(mets, "licenseDocumentationIdentifierValue")) == 2


@pytest.mark.parametrize(
    ("embargo", "end", "note"),
    [("2030-01-01", ["2030-01-01"], []), (1893456000, ["2030-01-01"], []), ("some day", [], ["some day"])],
)
def test_embargo_of_sip_json(embargo: object, end: list[str], note: list[str]) -> None:
    sip = json.dumps({"usr-meta": {"embargo_timestamp": embargo}}).encode()
    _, mets = preserved(bag({**FILES, "data/meta/sip.json": sip}))
    assert (texts(mets, "endDate"), texts(mets, "otherRightsNote")) == (end, note)


def test_a_sip_json_that_is_nested_too_deeply_to_be_read_is_only_kept() -> None:
    outcome, mets = preserved(bag({**FILES, "data/meta/sip.json": b'{"a":' * 100_000 + b"1" + b"}" * 100_000}))
    assert outcome.state is StepState.COMPLETED, outcome.message
    assert texts(mets, "restriction") == []


def test_restricted_access() -> None:
    _, mets = preserved(bag(), restricted=True)
    assert texts(mets, "restriction") == ["not public"]


def test_description_in_dublin_core() -> None:
    metadata = {"creators": [{"name": "Ada"}, {"name": "Bo"}], "publication_date": "2024", "title": "ignored"}
    _, mets = preserved(bag(), metadata=metadata, source="zenodo", recid="42")
    found = {}
    for element in mets.iter("{http://purl.org/dc/elements/1.1/}*"):
        found.setdefault(etree.QName(element).localname, []).append(element.text)
    assert found == {"title": ["A study"], "creator": ["Ada", "Bo"], "date": ["2024"], "identifier": ["zenodo:42"]}
