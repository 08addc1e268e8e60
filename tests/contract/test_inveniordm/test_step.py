"""The step `publish` at destinations of every policy, on the fake and on a real InvenioRDM."""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from perdura.clients.inveniordm.files import Files
from perdura.clients.inveniordm.records import Records
from perdura.clients.inveniordm.wire import RdmGone
from perdura.errors import Rejected, Retryable
from perdura.ids import new_id
from perdura.outcome import ArchiveView, PackageKind, StepState
from perdura.registry.placements import RegistryPlacements
from perdura.steps import publish, publish_invenio, withdraw
from perdura.steps.publish_sent import Sent
from perdura.storage.memory import MemoryStore
from tests.contract.test_inveniordm.fake import TOKENS, Fake
from tests.contract.test_inveniordm.ports import AT, Budget, MemoryPlacements, ports_for, preserved
from tests.contract.test_inveniordm.world import Target, md5s

RECORD = {
    "metadata": {
        "title": "Beam profile measurements",
        "publication_date": "2024-03-05",
        "publisher": "CERN",
        "resource_type": {"id": "dataset"},
        "creators": [
            {
                "person_or_org": {
                    "type": "personal", "family_name": "Carberry", "given_name": "Josiah",
                    "identifiers": [{"scheme": "orcid", "identifier": "0000-0002-1825-0097"}],
                }
            }
        ],
        "languages": [{"id": "eng"}, {"id": "qqq"}],
        "rights": [{"id": "cc-by-4.0", "title": {"en": "Creative Commons Attribution 4.0"}}],
        "imprint": {"pages": "12"},
    }
}  # fmt: skip
FILES = {
    "meta/metadata.json": json.dumps(RECORD).encode(),
    "content/profile ü.csv": b"t,x\n0,1\n" * 500,
    "content/deep/plot.png": b"\x89PNG" + bytes(2000),
}


def _object(name: str, made_of: str | None) -> str:
    source = (
        "<relationship><relationshipType>derivation</relationshipType>"
        "<relationshipSubType>has source</relationshipSubType><relatedObjectIdentifier>"
        f"<relatedObjectIdentifierValue>{made_of}</relatedObjectIdentifierValue></relatedObjectIdentifier></relationship>"
    )
    return (
        f'<m:amdSec ID="about-{name}"><m:techMD><m:mdWrap><m:xmlData><object xmlns="http://www.loc.gov/premis/v3">'
        f"<objectIdentifier><objectIdentifierValue>{name}</objectIdentifierValue></objectIdentifier>"
        f"{source if made_of else ''}</object></m:xmlData></m:mdWrap></m:techMD></m:amdSec>"
    )


def _file(name: str, use: str) -> str:
    return (
        f'<m:fileGrp USE="{use}"><m:file ADMID="about-{name}"><m:FLocat x:href="objects/{name}"/></m:file></m:fileGrp>'
    )


METS = (
    '<m:mets xmlns:m="http://www.loc.gov/METS/" xmlns:x="http://www.w3.org/1999/xlink">'
    + _object("scan.bmp", None) + _object("scan.tif", "scan.bmp") + _object("scan.jpg", "scan.bmp")
    + _object("notes.txt", None) + "<m:fileSec>" + _file("scan.bmp", "original") + _file("scan.tif", "preservation")
    + _file("scan.jpg", "access") + _file("notes.txt", "original") + "</m:fileSec></m:mets>"
)  # fmt: skip


def run(target: Target, store: MemoryStore, archive: ArchiveView, path: Path, placements: Any = None) -> Any:
    """One invocation of the step."""
    ports = ports_for(store, path, placements, archive.step.id)
    return publish.run(archive, ports, lambda destination: target.wire())


def related_to(target: Target, record: str) -> list[str]:
    """What a record says it is related to."""
    with target.wire() as wire:
        told = Records(wire).record(record).metadata.get("related_identifiers", [])
    return [entry["identifier"] for entry in told]


def test_files_of_the_aip_become_a_record_described_by_its_source(target: Target, access: Callable[..., Path]) -> None:
    store = MemoryStore()
    archive = preserved(store, FILES)
    outcome = run(target, store, archive, access(dip={"include": ["content/*"]}))
    assert outcome.state is StepState.COMPLETED, outcome.message
    told = outcome.output["destinations"]["library"]
    assert target.digests(told["record"]) == md5s(
        {name: data for name, data in FILES.items() if name.startswith("content/")}
    )
    with target.wire() as wire:
        metadata = Records(wire).record(told["record"]).metadata
    assert metadata["title"] == "Beam profile measurements"
    assert metadata["creators"][0]["person_or_org"]["family_name"] == "Carberry"
    assert [entry["id"] for entry in metadata["languages"]] == ["eng"]
    assert {"scheme": "other", "identifier": f"oais:cds:{archive.recid}"} in metadata["identifiers"]
    assert any(e["identifier"].startswith("https://repository") for e in metadata["related_identifiers"])
    unmapped = {finding.path: finding.message for finding in outcome.findings}
    assert "12" in unmapped["library: metadata.imprint.pages"]
    assert "does not know it" in unmapped["library: metadata.languages.1.id"]
    assert not any("access.test" in address for address in related_to(target, told["record"]))
    event = outcome.events[-1]
    assert (event.type, event.objects[-1].value) == ("dissemination", told["record"])
    assert outcome.output["publications"][0]["destination"] == "library"


