"""Which files of an AIP are its payload, in every layout of an AIP, and what the access pages offer of it by policy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from perdura.clients.destinations import Choice, Destination
from perdura.errors import Rejected
from perdura.outcome import Package, PackageKind
from perdura.packages import aip_payload
from perdura.packages.aip_digests import MemberDigests
from perdura.packages.aip_index import Entries, Entry
from perdura.packages.aip_members import Member
from perdura.ports import Offer
from perdura.steps import dip, publish_pages
from perdura.steps.preserve import run
from perdura.storage.memory import MemoryStore
from tests.unit.preserve.fakes import FakeIdentifier, ports
from tests.unit.preserve.submissions import FILES, bag, deposit, zipped

NAMES = {path.removeprefix("data/") for path in FILES}


def preserved(store: MemoryStore, profile: str) -> Package:
    """An AIP of the built-in engine in that layout."""
    archive = deposit(store, zipped(bag(dict(FILES))))
    archive = replace(archive, step=replace(archive.step, input={"profile": profile}))
    outcome = run(archive, ports(store, identifier=FakeIdentifier()))
    return next(package for package in outcome.packages if package.kind is PackageKind.AIP)


def offered(aip: Package, store: MemoryStore, **policy: Any) -> Offer:
    """What the access pages offer of it by that policy."""
    destination = Destination(id="access-pages", type="access-pages", **policy)
    return publish_pages.offer(aip, dip.entries_of(aip, store), destination, store)


@pytest.mark.parametrize("profile", ["perdura", "eark"])
@pytest.mark.parametrize("copies", ["all", "originals", "access", "normalised"])
def test_every_layout_gives_the_same_payload(profile: str, copies: Any) -> None:
    store = MemoryStore()
    offer = offered(preserved(store, profile), store, dip=Choice(copies=copies))
    assert {name for name, _ in offer.files} == NAMES
    assert offer.file_bytes == sum(map(len, FILES.values()))
    assert all(path.endswith(f"/{name}") for name, path in offer.files)


def test_a_policy_of_the_pages_is_kept_to_the_letter() -> None:
    store = MemoryStore()
    aip = preserved(store, "eark")
    one = min(NAMES)
    assert [name for name, _ in offered(aip, store, dip=Choice(include=(one,))).files] == [one]
    assert {name for name, _ in offered(aip, store, dip=Choice(exclude=(one,))).files} == NAMES - {one}
    flat = offered(aip, store, dip=Choice(include=(one,), names="flat"))
    assert [name for name, _ in flat.files] == [one.rpartition("/")[2]]
    assert offered(aip, store, content="metadata") == Offer(aip.id, "metadata")
    assert {name for name, _ in offered(aip, store, content="aip", dip=Choice(include=(one,))).files} == NAMES


def test_an_aip_whose_files_nobody_can_tell_apart_is_offered_whole_or_not_at_all() -> None:
    store = MemoryStore()
    aip = preserved(store, "perdura")
    pages = Destination(id="access-pages", type="access-pages")
    assert publish_pages.offer(aip, [], pages, store) == Offer(aip.id, "aip")
    with pytest.raises(Rejected, match="has no index"):
        publish_pages.offer(aip, [], pages.model_copy(update={"dip": Choice(exclude=("private/*",))}), store)


def test_what_describes_an_aip_is_no_payload() -> None:
    mets = "data/METS.1c6d2a6e-3c4f-4c8b-9a5f-0123456789ab.xml"
    beside = ["data/objects/metadata/transfers/t/note.txt", "data/objects/submissionDocumentation/t/METS.xml"]
    assert aip_payload.names([mets, "data/logs/x.log", *beside, "data/objects/a.tif"]) == {
        "data/objects/a.tif": "a.tif"
    }
    assert set(aip_payload.names([*beside, "data/metadata/METS.xml", "manifest-sha256.txt"])) == set(beside)


def test_files_of_several_representations_keep_theirs_in_their_names() -> None:
    paths = [f"data/urn-x/representations/rep{number}/data/a/b.tif" for number in (1, 2)]
    assert aip_payload.names(paths) == {paths[0]: "rep1/a/b.tif", paths[1]: "rep2/a/b.tif"}
    assert aip_payload.names(paths[:1]) == {paths[0]: "a/b.tif"}
    plain = "data/objects/representations/rep1/data/x"
    assert aip_payload.names([plain]) == {plain: "representations/rep1/data/x"}


@pytest.mark.parametrize("number", [0, 1, 500, 998])
def test_two_files_of_one_name_without_their_folders_are_refused_among_many(number: int) -> None:
    digests = MemberDigests(bytes(32), bytes(64), 1)

    def entry(path: str) -> Entry:
        return Entry(Member(f"data/objects/{path}", 0, 1, digests))

    names = [f"a/{each:04}.txt" for each in range(1000)]
    entries = Entries([*map(entry, names), entry(f"b/{number:04}.txt")])
    assert len(dip.choose(entries, Choice())) == 1001
    with pytest.raises(Rejected, match=f"'{number:04}.txt'"):
        dip.choose(entries, Choice(names="flat"))
    assert len(dip.choose(entries, Choice(exclude=("b/*",), names="flat"))) == 1000
