"""Embargo, restriction and withdrawal on an InvenioRDM: what was shut here is never open there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perdura.clients.inveniordm.records import Records
from perdura.clients.inveniordm.wire import RdmGone, RdmNotFound
from perdura.errors import Retryable
from perdura.ids import new_id
from perdura.outcome import ArchiveView, StepState
from perdura.ports import Placed, Standing
from perdura.steps import withdraw
from perdura.steps.publish_access import SHUT, settle
from perdura.storage.memory import MemoryStore
from tests.contract.test_inveniordm.fake import Fake
from tests.contract.test_inveniordm.ports import MemoryPlacements, ports_for, preserved
from tests.contract.test_inveniordm.test_step import FILES, run
from tests.contract.test_inveniordm.world import Package, Target


def access_of(target: Target, record: str) -> Any:
    """Who may see a record and its files."""
    with target.wire() as wire:
        found = Records(wire).record(record)
    assert found is not None
    return found.access


def metadata_of(target: Target, record: str) -> Any:
    """What a record says of itself."""
    with target.wire() as wire:
        found = Records(wire).record(record)
    assert found is not None
    return found.metadata


@pytest.mark.parametrize(
    ("policy", "restricted"),
    [
        ({"restricted": "restrict"}, True),
        ({"record_access": "restricted"}, False),
        ({"files_access": "restricted"}, False),
    ],
)
def test_what_is_restricted_anyhow_stays_so_when_its_embargo_ends(
    target: Target, access: Callable[..., Path], policy: dict[str, str], restricted: bool
) -> None:
    store = MemoryStore()
    archive = preserved(store, FILES, restricted=restricted)
    archive = replace(archive, metadata={**archive.metadata, "embargo_until": "2990-01-01"})
    record = run(target, store, archive, access(**policy)).output["destinations"]["library"]["record"]
    assert not (access_of(target, record).get("embargo") or {}).get("active")
    if target.server is not None:
        target.server.lift_embargoes("2990-01-02")
    assert access_of(target, record)["files"] == "restricted"


def test_the_fake_opens_what_is_restricted_when_an_embargo_ends_as_the_server_does(fake: Fake) -> None:
    target = Target(fake.url, {"publisher": "token-publisher"}, fake.transport, fake)
    embargo = {"active": True, "until": "2990-01-01", "reason": ""}
    shut = {"access": {"record": "restricted", "files": "restricted", "embargo": embargo}}
    record = target.publish(Package(more=shut)).record.id
    fake.lift_embargoes("2990-01-02")
    assert (access_of(target, record)["record"], access_of(target, record)["files"]) == ("public", "public")


def decided(archive: ArchiveView, **values: Any) -> ArchiveView:
    """The Archive after a person restricted it, or put it under an embargo (`until`)."""
    metadata = {**archive.metadata, "embargo_until": values.get("until")}
    return replace(archive, metadata=metadata, restricted=values.get("restricted", False))


def test_an_embargo_that_is_extended_or_lifted_later_reaches_the_record(
    target: Target, access: Callable[..., Path]
) -> None:
    store, placements, path = MemoryStore(), MemoryPlacements(), access()
    archive = preserved(store, FILES)
    record = run(target, store, archive, path, placements).output["destinations"]["library"]["record"]
    before = metadata_of(target, record)
    for until in ("2989-01-01", "2990-01-01", "2985-01-01"):
        outcome = run(target, store, decided(archive, until=until), path, placements)
        assert outcome.output["destinations"]["library"]["record"] == record
        assert outcome.state is StepState.COMPLETED, outcome.message
        assert (access_of(target, record)["files"], access_of(target, record)["embargo"]["until"]) == (
            "restricted",
            until,
        )
    run(target, store, decided(archive), path, placements)
    assert access_of(target, record)["files"] == "public"
    assert metadata_of(target, record) == before
    assert len(target.published(f"oais:cds:{archive.recid}")) == 1


@pytest.mark.parametrize("policy", ["withhold", "restrict"])
def test_an_archive_that_is_restricted_later_is_restricted_there(
    target: Target, access: Callable[..., Path], policy: str
) -> None:
    store, placements, path = MemoryStore(), MemoryPlacements(), access(restricted=policy)
    archive = preserved(store, FILES)
    record = run(target, store, archive, path, placements).output["destinations"]["library"]["record"]
    outcome = run(target, store, decided(archive, restricted=True), path, placements)
    assert outcome.state is StepState.COMPLETED, outcome.message
    assert access_of(target, record)["record"] == "restricted"
    outcome = run(target, store, archive, path, placements)
    assert outcome.state is StepState.COMPLETED, outcome.message
    assert (access_of(target, record)["record"], access_of(target, record)["files"]) == ("public", "public")


def test_a_record_that_somebody_there_shut_stays_shut_and_is_named(target: Target, access: Callable[..., Path]) -> None:
    store, placements, path = MemoryStore(), MemoryPlacements(), access()
    archive = preserved(store, FILES)
    record = run(target, store, archive, path, placements).output["destinations"]["library"]["record"]
    with target.wire() as wire:
        records = Records(wire)
        found = records.record(record)
        assert found is not None
        settle(records, found, SHUT, None, lambda: None)
    outcome = run(target, store, archive, path, placements)
    assert outcome.state is StepState.COMPLETED_WITH_WARNINGS
    assert "access-stricter" in {finding.code for finding in outcome.findings}
    assert access_of(target, record)["record"] == "restricted"


def test_an_embargo_during_a_review_shuts_the_draft(target: Target, access: Callable[..., Path]) -> None:
    store, placements = MemoryStore(), MemoryPlacements()
    archive, path = preserved(store, FILES), access(community=target.community(), review=True)
    request = run(target, store, archive, path, placements).output["destinations"]["library"]["request"]
    embargoed = decided(archive, until="2990-01-01")
    assert run(target, store, embargoed, path, placements).state is StepState.WAITING
    target.decide(request, "accept")
    record = run(target, store, embargoed, path, placements).output["destinations"]["library"]["record"]
    assert access_of(target, record)["files"] == "restricted"


def test_an_embargo_during_a_review_that_was_accepted_at_once_shuts_the_record(
    target: Target, access: Callable[..., Path]
) -> None:
    store, placements = MemoryStore(), MemoryPlacements()
    archive, path = preserved(store, FILES), access(community=target.community(), review=True)
    request = run(target, store, archive, path, placements).output["destinations"]["library"]["request"]
    target.decide(request, "accept")
    embargoed = decided(archive, until="2990-01-01")
    record = run(target, store, embargoed, path, placements).output["destinations"]["library"]["record"]
    assert access_of(target, record)["files"] == "restricted"


@pytest.mark.parametrize(
    "standing", [Standing(restricted=True, metadata={}), Standing(False, {"embargo_until": "2990-01-01"})]
)
def test_nothing_is_published_that_was_shut_while_it_was_sent(
    target: Target, access: Callable[..., Path], standing: Standing
) -> None:
    store, placements, path = MemoryStore(), MemoryPlacements(), access(restricted="restrict")
    archive = preserved(store, FILES)
    placements.standings[archive.id] = standing
    with pytest.raises(Retryable, match="decided anew"):
        run(target, store, archive, path, placements)
    assert target.published(f"oais:cds:{archive.recid}") == []
    anew = replace(archive, restricted=standing.restricted, metadata={**archive.metadata, **standing.metadata})
    record = run(target, store, anew, path, placements).output["destinations"]["library"]["record"]
    assert access_of(target, record)["files"] == "restricted"


def withdrawal(target: Target, store: MemoryStore, archive: ArchiveView, path: Path, placements: Any, user: str) -> Any:
    """One invocation of the step `withdraw`."""
    asked = replace(archive, step=replace(archive.step, id=new_id(), input={"reason": "retracted"}))
    ports = ports_for(store, path, placements, asked.step.id)
    return withdraw.run(asked, ports, lambda destination: target.wire(user))


def test_what_one_destination_refuses_keeps_nothing_on_the_others(target: Target, access: Callable[..., Path]) -> None:
    store, placements, path = MemoryStore(), MemoryPlacements(), access()
    pages = '\n[[destination]]\nid = "access-pages"\ntype = "access-pages"\n'
    path.write_text(path.read_text() + pages)
    archive = preserved(store, FILES)
    record = run(target, store, archive, path, placements).output["destinations"]["library"]["record"]
    placements.note("former", archive.id, Placed("abc", "published"))
    outcome = withdrawal(target, store, archive, path, placements, "publisher")
    assert outcome.state is StepState.BLOCKED
    told = outcome.output
    assert (told["withdrawn"], told["shut"], told["still_public"]) == (["access-pages"], ["library"], ["former"])
    assert "403" in outcome.message
    assert "configured no longer" in outcome.message
    assert placements.known("access-pages", archive.id).state == "withdrawn"
    del placements.known_by["former", archive.id]
    outcome = withdrawal(target, store, archive, path, placements, "admin")
    assert (outcome.state, outcome.output["withdrawn"]) == (StepState.COMPLETED, ["access-pages", "library"])
    with target.wire() as wire, pytest.raises(RdmGone):
        Records(wire).record(record)


def test_a_draft_is_thrown_away_when_its_archive_is_withdrawn(target: Target, access: Callable[..., Path]) -> None:
    store, placements, path = MemoryStore(), MemoryPlacements(), access()
    archive = preserved(store, FILES)
    placements.standings[archive.id] = Standing(restricted=False, metadata={})
    package = Package(resource=f"oais:cds:{archive.recid}")
    with target.wire() as wire:
        draft = Records(wire).create(package.order().body)
    placements.note("library", archive.id, Placed(draft.id, "draft"))
    outcome = withdrawal(target, store, archive, path, placements, "publisher")
    assert outcome.state is StepState.COMPLETED, outcome.message
    assert target.drafts(package.resource) == []


def test_a_review_is_cancelled_when_its_archive_is_withdrawn(target: Target, access: Callable[..., Path]) -> None:
    store, placements = MemoryStore(), MemoryPlacements()
    archive, path = preserved(store, FILES), access(community=target.community(), review=True)
    told = run(target, store, archive, path, placements).output["destinations"]["library"]
    outcome = withdrawal(target, store, archive, path, placements, "publisher")
    assert outcome.state is StepState.COMPLETED, outcome.message
    with target.wire() as wire:
        with pytest.raises(RdmNotFound):
            Records(wire).request_status(told["request"])
        assert Records(wire).draft(told["record"]) is None
    placements.standings[archive.id] = Standing(False, archive.metadata, (None,))
    assert "withheld" in run(target, store, archive, path, placements).output["destinations"]["library"]
    placements.standings[archive.id] = Standing(False, archive.metadata)
    again = run(target, store, archive, path, placements)
    assert (again.state, len(target.drafts(f"oais:cds:{archive.recid}"))) == (StepState.WAITING, 1)


def test_a_record_that_was_accepted_meanwhile_is_withdrawn_as_well(target: Target, access: Callable[..., Path]) -> None:
    store, placements = MemoryStore(), MemoryPlacements()
    archive, path = preserved(store, FILES), access(community=target.community(), review=True)
    told = run(target, store, archive, path, placements).output["destinations"]["library"]
    target.decide(told["request"], "accept")
    outcome = withdrawal(target, store, archive, path, placements, "admin")
    assert outcome.state is StepState.COMPLETED, outcome.message
    with target.wire() as wire, pytest.raises(RdmGone):
        Records(wire).record(told["record"])


def test_the_records_of_all_aips_of_an_archive_are_withdrawn_and_shut(
    target: Target, access: Callable[..., Path]
) -> None:
    """The AIP of an Archive was renewed, so that its record has two versions."""
    store, placements, path = MemoryStore(), MemoryPlacements(), access()
    first = preserved(store, FILES)
    renewed = replace(preserved(store, {**FILES, "more.txt": b"m"}), id=first.id, recid=first.recid)
    made = [
        run(target, store, archive, path, placements).output["destinations"]["library"]["record"]
        for archive in (first, renewed)
    ]
    assert len(set(made)) == 2
    run(target, store, decided(renewed, until="2990-01-01"), path, placements)
    assert [access_of(target, record)["files"] for record in made] == ["restricted", "restricted"]
    assert withdrawal(target, store, renewed, path, placements, "admin").state is StepState.COMPLETED
    for record in made:
        with target.wire() as wire, pytest.raises(RdmGone):
            Records(wire).record(record)


def test_what_is_decided_is_brought_where_an_archive_is_and_nowhere_else(
    target: Target, access: Callable[..., Path]
) -> None:
    store, placements, path = MemoryStore(), MemoryPlacements(), access()
    archive = preserved(store, FILES)
    record = run(target, store, archive, path, placements).output["destinations"]["library"]["record"]
    path = access(sources=["others"])
    path.write_text(f'{path.read_text()}\n[[destination]]\nid = "access-pages"\ntype = "access-pages"\n')
    placements.note("former", archive.id, Placed("abc", "published"))
    asked = replace(decided(archive, restricted=True), step=replace(archive.step, input={"where": "published"}))
    outcome = run(target, store, asked, path, placements)
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "destination-unknown")
    assert set(outcome.output["destinations"]) == {"library", "former"}
    assert access_of(target, record)["record"] == "restricted"