def test_the_whole_aip_can_be_published_with_what_explains_it(target: Target, access: Callable[..., Path]) -> None:
    store = MemoryStore()
    archive = preserved(store, FILES)
    outcome = run(target, store, archive, access(content="aip", naming="custom-fields", multipart_above=5000))
    record = outcome.output["destinations"]["library"]["record"]
    aip = archive.package(PackageKind.AIP)
    assert aip is not None
    with target.wire() as wire:
        files = {entry.key: entry for entry in Files(wire).list(record, draft=False)}
        fields = Records(wire).record(record).custom_fields
    assert set(files) == {f"{archive.id}.tar", "METS.xml", "manifest-sha512.txt"}
    assert files[f"{archive.id}.tar"].size == aip.size
    assert fields["oais:aip_id"] == f"urn:uuid:{aip.id}"
    assert fields["oais:artifacts"][0]["checksum"] == f"sha256:{aip.checksums['sha256']}"


def test_a_dip_with_too_many_files_is_one_zip_with_its_own_history(target: Target, access: Callable[..., Path]) -> None:
    store = MemoryStore()
    archive = preserved(store, {f"content/{number:04d}.txt": str(number).encode() for number in range(150)})
    outcome = run(target, store, archive, access())
    (dip,) = outcome.packages
    data = store.read(store.head(dip.bucket, dip.key).ref)
    assert dip.kind is PackageKind.DIP
    assert dip.checksums["sha256"] == hashlib.sha256(data).hexdigest()
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert len(opened.namelist()) == 151
        assert opened.read("objects/content/0149.txt") == b"149"
        premis = opened.read("premis.xml").decode()
    aip = archive.package(PackageKind.AIP)
    assert aip is not None
    assert "derivation" in premis
    assert "has source" in premis
    assert str(aip.id) in premis
    record = outcome.output["destinations"]["library"]["record"]
    assert target.digests(record) == {f"{archive.id}.zip": hashlib.md5(data).hexdigest()}
    made, published = outcome.events
    assert made.type == "information package creation"
    assert [identifier.roles for identifier in made.objects] == [("source",), ("outcome",)]
    assert published.type == "dissemination"


@pytest.mark.parametrize(
    ("copies", "sent"),
    [
        ("access", {"scan.jpg", "notes.txt"}),
        ("originals", {"scan.bmp", "notes.txt"}),
        ("normalised", {"scan.tif", "notes.txt"}),
    ],
)
def test_the_mets_of_the_aip_tells_which_copies_are_sent(
    target: Target, access: Callable[..., Path], copies: str, sent: set[str]
) -> None:
    store = MemoryStore()
    files = {name: name.encode() for name in ("scan.bmp", "scan.tif", "scan.jpg", "notes.txt")}
    archive = preserved(store, files, METS.encode())
    outcome = run(target, store, archive, access(dip={"copies": copies}))
    assert outcome.state is StepState.COMPLETED, outcome.message
    assert target.digests(outcome.output["destinations"]["library"]["record"]) == md5s({n: files[n] for n in sent})


def test_metadata_alone_can_be_published(target: Target, access: Callable[..., Path]) -> None:
    store = MemoryStore()
    outcome = run(target, store, preserved(store, FILES), access(content="metadata"))
    assert outcome.state is StepState.COMPLETED
    assert outcome.output["destinations"]["library"]["files"] == 0


def test_an_ro_crate_describes_its_record(target: Target, access: Callable[..., Path]) -> None:
    crate = {
        "@context": "https://w3id.org/ro/crate/1.1/context",
        "@graph": [
            {"@id": "ro-crate-metadata.json", "@type": "CreativeWork", "about": {"@id": "./"}},
            {
                "@id": "./", "@type": "Dataset", "name": "A crate of beams", "datePublished": "2023-05-01T10:00:00Z",
                "description": "Everything about beams", "license": {"@id": "https://example.org/licence"},
                "author": [{"@id": "https://orcid.org/0000-0002-1825-0097"}], "keywords": "beam, optics",
            },
            {"@id": "https://orcid.org/0000-0002-1825-0097", "@type": "Person", "name": "Carberry, Josiah"},
            {"@id": "https://example.org/licence", "@type": "CreativeWork", "name": "Our licence"},
        ],
    }  # fmt: skip
    store = MemoryStore()
    archive = preserved(store, {"ro-crate-metadata.json": json.dumps(crate).encode(), "beam.csv": b"1"})
    outcome = run(target, store, archive, access())
    told = outcome.output["destinations"]["library"]
    assert told["metadata_from"] == "RO-Crate"
    with target.wire() as wire:
        metadata = Records(wire).record(told["record"]).metadata
    assert (metadata["title"], metadata["publication_date"]) == ("A crate of beams", "2023-05-01")
    assert [subject["subject"] for subject in metadata["subjects"]] == ["beam", "optics"]


