"""A deposit whose content is kept already is answered with the Archive that has it."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

import pytest

from perdura.outcome import ArchiveView, StepState, StepView
from perdura.ports import Ports
from perdura.settings import Settings
from perdura.steps import ingest
from perdura.storage.memory import MemoryStore
from tests.corpus.tree import Files, as_archive, bag, with_tag_manifest
from tests.unit.preserve.fakes import FixedClock, NoDeadline, NoIntents, derived

FIRST, SECOND = UUID(int=1), UUID(int=2)


@dataclass
class Held:
    """Contents in memory."""

    held: dict[str, UUID] = field(default_factory=dict)

    def of(self, archive: UUID) -> Claims:
        return Claims(self.held, archive)


@dataclass
class Claims:
    held: dict[str, UUID]
    archive: UUID

    def claim(self, sha256: str) -> UUID | None:
        holder = self.held.setdefault(sha256, self.archive)
        return None if holder == self.archive else holder


class World:
    def __init__(self) -> None:
        self.store, self.held = MemoryStore(), Held()

    def deposit(self, archive: UUID, data: bytes, duplicates: str = "answer") -> ingest.Outcome:
        key = f"deposits/{archive}"
        self.store.put("perdura-incoming", key, data)
        view = ArchiveView(archive, StepView(archive, "ingest", 1, {"bucket": "perdura-incoming", "key": key}))
        ports = Ports(
            settings=Settings(duplicate_deposits=duplicates),
            store=self.store,
            clock=FixedClock(),
            deadline=NoDeadline(),
            intents=NoIntents(),
            progress=lambda what, done, total: None,
            derived=derived,
            contents=self.held.of(archive),
        )
        return ingest.run(view, ports)


def sound(**changes: bytes) -> Files:
    return with_tag_manifest(bag(**changes))


@pytest.mark.parametrize("container", ["tar", "zip", "tar.gz"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "md5"])
def test_the_same_content_is_known_in_any_container_and_under_any_manifest(container: str, algorithm: str) -> None:
    world = World()
    assert world.deposit(FIRST, as_archive(sound(), "tar")).state is StepState.COMPLETED
    again = world.deposit(SECOND, as_archive(with_tag_manifest(bag(algorithms=(algorithm,))), container))
    assert again.state is StepState.FAILED
    assert again.error_code == "duplicate-content"
    assert again.output["duplicate_of"] == str(FIRST)
    assert str(FIRST) not in (again.message or ""), "who reads of it may not be allowed to see that one"
    assert not again.packages[0].accepted


def test_a_second_attempt_is_no_duplicate_of_the_first() -> None:
    world = World()
    world.deposit(FIRST, as_archive(sound(), "tar"))
    assert world.deposit(FIRST, as_archive(sound(), "tar")).state is StepState.COMPLETED


def test_other_content_is_no_duplicate() -> None:
    world = World()
    world.deposit(FIRST, as_archive(sound(), "tar"))
    other = with_tag_manifest(bag({"data/hello.txt": b"hello!\n"}))
    assert world.deposit(SECOND, as_archive(other, "tar")).state is StepState.COMPLETED


def test_what_is_invalid_claims_nothing() -> None:
    world = World()
    broken = sound() | {"data/hello.txt": b"HELLO\n"}
    assert world.deposit(FIRST, as_archive(broken, "tar")).error_code == "checksum-mismatch"
    assert world.deposit(SECOND, as_archive(sound(), "tar")).state is StepState.COMPLETED


def test_an_institution_may_want_it_twice() -> None:
    world = World()
    world.deposit(FIRST, as_archive(sound(), "tar"))
    assert world.deposit(SECOND, as_archive(sound(), "tar"), duplicates="keep").state is StepState.COMPLETED


def test_the_same_bytes_under_other_names_are_other_content() -> None:
    first = ingest.content_digest((ingest.File("data/a", 1, {"sha256": "x"}),))
    renamed = ingest.content_digest((ingest.File("data/b", 1, {"sha256": "x"}),))
    assert first != renamed
