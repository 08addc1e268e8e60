"""What is decided of an Archive reaches its records before, and without, anything of their files is looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from perdura.clients.inveniordm.files import Files
from perdura.clients.inveniordm.records import Records
from perdura.errors import Retryable
from perdura.outcome import ArchiveView, StepState
from perdura.steps import publish
from perdura.storage.memory import MemoryStore
from tests.contract.test_inveniordm.meanwhile import World
from tests.contract.test_inveniordm.ports import Budget, MemoryPlacements, ports_for, preserved
from tests.contract.test_inveniordm.test_protection import access_of, decided
from tests.contract.test_inveniordm.test_step import FILES, run
from tests.contract.test_inveniordm.world import Target


class Unreadable(MemoryStore):
    """A store that gives nothing more of what is in it once it is `lost`."""

    lost = False

    def read(self, *told: Any, **more: Any) -> bytes:
        assert not self.lost
        return super().read(*told, **more)


def errand(archive: ArchiveView) -> ArchiveView:
    """The Archive as the step sees it that was asked for after a decision."""
    return replace(archive, step=replace(archive.step, input={"where": "published", "by": "the archivist"}))


def as_stored(world: World, archive: ArchiveView) -> ArchiveView:
    """The Archive in another step, after what was decided of it was stored."""
    world.archive = archive
    with world.database.begin() as connection:
        connection.execute(
            text("UPDATE archive SET restricted = :restricted WHERE id = :id"),
            {"id": archive.id, "restricted": archive.restricted},
        )
    world.put_under_embargo(archive.metadata["embargo_until"])
    return world.archive


DECISIONS = [{"until": "2990-01-01"}, {"restricted": True}]


@pytest.mark.parametrize("decision", DECISIONS)
def test_what_is_decided_later_reaches_the_record_without_a_byte_of_its_files(
    target: Target, access: Callable[..., Path], decision: dict[str, Any]
) -> None:
    """The AIP may be as large as it wants, and nothing that is wrong with it keeps its record open."""
    store, placements, path = Unreadable(), MemoryPlacements(), access(restricted="restrict", content="aip")
    archive = preserved(store, FILES)
    record = run(target, store, archive, path, placements).output["destinations"]["library"]["record"]
    store.lost = True
    shut = errand(decided(archive, **decision))
    ports = replace(ports_for(store, path, placements, shut.step.id), deadline=Budget(0))
    outcome = publish.run(shut, ports, lambda destination: target.wire())
    assert outcome.state is StepState.COMPLETED, outcome.message
    assert access_of(target, record)["files"] == "restricted"
    assert outcome.output["destinations"]["library"]["record"] == record
    (event,) = outcome.events
    assert (event.type, event.objects[-1].value) == ("policy assignment", record)
    assert event.agents[0].value == "the archivist"
    outcome = run(target, store, errand(archive), path, placements)
    assert outcome.state is StepState.COMPLETED, outcome.message
    assert (access_of(target, record)["record"], access_of(target, record)["files"]) == ("public", "public")


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_record_is_shut_before_its_files_are_compared_and_whatever_is_wrong_with_them(
    target: Target, access: Callable[..., Path], decision: dict[str, Any]
) -> None:
    """The policy of the destination was changed, so that what the record has is not what would be sent now."""
    store, placements, path = MemoryStore(), MemoryPlacements(), access(restricted="restrict")
    archive = preserved(store, FILES)
    record = run(target, store, archive, path, placements).output["destinations"]["library"]["record"]
    path = access(restricted="restrict", dip={"include": ["content/*"]})
    outcome = run(target, store, decided(archive, **decision), path, placements)
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "wrong-bytes")
    assert access_of(target, record)["files"] == "restricted"
    assert run(target, store, errand(archive), path, placements).state is StepState.COMPLETED
    assert access_of(target, record)["files"] == "public"


def test_a_draft_in_review_is_shut_whatever_is_wrong_with_the_aip(target: Target, access: Callable[..., Path]) -> None:
    store, placements = Unreadable(), MemoryPlacements()
    archive, path = preserved(store, FILES), access(community=target.community(), review=True)
    record = run(target, store, archive, path, placements).output["destinations"]["library"]["record"]
    store.lost = True
    outcome = run(target, store, errand(decided(archive, until="2990-01-01")), path, placements)
    assert outcome.state is StepState.COMPLETED, outcome.message
    with target.wire() as wire:
        draft = Records(wire).draft(record)
    assert draft is not None
    assert draft.access["files"] == "restricted"
    outcome = run(target, store, errand(archive), path, placements)
    assert outcome.state is StepState.COMPLETED, outcome.message
    with target.wire() as wire:
        draft = Records(wire).draft(record)
    assert draft is not None
    assert draft.access["files"] == "public"


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_decision_publishes_no_draft_of_a_publication_that_was_given_up(
    made: Callable[..., World], decision: dict[str, Any]
) -> None:
    """Neither is anything sent to it, nor what another step sends removed."""
    world = made(restricted="restrict")

    def die() -> None:
        raise httpx.ReadTimeout("the server is away")

    with pytest.raises(Retryable):
        world.publish("PUT", "/content", die)
    (draft,) = world.target.drafts(world.resource)
    world.archive = as_stored(world, errand(decided(world.archive, **decision)))
    outcome = world.publish("POST", "/draft/files", lambda: pytest.fail("a file is begun"))
    assert outcome.state is StepState.COMPLETED, outcome.message
    assert (outcome.output["publications"], outcome.events, outcome.facts) == ([], (), ())
    assert world.target.published(world.resource) == []
    (left,) = world.target.drafts(world.resource)
    assert (left.id, left.revision) == (draft.id, draft.revision)
    with world.target.wire() as wire:
        assert len(Files(wire).list(draft.id, draft=True)) == len(FILES)


def test_a_decision_hands_in_nothing_that_curators_declined(made: Callable[..., World]) -> None:
    first = made()
    world = made(community=first.target.community(), review=True)
    told = world.publish().output["destinations"]["library"]
    world.target.decide(told["request"], "decline")
    assert world.publish().error_code == "review-declined"
    world.archive = as_stored(world, errand(decided(world.archive, until="2990-01-01")))
    outcome = world.publish("POST", "/actions/submit-review", lambda: pytest.fail("it is handed in"))
    assert outcome.state is StepState.COMPLETED, outcome.message
    (draft,) = world.target.drafts(world.resource)
    with world.target.wire() as wire:
        assert Records(wire).request_status(draft.review or told["request"]) == "declined"


def test_a_decision_publishes_no_renewed_aip_and_shuts_the_record_of_the_old_one(made: Callable[..., World]) -> None:
    world = made()
    record = world.publish().output["destinations"]["library"]["record"]
    renewed = preserved(world.store, {**FILES, "more.txt": b"m"})
    world.archive = replace(world.archive, packages=renewed.packages)
    world.archive = as_stored(world, errand(decided(world.archive, until="2990-01-01")))
    outcome = world.publish()
    assert outcome.state is StepState.COMPLETED, outcome.message
    (published,) = world.target.published(world.resource)
    assert (published.id, access_of(world.target, record)["files"]) == (record, "restricted")
    assert world.target.drafts(world.resource) == []


def test_a_draft_that_curators_accept_while_it_is_shut_is_shut_as_a_record(made: Callable[..., World]) -> None:
    first = made()
    world = made(community=first.target.community(), review=True)
    told = world.publish().output["destinations"]["library"]
    world.archive = as_stored(world, errand(decided(world.archive, until="2990-01-01")))
    path = f"/api/records/{told['record']}/draft"
    outcome = world.publish("PUT", path, lambda: world.target.decide(told["request"], "accept"))
    assert outcome.state is StepState.COMPLETED, outcome.message
    assert access_of(world.target, told["record"])["files"] == "restricted"
    noted = world.placements.known("library", world.archive.id)
    assert noted is not None
    assert noted.state == "published"


def test_a_record_that_somebody_there_shut_stays_shut_when_it_is_opened_here(
    target: Target, access: Callable[..., Path]
) -> None:
    store, placements, path = MemoryStore(), MemoryPlacements(), access(restricted="restrict")
    archive = preserved(store, FILES)
    record = run(target, store, archive, path, placements).output["destinations"]["library"]["record"]
    with target.wire() as wire:
        records = Records(wire)
        draft = records.edit(record)
        shut = {"record": "restricted", "files": "restricted"}
        body = {"access": shut, "files": {"enabled": True}, "metadata": {**draft.metadata, "rights": []}}
        records.update(record, body, draft.revision)
        records.publish(record)
    outcome = run(target, store, errand(decided(archive, until="2990-01-01")), path, placements)
    assert outcome.state is StepState.COMPLETED_WITH_WARNINGS
    assert {finding.code for finding in outcome.findings} == {"access-stricter"}
    assert access_of(target, record)["record"] == "restricted"


def test_a_restriction_that_shuts_what_is_withheld_has_its_event(target: Target, access: Callable[..., Path]) -> None:
    store, placements, path = MemoryStore(), MemoryPlacements(), access()
    archive = preserved(store, FILES)
    record = run(target, store, archive, path, placements).output["destinations"]["library"]["record"]
    outcome = run(target, store, errand(decided(archive, restricted=True)), path, placements)
    (event,) = outcome.events
    assert (event.type, event.objects[-1].value) == ("policy assignment", record)
    assert "restricted" in event.details[0]


def test_what_somebody_chose_to_be_shown_first_is_shown_first_after_a_decision(made: Callable[..., World]) -> None:
    world = made()
    name = "content/profile ü.csv"
    record = world.publish().output["destinations"]["library"]["record"]
    with world.target.wire() as wire:
        records = Records(wire)
        shown = records.record(record)
        files = {"enabled": True, "default_preview": name}
        records.edit(record)
        records.update(record, {"access": shown.access, "files": files, "metadata": {**shown.metadata}})
        records.publish(record)
        assert records.record(record).preview == name
    world.archive = errand(as_stored(world, replace(world.archive, metadata={"embargo_until": "2990-01-01"})))
    assert world.publish().state is StepState.COMPLETED
    with world.target.wire() as wire:
        current = Records(wire).record(record)
    assert (current.preview, current.access["embargo"]["until"]) == (name, "2990-01-01")