def test_an_embargo_shuts_the_files_and_shows_the_record(target: Target, access: Callable[..., Path]) -> None:
    store = MemoryStore()
    archive = preserved(store, FILES)
    archive = replace(archive, metadata={**archive.metadata, "embargo_until": "2990-01-01"})
    outcome = run(target, store, archive, access())
    with target.wire() as wire:
        record = Records(wire).record(outcome.output["destinations"]["library"]["record"])
    assert record.access["files"] == "restricted"
    assert record.access["embargo"]["until"] == "2990-01-01"


@pytest.mark.parametrize(("policy", "published"), [("withhold", False), ("restrict", True)])
def test_restricted_archives_are_withheld_or_restricted_there(
    target: Target, access: Callable[..., Path], policy: str, published: bool
) -> None:
    store = MemoryStore()
    archive = replace(preserved(store, FILES), restricted=True)
    outcome = run(target, store, archive, access(restricted=policy))
    assert bool(outcome.output["publications"]) is published
    if published:
        with target.wire() as wire:
            record = Records(wire).record(outcome.output["destinations"]["library"]["record"])
        assert record.access["record"] == "restricted"


def test_a_record_that_was_withdrawn_there_is_not_made_anew(target: Target, access: Callable[..., Path]) -> None:
    store, placements = MemoryStore(), MemoryPlacements()
    archive, path = preserved(store, FILES), access()
    first = run(target, store, archive, path, placements)
    with target.wire("admin") as wire:
        Records(wire).delete(first.output["destinations"]["library"]["record"], "retracted", "by its author")
    for _ in range(2):
        outcome = run(target, store, archive, path, placements)
        assert outcome.state is StepState.FAILED
        assert outcome.error_code == "access-system-record-withdrawn"
    assert placements.known("library", archive.id).state == "withdrawn"
    assert "by its author" in outcome.message


def test_what_fails_at_one_destination_is_told_and_keeps_no_other_from_its_record(
    target: Target, access: Callable[..., Path]
) -> None:
    store = MemoryStore()
    path = access(resource_type="nope")
    path.write_text(path.read_text() + '\n[[destination]]\nid = "access-pages"\ntype = "access-pages"\n')
    outcome = run(target, store, preserved(store, {"a.txt": b"a"}), path)
    assert outcome.state is StepState.FAILED
    assert "Invalid value nope" in outcome.message
    assert [publication["destination"] for publication in outcome.output["publications"]] == ["access-pages"]
    made, *told = outcome.events
    assert made.type == "information package creation"
    assert [event.outcomes[0].outcome for event in told] == ["fail", "success"]


def test_the_access_pages_follow_the_same_policy(target: Target, access: Callable[..., Path]) -> None:
    store = MemoryStore()
    files = {name: name.encode() for name in ("scan.bmp", "scan.tif", "scan.jpg", "notes.txt")}
    archive = preserved(store, files, METS.encode())
    policy = '\n[destination.dip]\ncopies = "access"\n'
    path = access(dip={"copies": "access"})
    path.write_text(f'{path.read_text()}\n[[destination]]\nid = "access-pages"\ntype = "access-pages"{policy}')
    placements = MemoryPlacements()
    outcome = run(target, store, archive, path, placements)
    assert outcome.state is StepState.COMPLETED, outcome.message
    record = outcome.output["destinations"]["library"]["record"]
    sent = target.digests(record)
    assert f"https://access.test/archives/{archive.id}" in related_to(target, record)
    assert {name for name, _ in placements.offered[archive.id].files} == set(sent) == {"scan.jpg", "notes.txt"}


def test_a_collection_has_access_pages_by_a_policy_of_its_own(target: Target, access: Callable[..., Path]) -> None:
    store = MemoryStore()
    path = access(sources=["none"])
    pages = '[[destination]]\nid = "access-pages"\ntype = "access-pages"\n'
    path.write_text(f'{path.read_text()}\n{pages}collections = ["Theses"]\ncontent = "metadata"\n{pages}')
    for named, offered in (["Theses"], "metadata"), ([], "dip"):
        placements = MemoryPlacements(named=named)
        archive = preserved(store, FILES)
        run(target, store, archive, path, placements)
        assert placements.offered[archive.id].content == offered


