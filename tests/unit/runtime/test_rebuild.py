"""What events and objects prove of an Archive, and what is then asked for again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

import pytest

from perdura.outcome import ArchiveView, Package, PackageKind, StepState, StepView
from perdura.packages.mets_read import MetsRights, read_mets
from perdura.premis.model import FAILURE, SUCCESS, Event, Identifier, Outcome
from perdura.registry.rebuilt import AFTER_LOST_ATTEMPTS
from perdura.registry.transitions import ArchiveState
from perdura.runtime.rebuild import as_archive
from perdura.runtime.rebuild_history import History, history
from perdura.runtime.rebuild_objects import HeldAip, HeldSip, _described, newest_folder, oldest_first
from perdura.steps.preserve_rights import statements
from perdura.steps.preserve_rights_read import ToldRights

AT = datetime(2026, 5, 1, tzinfo=UTC)
ARCHIVE, AIP, SIP = UUID("01a2209a-854c-70c4-8d5a-5f0f6d9b9640"), uuid4(), uuid4()


def event(kind: str, detail: str, outcome: str = SUCCESS, note: str = "") -> Event:
    objects = (Identifier("UUID", str(AIP), ("source",)), Identifier("UUID", str(ARCHIVE)))
    results = (Outcome(outcome, (note,) if note else ()),)
    return Event(id=uuid4(), type=kind, at=AT, details=(detail,), outcomes=results, objects=objects)


ON_TAPE = event("replication", "copy on tape: https://tape.example/a.tar")
FIXITY = event("fixity check", "residency, size and ADLER32", note="on tape; 5 bytes; ADLER32 0000abcd, as known")
PUBLISHED = event("dissemination", "published at https://access.example/archives/1")


def package(kind: PackageKind, identity: UUID) -> Package:
    return Package(identity, kind, "bucket", f"{ARCHIVE}/{kind}", "tar", 5, checksums={"adler32": "0000abcd"})


def held_sip() -> HeldSip:
    return HeldSip(package(PackageKind.SIP, SIP), AT)


def held_aip() -> HeldAip:
    return HeldAip(package(PackageKind.AIP, AIP), [], AT, "A letter")


def rights(until: date | None, restricted: bool = False) -> list[MetsRights]:
    """What the METS of an AIP says of the rights in it, as our own engine writes it."""
    step = StepView(uuid4(), "preserve", 1)
    known = {"embargo_until": until.isoformat()} if until else {}
    archive = ArchiveView(ARCHIVE, step, metadata=known, created_at=AT, restricted=restricted)
    written = "".join(statements(archive, (), {}, ToldRights(), lambda name: uuid4()))
    section = f'<amdSec><rightsMD ID="r"><mdWrap><xmlData>{written}</xmlData></mdWrap></rightsMD></amdSec>'
    mets = f'<mets xmlns="http://www.loc.gov/METS/">{section}</mets>'
    return [part for part in read_mets([mets.encode()]) if isinstance(part, MetsRights)]


def test_an_embargo_that_an_aip_tells_of_comes_back_with_it() -> None:
    """The latest, should its AIPs name several; opening the Archive opens no file before that day."""
    aips = [_described(held_aip(), ARCHIVE, rights(day)) for day in (date(2090, 1, 1), date(2099, 12, 31), None)]
    made = as_archive(ARCHIVE, held_sip(), aips, history([]))
    assert (made.metadata["embargo_until"], made.restricted, made.closed) == ("2099-12-31", False, True)
    assert "embargo_until" not in as_archive(ARCHIVE, held_sip(), aips[2:], history([])).metadata


def test_what_an_aip_restricts_without_a_day_comes_back_restricted() -> None:
    shut = _described(held_aip(), ARCHIVE, rights(None, restricted=True))
    endless = _described(held_aip(), ARCHIVE, [MetsRights("embargo", "embargoed", "when it is over")])
    for aip in (shut, endless):
        made = as_archive(ARCHIVE, held_sip(), [aip], history([]))
        assert (made.restricted, made.closed, made.metadata) == (True, False, {})


def test_a_copy_on_tape_is_believed_of_the_function_that_made_it() -> None:
    found = history([("archive-cta", ON_TAPE), ("archive-cta", FIXITY)])
    assert [(copy.aip, copy.uri, copy.adler32) for copy in found.tape] == [
        (str(AIP), "https://tape.example/a.tar", "0000abcd")
    ]


def test_what_a_depositor_tells_of_tape_is_not_believed() -> None:
    assert history([("preserve", ON_TAPE), ("someone@example.org", ON_TAPE)]).tape == []


def test_a_copy_in_a_container_keeps_its_place_there() -> None:
    container = uuid4()
    detail = f"copy on tape: https://tape.example/c.tar, in container {container} at byte 512, 99 bytes"
    (copy,) = history([("archive-cta", event("replication", detail))]).tape
    assert copy.uri == "https://tape.example/c.tar#offset=512&length=99"


def test_what_was_withdrawn_is_not_published_again() -> None:
    gone = event("policy assignment", "Withdrawn from access at access-pages: copyright")
    told = [("archive-cta", ON_TAPE), ("publish", PUBLISHED), ("publish", gone)]
    made = as_archive(ARCHIVE, held_sip(), [held_aip()], history(told))
    assert (made.publications, made.withdrawn) == ({}, {"access-pages": "copyright"})
    assert StepState.QUEUED not in {step.state for step in made.steps}


def on_library(record: str, detail: str = "published on library as https://library.example/records/") -> Event:
    made = event("dissemination", f"{detail}{record if detail.endswith('/') else ''}")
    return replace(made, objects=(*made.objects, Identifier("InvenioRDM record", record, ("outcome",))))


def test_records_on_access_systems_of_others_are_known_again_the_oldest_first() -> None:
    shut = on_library("two", "At library the record is restricted, its files are restricted")
    told = [("publish", each) for each in (PUBLISHED, on_library("one"), on_library("two"), shut)]
    made = as_archive(ARCHIVE, held_sip(), [held_aip()], history(told))
    assert [(each.record, each.state) for each in made.placed["library"]] == [
        ("one", "published"),
        ("two", "published"),
    ]
    assert made.placed["library"][0].details == {"url": "https://library.example/records/one"}
    assert history([("someone@example.org", on_library("one"))]).placed == {}


def test_what_was_withdrawn_from_another_system_is_still_on_the_access_pages() -> None:
    gone = event("policy assignment", "Withdrawn from access at library: copyright")
    told = [("publish", each) for each in (PUBLISHED, on_library("one"), gone)]
    made = as_archive(ARCHIVE, held_sip(), [held_aip()], history(told))
    assert (list(made.publications), made.withdrawn) == (["access-pages"], {"library": "copyright"})
    assert history([*told, ("publish", PUBLISHED)]).withdrawn == {"library": "copyright"}


@pytest.mark.parametrize(
    ("told", "stands"),
    [
        (["from access-pages: copyright"], {"access-pages"}),
        (["from all access systems: spam"], {None}),
        (["from library: spam: and more", "from all access systems: spam"], {"library", None}),
        (["from all access systems: spam", "lifted"], set()),
        (["from all access systems: spam", "lifted", "from library: spam"], {"library"}),
    ],
)
def test_what_people_decided_to_withdraw_stands_and_is_published_nowhere(told: list[str], stands: set[str]) -> None:
    """Also before any step carried it out, and where nothing was published yet."""
    decisions = [
        ("registry", event("policy assignment", f"Withdrawal {'decided, ' * (each != 'lifted')}{each}"))
        for each in told
    ]
    made = as_archive(ARCHIVE, held_sip(), [held_aip()], history([("publish", PUBLISHED), *decisions]))
    assert made.decided == stands
    assert bool(made.publications) is not bool({None, "access-pages"} & stands)
    others = [("someone@example.org", each) for _, each in decisions]
    assert history(others).decided == frozenset()


def test_everything_proved_is_completed() -> None:
    events = [("archive-cta", ON_TAPE), ("archive-cta", FIXITY), ("publish", PUBLISHED)]
    made = as_archive(ARCHIVE, held_sip(), [held_aip()], history(events))
    assert made.state is ArchiveState.COMPLETED
    assert [copy.location for copy in made.copies] == ["object-store", "tape"]
    assert made.created_at.year == 2026


def test_a_step_that_is_not_proved_is_asked_for_again() -> None:
    made = as_archive(ARCHIVE, held_sip(), [held_aip()], History())
    assert [(step.name, step.state, step.attempt) for step in made.steps][-1] == ("archive", StepState.QUEUED, 1)
    assert made.state is ArchiveState.RUNNING


def test_a_step_that_failed_waits_for_a_person_under_a_number_that_never_was() -> None:
    failed = event("replication", "copy to tape", FAILURE, "quota: the tape is full")
    made = as_archive(ARCHIVE, held_sip(), [held_aip()], history([("archive-cta", failed)]))
    last = made.steps[-1]
    assert (last.name, last.state, last.attempt) == ("archive", StepState.FAILED, AFTER_LOST_ATTEMPTS)
    assert "the tape is full" in (last.error or "")


def test_what_was_tried_beside_the_pipeline_fails_no_step_of_it() -> None:
    events = [
        ("archive-cta", ON_TAPE), ("archive-cta", FIXITY), ("publish", PUBLISHED),
        ("preserve", event("fixity check", "Stored copy read again: s3://a/b", FAILURE, "fixity-mismatch")),
        ("archive-cta", event("recovery", "read from https://tape.example/a.tar", FAILURE, "lost-on-tape")),
        ("archive-cta", event("accession", "Step recall, attempt 1: failed", FAILURE, "no-tape-copy")),
    ]  # fmt: skip
    assert history(events).failed == {}
    assert as_archive(ARCHIVE, held_sip(), [held_aip()], history(events)).state is ArchiveState.COMPLETED


def test_a_rejected_package_stays_rejected() -> None:
    refused = event("validation", "The SIP was rejected.", FAILURE, "no-bag: it is no bag")
    made = as_archive(ARCHIVE, held_sip(), [], history([("ingest", refused)]))
    assert made.state is ArchiveState.REJECTED
    assert [each.accepted for each in made.packages] == [False]


def test_a_package_that_was_never_judged_is_judged_now() -> None:
    made = as_archive(ARCHIVE, held_sip(), [], History())
    assert [(step.name, step.state) for step in made.steps] == [("ingest", StepState.QUEUED)]
    assert made.packages[0].accepted


def test_the_newest_version_is_the_one_in_use() -> None:
    older = HeldAip(package(PackageKind.AIP, uuid4()), [], datetime(2025, 1, 1, tzinfo=UTC))
    made = as_archive(ARCHIVE, None, [older, held_aip()], History())
    assert [each.accepted for each in made.packages] == [False, True]
    assert [(each.number, each.predecessor) for each in made.versions] == [(1, None), (2, older.package.id)]


def test_what_was_restricted_stays_restricted() -> None:
    aip = held_aip()
    aip.restricted = True
    assert as_archive(ARCHIVE, None, [aip], History()).restricted


def test_everything_comes_back_restricted_until_a_person_opens_it() -> None:
    made = as_archive(ARCHIVE, held_sip(), [held_aip()], History())
    assert (made.restricted, made.closed) == (False, True)


def test_a_person_may_open_what_no_aip_calls_restricted() -> None:
    made = as_archive(ARCHIVE, held_sip(), [held_aip()], History(), public=True)
    assert (made.restricted, made.closed) == (False, False)


def test_what_has_no_aip_says_nothing_of_restrictions_and_stays_closed() -> None:
    assert as_archive(ARCHIVE, held_sip(), [], History(), public=True).closed


@pytest.mark.parametrize("public", [False, True])
def test_what_an_aip_calls_restricted_is_never_opened_by_the_rebuild(public: bool) -> None:
    aip = replace(held_aip(), restricted=True)
    made = as_archive(ARCHIVE, held_sip(), [held_aip(), aip], History(), public=public)
    assert (made.restricted, made.closed) == (True, False)


def test_aips_are_ordered_by_the_instant_whatever_offset_their_clock_had() -> None:
    times = [None, "2026-05-01T00:30+02:00", "2026-04-30T23:00+00:00", "2026-04-30T20:00-04:00", "2026-05-01T00:30Z"]
    made = [datetime.fromisoformat(time) if time else None for time in times]
    aips = [HeldAip(package(PackageKind.AIP, uuid4()), [], time) for time in made]
    assert [aip.created for aip in oldest_first(reversed(aips))] == made


@pytest.mark.parametrize(
    ("keys", "folder"),
    [
        (["a/sip/bagit.txt", "a/sip-2/bagit.txt", "a/sip-10/bagit.txt"], "a/sip-10/"),
        (["a/light/bagit.txt", "a/completed/bagit.txt"], "a/completed/"),
        (["a/sip/bagit.txt", "a/sip/data/x", "a/verification/s/first-0000", "a/receipts/1/0"], "a/sip/"),
        (["a/bic/1/bagit.txt", "a/verification/s/0"], "a/bic/"),
        (["a/light/bagit.txt", "a/verification/s/0"], "a/light/"),
    ],
)
def test_the_newest_bag_is_the_sip_and_never_what_was_noted_beside_it(keys: list[str], folder: str) -> None:
    assert newest_folder(keys) == folder
