"""What is decided of an Archive reaches its records before, and without, anything of their files is looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perdura.clients.inveniordm.records import Records
from perdura.outcome import ArchiveView, StepState
from perdura.steps import publish
from perdura.storage.memory import MemoryStore
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
    with pytest.raises(AssertionError):
        run(target, store, errand(decided(archive, until="2990-01-01")), path, placements)
    with target.wire() as wire:
        draft = Records(wire).draft(record)
    assert draft is not None
    assert draft.access["files"] == "restricted"


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