def test_what_was_withdrawn_from_the_access_pages_does_not_come_back(
    target: Target, access: Callable[..., Path]
) -> None:
    store, placements = MemoryStore(), MemoryPlacements()
    path = access(sources=["none"])
    path.write_text(f'{path.read_text()}\n[[destination]]\nid = "access-pages"\ntype = "access-pages"\n')
    archive = preserved(store, FILES)
    ports = ports_for(store, path, placements)
    with pytest.raises(Rejected, match="not published"):
        withdraw.run(archive, ports)
    assert run(target, store, archive, path, placements).output["publications"]
    asked = replace(archive, step=replace(archive.step, input={"reason": "copyright"}))
    assert withdraw.run(asked, ports).output["withdrawn"] == ["access-pages"]
    again = run(target, store, archive, path, placements)
    assert again.output["publications"] == []
    assert "withdrawn" in again.output["destinations"]["access-pages"]["withheld"]
    wished = {"after_withdrawal": True, "by": "the archivist"}
    wanted = replace(archive, step=replace(archive.step, input=wished))
    outcome = run(target, store, wanted, path, placements)
    assert outcome.output["publications"]
    assert outcome.events[0].agents[0].value == "the archivist"


def test_a_community_reviews_before_publication(target: Target, access: Callable[..., Path]) -> None:
    store, placements = MemoryStore(), MemoryPlacements()
    archive, path = preserved(store, FILES), access(community=target.community(), review=True)
    outcome = run(target, store, archive, path, placements)
    assert outcome.state is StepState.WAITING
    assert outcome.poll_at is not None
    request = outcome.output["destinations"]["library"]["request"]
    assert run(target, store, archive, path, placements).state is StepState.WAITING
    target.decide(request, "accept")
    outcome = run(target, store, archive, path, placements)
    assert outcome.state is StepState.COMPLETED, outcome.message
    assert len(target.published(f"oais:cds:{archive.recid}")) == 1


def test_a_doi_is_registered_where_the_policy_asks_for_one(target: Target, access: Callable[..., Path]) -> None:
    store, placements = MemoryStore(), MemoryPlacements()
    archive, path = preserved(store, FILES), access(doi="registered")
    first = run(target, store, archive, path, placements).output["destinations"]["library"]
    assert first["doi"].startswith("10.")
    again = run(target, store, archive, path, placements).output["destinations"]["library"]
    assert (again["record"], again["doi"]) == (first["record"], first["doi"])
    later = replace(preserved(store, {"b.txt": b"b"}), recid=archive.recid)
    second = run(target, store, later, path, placements).output["destinations"]["library"]
    assert second["parent"] == first["parent"]
    assert second["doi"] not in (None, first["doi"])


def test_versions_that_keep_the_doi_of_their_source_are_published_under_it(
    target: Target, access: Callable[..., Path]
) -> None:
    """A server takes a DOI once: the first version has it as its own, the later ones name it."""
    store, placements, path = MemoryStore(), MemoryPlacements(), access(doi="external")
    doi, recid = f"10.1234/perdura.{new_id()}", str(new_id())
    document = json.dumps({"metadata": {**RECORD["metadata"], "identifiers": [{"scheme": "doi", "identifier": doi}]}})
    published = []
    for number in range(3):
        files = {"meta/metadata.json": document.encode(), "n.txt": str(number).encode()}
        outcome = run(target, store, replace(preserved(store, files), recid=recid), path, placements)
        assert outcome.state is StepState.COMPLETED, outcome.message
        published.append(outcome.output["destinations"]["library"])
    assert [told["version"] for told in published] == [1, 2, 3]
    assert [told["doi"] == doi for told in published] == [True, False, False]
    with target.wire() as wire:
        for told in published[1:]:
            named = Records(wire).record(told["record"]).metadata["identifiers"]
            assert {"scheme": "doi", "identifier": doi} in named


def test_a_community_without_review_has_the_record_or_a_request_for_it(
    target: Target, access: Callable[..., Path]
) -> None:
    """A curator of an open community includes at once; anybody else leaves a request, once, and is published."""
    store, placements = MemoryStore(), MemoryPlacements()
    archive = preserved(store, FILES)
    slug, identifier = target.community_of("publisher", reviewed=False)
    outcome = run(target, store, archive, access(community=slug), placements)
    assert outcome.state is StepState.COMPLETED, outcome.message
    with target.wire() as wire:
        record = Records(wire).record(outcome.output["destinations"]["library"]["record"])
    assert identifier in record.communities
    slug, identifier = target.community_of("admin", reviewed=True)
    archive = preserved(store, FILES)
    path = access(community=slug)
    for _ in range(2):
        outcome = run(target, store, archive, path, placements)
        assert outcome.state is StepState.COMPLETED, outcome.message
    with target.wire() as wire:
        record = Records(wire).record(outcome.output["destinations"]["library"]["record"])
    assert (record.published, record.communities) == (True, ())


