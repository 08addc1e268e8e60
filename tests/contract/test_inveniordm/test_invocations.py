"""What a step over several invocations records, and what it notices, on servers in moods that only the fake has."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from perdura.errors import Retryable
from perdura.outcome import StepState
from perdura.ports import Standing
from perdura.steps import publish
from perdura.storage.memory import MemoryStore
from tests.contract.test_inveniordm.fake import TOKENS, Fake
from tests.contract.test_inveniordm.ports import MemoryPlacements, ports_for, preserved
from tests.contract.test_inveniordm.test_step import FILES, continued, going_on, run, zips
from tests.contract.test_inveniordm.world import Target


@pytest.fixture
def target(fake: Fake) -> Target:
    return Target(fake.url, TOKENS, fake.transport, fake)


def test_bytes_that_are_not_those_of_the_index_are_noticed_over_several_invocations(
    target: Target, access: Callable[..., Path]
) -> None:
    store, placements, path = MemoryStore(), MemoryPlacements(), access(multipart_above=2**20, part_size=2**20)
    archive = preserved(store, {"long.bin": os.urandom(3 * 2**20)})
    run(target, store, archive, path, placements)
    stream = store.stream
    store.stream = lambda *told: (chunk if len(chunk) < 2**16 else bytes(len(chunk)) for chunk in stream(*told))
    outcomes, _ = continued(target, store, archive, path, placements)
    assert (outcomes[-1].state, outcomes[-1].error_code) == (StepState.BLOCKED, "bad-aip")
    assert len(outcomes) > 1


def test_a_zip_is_recorded_though_the_archive_was_decided_anew_at_the_last_moment(
    target: Target, fake: Fake, access: Callable[..., Path]
) -> None:
    """It is restricted after the record was published, right before that is noted."""
    store, path = MemoryStore(), access(container="zip", restricted="restrict")
    archive = preserved(store, FILES)

    class Late(MemoryPlacements):
        def standing(self, archive: UUID) -> Standing | None:
            published = any(item.published for item in fake.items.values())
            return Standing(published, metadata) if published else None

    metadata = archive.metadata
    outcome = run(target, store, archive, path, placements := Late())
    assert (outcome.state, outcome.error_code) == (StepState.WAITING, "decided-anew")
    assert (len(zips(outcome)), outcome.published) == (1, {})
    assert [event.type for event in outcome.events] == ["information package creation"]
    archive = replace(going_on(archive, outcome), restricted=True, packages=(*archive.packages, *zips(outcome)))
    outcome = run(target, store, archive, path, placements)
    assert (outcome.state, zips(outcome)) == (StepState.COMPLETED, []), outcome.message


def test_a_zip_is_recorded_though_its_server_is_away(target: Target, fake: Fake, access: Callable[..., Path]) -> None:
    store, path = MemoryStore(), access(container="zip")
    archive, fake.storm = preserved(store, {"a.txt": b"a"}), 10**6
    outcome = run(target, store, archive, path)
    assert (outcome.state, len(zips(outcome))) == (StepState.WAITING, 1)
    archive = replace(going_on(archive, outcome), packages=(*archive.packages, *zips(outcome)))
    with pytest.raises(Retryable):
        run(target, store, archive, path)


def test_a_record_that_is_shut_is_recorded_once_while_another_destination_is_waited_for(
    target: Target, fake: Fake, access: Callable[..., Path]
) -> None:
    """What is withheld from the library is shut there; the other destination restricts it, and reviews."""
    store, placements, other = MemoryStore(), MemoryPlacements(), Fake("http://other.test")
    archive = preserved(store, FILES)
    run(target, store, archive, access(), placements)
    path, more = access(), access(restricted="restrict", community="archive", review=True).read_text()
    more = more.replace('id = "library"', 'id = "other"').replace(fake.url, other.url)
    path.write_text(f"{path.read_text()}\n{more}")
    servers = {"library": target, "other": Target(other.url, TOKENS, other.transport, other)}
    archive = replace(archive, restricted=True)
    events = []
    for _ in range(2):
        ports = ports_for(store, path, placements, archive.step.id)
        outcome = publish.run(archive, ports, lambda destination: servers[destination.id].wire())
        assert outcome.state is StepState.WAITING, outcome.message
        assert "restricted" in outcome.output["destinations"]["library"]
        archive = going_on(archive, outcome)
        events += [event.type for event in outcome.events]
    assert events == ["policy assignment"]