def test_a_review_that_was_declined_is_a_failure(target: Target, access: Callable[..., Path]) -> None:
    store, placements = MemoryStore(), MemoryPlacements()
    archive, path = preserved(store, FILES), access(community=target.community(), review=True)
    outcome = run(target, store, archive, path, placements)
    target.decide(outcome.output["destinations"]["library"]["request"], "decline")
    for _ in range(2):
        outcome = run(target, store, archive, path, placements)
        assert (outcome.state, outcome.error_code) == (StepState.FAILED, "review-declined")


def test_what_was_declined_can_be_handed_in_anew(target: Target, access: Callable[..., Path]) -> None:
    store, placements = MemoryStore(), MemoryPlacements()
    archive, path = preserved(store, FILES), access(community=target.community(), review=True)
    first = run(target, store, archive, path, placements).output["destinations"]["library"]
    target.decide(first["request"], "decline")
    assert run(target, store, archive, path, placements).error_code == "review-declined"
    mended = replace(archive, step=replace(archive.step, id=new_id()))
    outcome = run(target, store, mended, path, placements)
    assert outcome.state is StepState.WAITING, outcome.message
    again = outcome.output["destinations"]["library"]
    assert again["record"] == first["record"]
    assert again["request"] != first["request"]
    target.decide(again["request"], "accept")
    assert run(target, store, mended, path, placements).state is StepState.COMPLETED


def test_a_reviewed_record_gets_a_second_version_in_its_community(target: Target, access: Callable[..., Path]) -> None:
    """InvenioRDM reviews first versions only."""
    store, placements = MemoryStore(), MemoryPlacements()
    archive, path = preserved(store, FILES), access(community=target.community(), review=True)
    first = run(target, store, archive, path, placements).output["destinations"]["library"]
    target.decide(first["request"], "accept")
    assert run(target, store, archive, path, placements).state is StepState.COMPLETED
    later = replace(preserved(store, {"b.txt": b"b"}), recid=archive.recid)
    outcome = run(target, store, later, path, placements)
    assert outcome.state is StepState.COMPLETED, outcome.message
    second = outcome.output["destinations"]["library"]
    assert (second["parent"], second["version"]) == (first["parent"], 2)
    with target.wire() as wire:
        communities = {Records(wire).record(each["record"]).communities for each in (first, second)}
    assert len(communities) == 1
    assert communities.pop()


def test_an_instance_may_want_new_versions_reviewed(fake: Fake, access: Callable[..., Path]) -> None:
    target = Target(fake.url, TOKENS, fake.transport, fake)
    fake.reviews_versions = True
    store, placements = MemoryStore(), MemoryPlacements()
    archive, path = preserved(store, FILES), access(community=target.community(), review=True)
    first = run(target, store, archive, path, placements).output["destinations"]["library"]
    target.decide(first["request"], "accept")
    later = replace(preserved(store, {"b.txt": b"b"}), recid=archive.recid)
    outcome = run(target, store, later, path, placements)
    assert outcome.state is StepState.WAITING
    target.decide(outcome.output["destinations"]["library"]["request"], "accept")
    assert run(target, store, later, path, placements).state is StepState.COMPLETED
    assert [record.index for record in target.published(f"oais:cds:{archive.recid}")] == [1, 2]


@pytest.mark.parametrize("naming", ["identifiers", "custom-fields"])
def test_a_renewed_aip_of_a_deposit_is_a_new_version_of_its_record(
    target: Target, access: Callable[..., Path], naming: str
) -> None:
    store, placements = MemoryStore(), MemoryPlacements()
    archive, path = replace(preserved(store, FILES), source=None, recid=None), access(naming=naming)
    first = run(target, store, archive, path, placements).output["destinations"]["library"]
    renewed = replace(archive, packages=preserved(store, {"b.txt": b"b"}).packages)
    second = run(target, store, renewed, path, placements).output["destinations"]["library"]
    assert (second["parent"], second["version"]) == (first["parent"], 2)
    again = run(target, store, renewed, path, MemoryPlacements()).output["destinations"]["library"]
    assert again["record"] == second["record"]
    assert target.digests(second["record"]) == md5s({"b.txt": b"b"})


def test_a_withdrawal_leaves_a_tombstone_there_and_says_so_here(target: Target, access: Callable[..., Path]) -> None:
    store, placements = MemoryStore(), MemoryPlacements()
    archive, path = preserved(store, FILES), access()
    record = run(target, store, archive, path, placements).output["destinations"]["library"]["record"]
    step = replace(archive.step, id=new_id(), input={"reason": "retracted", "note": "by its author"})
    asked = replace(archive, step=step)
    ports = ports_for(store, path, placements, step.id)
    refused = withdraw.run(asked, ports, lambda destination: target.wire())
    assert (refused.state, refused.error_code) == (StepState.BLOCKED, "shut-not-deleted")
    for _ in range(2):
        outcome = withdraw.run(asked, ports, lambda destination: target.wire("admin"))
        assert outcome.output["withdrawn"] == ["library"]
    with target.wire() as wire, pytest.raises(RdmGone, match="410"):
        Records(wire).record(record)
    assert run(target, store, archive, path, placements).error_code == "access-system-record-withdrawn"


@pytest.mark.parametrize("same", [True, False])
def test_two_deliveries_at_once_make_one_record_each_version(
    target: Target, access: Callable[..., Path], database: Engine, same: bool
) -> None:
    """Two workers on one Archive, and on two Archives of one Resource: the lock of the registry lets one in."""
    store, path = MemoryStore(), access()
    first = preserved(store, FILES)
    second = first if same else replace(preserved(store, {"other.txt": b"o"}), source="cds", recid=first.recid)
    with database.begin() as connection:
        for archive in {first.id, second.id}:
            connection.execute(
                text("INSERT INTO archive (id, pipeline, origin) VALUES (:id, '[]', 'test')"), {"id": archive}
            )
    outcomes: list[Any] = []
    start = threading.Barrier(2)

    def work(archive: ArchiveView) -> None:
        start.wait()
        for _ in range(200):
            try:
                outcomes.append(run(target, store, archive, path, RegistryPlacements(database)))
            except Retryable:
                threading.Event().wait(0.1)
            else:
                return

    workers = [threading.Thread(target=work, args=(archive,)) for archive in (first, second)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [outcome.state for outcome in outcomes] == [StepState.COMPLETED] * 2
    records = target.published(f"oais:cds:{first.recid}")
    assert [record.index for record in records] == ([1] if same else [1, 2])
    assert len({record.parent for record in records}) == 1


def zips(outcome: Any) -> list[Any]:
    return [package for package in outcome.packages if package.kind is PackageKind.DIP]


@pytest.mark.parametrize("review", [False, True])
def test_a_dip_is_written_once_however_often_it_is_looked_at(
    target: Target, access: Callable[..., Path], review: bool
) -> None:
    """A step that is run again, and another step that publishes again, find the zip that the record has."""
    store, placements = MemoryStore(), MemoryPlacements()
    more = {"community": target.community(), "review": True} if review else {}
    archive, path = preserved(store, FILES), access(container="zip", **more)
    outcome = run(target, store, archive, path, placements)
    archive = replace(archive, packages=(*archive.packages, *zips(outcome)))
    if review:
        again = run(target, store, archive, path, placements)
        assert (again.state, zips(again)) == (StepState.WAITING, [])
        target.decide(outcome.output["destinations"]["library"]["request"], "accept")
    later = replace(archive, step=replace(archive.step, id=new_id(), created_at=AT + timedelta(days=1)))
    outcome = run(target, store, later, path, placements)
    assert (outcome.state, zips(outcome)) == (StepState.COMPLETED, []), outcome.message


def test_a_dip_stays_known_when_its_publication_fails(target: Target, access: Callable[..., Path]) -> None:
    store = MemoryStore()
    outcome = run(target, store, preserved(store, {"a.txt": b"a"}), access(container="zip", resource_type="nope"))
    assert outcome.state is StepState.FAILED
    assert len(zips(outcome)) == 1
    assert [event.type for event in outcome.events] == ["information package creation", "dissemination"]


def test_a_dip_of_files_has_its_history_too(target: Target, access: Callable[..., Path]) -> None:
    store = MemoryStore()
    archive = preserved(store, FILES)
    made, published = run(target, store, archive, access()).events
    assert (made.type, published.type) == ("information package creation", "dissemination")
    assert made.objects[0].value == str(archive.package(PackageKind.AIP).id)
    assert [identifier.roles for identifier in made.objects] == [("source",), ("outcome",)]


PAGES = '\n[[destination]]\nid = "access-pages"\ntype = "access-pages"\n'


def test_a_library_that_is_away_keeps_nothing_from_the_pages(fake: Fake, access: Callable[..., Path]) -> None:
    """What was reached is recorded at once and not done again; only what is left can use up the tries."""
    target = Target(fake.url, TOKENS, fake.transport, fake)
    store, placements, path = MemoryStore(), MemoryPlacements(), access()
    path.write_text(path.read_text() + PAGES)
    archive = preserved(store, FILES)
    fake.storm = 10**6
    outcome = run(target, store, archive, path, placements)
    assert outcome.state is StepState.WAITING
    assert (outcome.error_code, outcome.poll_at) == ("access-system-unavailable", AT + timedelta(seconds=1))
    assert [entry["destination"] for entry in outcome.output["publications"]] == ["access-pages"]
    archive = replace(archive, step=replace(archive.step, checkpoint=outcome.checkpoint))
    with pytest.raises(Retryable):
        run(target, store, archive, path, placements)
    fake.storm = 0
    outcome = run(target, store, archive, path, placements)
    assert outcome.state is StepState.COMPLETED
    assert list(outcome.published) == ["library"]
    assert {entry["destination"] for entry in outcome.output["publications"]} == {"library", "access-pages"}
    assert set(outcome.output["destinations"]) == {"library", "access-pages"}
    assert not any("access-pages" in detail for event in outcome.events for detail in event.details)


def test_what_was_sent_of_another_package_is_no_progress_with_this_one(fake: Fake, access: Callable[..., Path]) -> None:
    """Nothing is sent to a library that is away: that is a failed try, whatever was sent of an earlier AIP."""
    target = Target(fake.url, TOKENS, fake.transport, fake)
    store = MemoryStore()
    archive = preserved(store, {"a.txt": b"a"})
    checkpoint = {publish_invenio.SENT: {"library": Sent("urn:uuid:another", {"a.txt": "0" * 32}).to_json()}}
    archive = replace(archive, step=replace(archive.step, checkpoint=checkpoint))
    fake.storm = 10**6
    with pytest.raises(Retryable):
        run(target, store, archive, access())


def test_a_review_is_waited_for_without_publishing_the_pages_anew(target: Target, access: Callable[..., Path]) -> None:
    store, placements = MemoryStore(), MemoryPlacements()
    path = access(community=target.community(), review=True)
    path.write_text(path.read_text() + PAGES)
    archive = preserved(store, FILES)
    outcome = run(target, store, archive, path, placements)
    assert [entry["destination"] for entry in outcome.output["publications"]] == ["access-pages"]
    recorded = {event.id for event in outcome.events}
    archive = replace(archive, step=replace(archive.step, checkpoint=outcome.checkpoint))
    outcome = run(target, store, archive, path, placements)
    assert (outcome.state, outcome.published) == (StepState.WAITING, {})
    target.decide(outcome.output["destinations"]["library"]["request"], "accept")
    outcome = run(target, store, archive, path, placements)
    assert outcome.state is StepState.COMPLETED
    assert list(outcome.published) == ["library"]
    told = {entry["destination"]: entry["url"] for entry in outcome.output["publications"]}
    assert told.keys() == {"library", "access-pages"}
    assert all(told.values())
    assert recorded.isdisjoint(event.id for event in outcome.events)


def test_of_two_policies_for_one_system_the_first_counts(target: Target, access: Callable[..., Path]) -> None:
    store, placements = MemoryStore(), MemoryPlacements()
    path = access(content="metadata")
    second = path.read_text().replace('"library"', '"theses"').replace("metadata", "dip")
    path.write_text(path.read_text() + "\n" + second)
    outcome = run(target, store, preserved(store, FILES), path, placements)
    assert outcome.state is StepState.COMPLETED, outcome.message
    assert set(outcome.output["destinations"]) == {"library"}


def test_versions_of_one_resource_are_locked_by_system_and_not_by_policy(
    target: Target, access: Callable[..., Path]
) -> None:
    held = []

    class Locked(MemoryPlacements):
        def hold(self, destination: str, resource: str) -> Any:
            held.append((destination, resource))
            return super().hold(destination, resource)

    store, path = MemoryStore(), access(collections=["Theses"])
    path.write_text(
        path.read_text() + "\n" + path.read_text().replace('"library"', '"other"').replace("Theses", "Other")
    )
    first = preserved(store, {"a.txt": b"a"})
    second = replace(preserved(store, {"b.txt": b"b"}), recid=first.recid)
    for archive, name in (first, "Theses"), (second, "Other"):
        assert run(target, store, archive, path, Locked(named=[name])).state is StepState.COMPLETED
    assert held == [(target.url, f"oais:cds:{first.recid}")] * 2


def continued(
    target: Target, store: MemoryStore, archive: ArchiveView, path: Path, placements: Any, asks: int = 2
) -> tuple[list[Any], list[int]]:
    """The step in invocations that end when they ask for the time so often: outcomes, and bytes read by each."""
    outcomes: list[Any] = []
    read: list[int] = []
    stream = store.stream

    def counted(*told: Any) -> Any:
        for chunk in stream(*told):
            read[-1] += len(chunk)
            yield chunk

    store.stream = counted
    while not outcomes or outcomes[-1].state is StepState.QUEUED:
        assert len(outcomes) < 60
        read.append(0)
        ports = replace(ports_for(store, path, placements, archive.step.id), deadline=Budget(asks))
        outcomes.append(publish.run(archive, ports, lambda destination: target.wire()))
        checkpoint = json.loads(json.dumps(outcomes[-1].checkpoint))
        archive = replace(
            archive,
            step=replace(archive.step, checkpoint=checkpoint),
            packages=(*archive.packages, *zips(outcomes[-1])),
        )
    return outcomes, read


def test_many_files_are_sent_in_several_invocations_and_none_is_read_again(
    target: Target, access: Callable[..., Path]
) -> None:
    store, placements = MemoryStore(), MemoryPlacements()
    files = {f"{number}.bin": os.urandom(200_000) for number in range(6)}
    outcomes, read = continued(target, store, preserved(store, files), access(), placements, asks=3)
    assert outcomes[-1].state is StepState.COMPLETED, outcomes[-1].message
    assert len(outcomes) == 3
    told = outcomes[-1].output["destinations"]["library"]
    assert target.digests(told["record"]) == md5s(files)
    assert read[1] < 4 * 200_000 + 20_000, read
    assert read[2] < 2 * 200_000 + 20_000, read
    assert len({event.id for outcome in outcomes for event in outcome.events}) == sum(
        len(outcome.events) for outcome in outcomes
    )


def test_a_file_in_parts_goes_on_in_the_next_invocation(target: Target, access: Callable[..., Path]) -> None:
    store, placements = MemoryStore(), MemoryPlacements()
    part = 2**20
    files = {"big.bin": os.urandom(4 * part - 1), "small.bin": b"small"}
    path = access(multipart_above=part, part_size=part)
    outcomes, read = continued(target, store, preserved(store, files), path, placements)
    assert outcomes[-1].state is StepState.COMPLETED, outcomes[-1].message
    assert len(outcomes) >= 4
    assert target.digests(outcomes[-1].output["destinations"]["library"]["record"]) == md5s(files)
    assert max(read[1:]) < 2 * part


def test_a_connection_that_breaks_between_parts_loses_only_one(fake: Fake, access: Callable[..., Path]) -> None:
    target = Target(fake.url, TOKENS, fake.transport, fake)
    store, placements = MemoryStore(), MemoryPlacements()
    data = os.urandom(1_000_000)
    archive = preserved(store, {"big.bin": data})
    path = access(multipart_above=2**19, part_size=2**18)
    ports = ports_for(store, path, placements, archive.step.id)
    outcome = publish.run(archive, ports, lambda destination: target.wire(after=6, lose=True))
    assert (outcome.state, outcome.error_code) == (StepState.WAITING, "access-system-outcome-unknown")
    archive = replace(archive, step=replace(archive.step, checkpoint=outcome.checkpoint))
    fake.calls.clear()
    outcome = publish.run(archive, ports, lambda destination: target.wire())
    assert outcome.state is StepState.COMPLETED, outcome.message
    assert len([path for method, path in fake.calls if method == "PUT" and "content/" in path]) < 4
    assert target.digests(outcome.output["destinations"]["library"]["record"]) == md5s({"big.bin": data})


def going_on(archive: ArchiveView, outcome: Any) -> ArchiveView:
    """The Archive as the next invocation sees it."""
    checkpoint = json.loads(json.dumps(outcome.checkpoint or {}))
    return replace(archive, step=replace(archive.step, checkpoint=checkpoint))


def test_what_was_sent_is_not_read_again_however_long_it_is_in_review(
    target: Target, access: Callable[..., Path]
) -> None:
    store, placements = MemoryStore(), MemoryPlacements()
    files = {"big.bin": os.urandom(1_000_000), "small.bin": os.urandom(100_000)}
    path = access(community=target.community(), review=True, multipart_above=2**19, part_size=2**18)
    archive = preserved(store, files)
    outcomes, _ = continued(target, store, archive, path, placements)
    for _ in range(2):
        assert outcomes[-1].state is StepState.WAITING, outcomes[-1].message
        archive = going_on(archive, outcomes[-1])
        outcomes, read = continued(target, store, archive, path, placements)
        assert (len(outcomes), read[0] < 50_000) == (1, True)
    target.decide(outcomes[-1].output["destinations"]["library"]["request"], "accept")
    outcomes, read = continued(target, store, going_on(archive, outcomes[-1]), path, placements)
    assert (outcomes[-1].state, len(outcomes)) == (StepState.COMPLETED, 1), outcomes[-1].message
    assert read[0] < 50_000, read


def test_a_long_file_whose_md5_a_dead_worker_took_along_is_read_in_several_invocations(
    target: Target, access: Callable[..., Path]
) -> None:
    """It died when all was there, right before its checkpoint."""
    store, placements, path = MemoryStore(), MemoryPlacements(), access(multipart_above=2**20, part_size=2**20)
    chunk = 2**20
    files = {"long.bin": os.urandom(4 * chunk + 1000)}
    archive = preserved(store, files)
    first = run(target, store, archive, path, placements)
    outcomes, read = continued(target, store, archive, path, placements)
    assert outcomes[-1].state is StepState.COMPLETED, outcomes[-1].message
    assert len(outcomes) >= 4
    assert max(read) < 2 * chunk, read
    record = first.output["destinations"]["library"]["record"]
    assert outcomes[-1].output["destinations"]["library"]["record"] == record
