"""What a server computes and fetches in the background is waited for, and nothing of it is thrown away meanwhile."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from perdura.clients.destinations import Destination
from perdura.clients.inveniordm.wire import Wire
from perdura.outcome import ArchiveView, PackageKind, StepState
from perdura.steps import publish, publish_transfer
from perdura.storage.memory import MemoryStore
from tests.contract.test_inveniordm.fake import TOKENS, Fake
from tests.contract.test_inveniordm.ports import AT, MemoryPlacements, ports_for, preserved
from tests.contract.test_inveniordm.world import Target, md5s

FILES = {"big.bin": os.urandom(1_000_000), "other.bin": os.urandom(700_000), "small.txt": b"small"}
PARTS = {"multipart_above": 2**19, "part_size": 2**18}
HOST = "storage.test"


@pytest.fixture
def target(fake: Fake) -> Target:
    return Target(fake.url, TOKENS, fake.transport, fake)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody sleeps between two looks."""
    monkeypatch.setattr(publish_transfer, "PAUSE", 0.0)


class Fetchable(MemoryStore):
    """A store whose presigned addresses name a host."""

    def presigned_get(self, *told: Any, **more: Any) -> str:
        return f"https://{HOST}/{super().presigned_get(*told, **more).removeprefix('memory://')}"


@dataclass
class Clock:
    """A clock that tests set forward."""

    at: datetime = AT

    def now(self) -> datetime:
        return self.at


@dataclass
class Step:
    """A step that is run as long as a test wants, each time with the checkpoint of the time before."""

    fake: Fake
    archive: ArchiveView
    path: Path
    store: MemoryStore
    placements: MemoryPlacements = field(default_factory=MemoryPlacements)
    clock: Clock = field(default_factory=Clock)
    user: str = "publisher"
    others: dict[str, Fake] = field(default_factory=dict)
    """Servers of further destinations, by their ids."""

    def run(self) -> Any:
        """One invocation."""

        def connect(destination: Destination) -> Wire:
            server = self.others.get(destination.id, self.fake)
            return Target(server.url, TOKENS, server.transport, server).wire(self.user)

        ports = replace(ports_for(self.store, self.path, self.placements, self.archive.step.id), clock=self.clock)
        self.fake.calls.clear()
        outcome = publish.run(self.archive, ports, connect)
        checkpoint = json.loads(json.dumps(outcome.checkpoint or {}))
        packages = tuple(package for package in outcome.packages if package.kind is PackageKind.DIP)
        self.archive = replace(
            self.archive,
            step=replace(self.archive.step, checkpoint=checkpoint),
            packages=(*self.archive.packages, *packages),
        )
        return outcome

    def asked(self, method: str) -> Sequence[str]:
        """Paths of files that the last invocation asked for with a method."""
        return [path for each, path in self.fake.calls if each == method and "/files" in path]


@pytest.fixture
def step(fake: Fake, access: Callable[..., Path]) -> Step:
    """Files above 512 KiB go in parts, to a server whose background tasks wait."""
    store = MemoryStore()
    fake.slow = True
    return Step(fake, preserved(store, FILES), access(**PARTS), store)


def fetching(fake: Fake, access: Callable[..., Path]) -> Step:
    """The whole AIP is fetched by a server, whose background tasks wait."""
    store = Fetchable()
    archive = preserved(store, {"big.bin": FILES["big.bin"]})
    aip = archive.package(PackageKind.AIP)
    assert aip is not None
    fake.slow, fake.allowed_hosts = True, {HOST: store.read(store.head(aip.bucket, aip.key).ref)}
    return Step(fake, archive, access(content="aip", fetch=True, **PARTS), store, user="admin")


def told(step: Step, outcome: Any) -> dict[str, str | None]:
    """MD5 of the files of the published record."""
    assert outcome.state is StepState.COMPLETED, outcome.message
    target = Target(step.fake.url, TOKENS, step.fake.transport, step.fake)
    return target.digests(outcome.output["destinations"]["library"]["record"])


def test_an_md5_that_the_server_still_computes_is_waited_for(step: Step) -> None:
    """All files are sent meanwhile; then nothing is deleted, sent or read again, however often it is looked at."""
    outcome = step.run()
    assert outcome.state is StepState.WAITING
    assert AT < outcome.poll_at <= AT + timedelta(minutes=1)
    assert outcome.output["destinations"]["library"] == {"awaited": ["big.bin", "other.bin"]}
    assert not any(event.type == "dissemination" for event in outcome.events)
    step.clock.at += timedelta(hours=1)
    outcome = step.run()
    assert outcome.state is StepState.WAITING
    assert outcome.poll_at == step.clock.at + timedelta(minutes=10)
    assert (step.asked("DELETE"), step.asked("PUT"), step.asked("POST")) == ([], [], [])
    assert not any(item.published for item in step.fake.items.values())
    step.fake.work_off()
    assert told(step, step.run()) == md5s(FILES)
    assert (step.asked("DELETE"), step.asked("PUT"), step.asked("POST")) == ([], [], [])


def test_a_worker_that_dies_while_the_server_computes_loses_nothing_that_is_there(step: Step) -> None:
    step.run()
    step.archive = replace(step.archive, step=replace(step.archive.step, checkpoint={}))
    assert step.run().state is StepState.WAITING
    assert (step.asked("DELETE"), step.asked("PUT"), step.asked("POST")) == ([], [], [])
    step.fake.work_off()
    assert told(step, step.run()) == md5s(FILES)


def test_an_md5_that_turns_out_wrong_has_the_file_sent_again_but_not_for_ever(step: Step) -> None:
    for time in range(1, 4):
        step.run()
        (item,) = step.fake.items.values()
        assert item.files["big.bin"].content == FILES["big.bin"]
        item.files["big.bin"].content = b"\0" * 1_000_000
        step.fake.work_off()
        outcome = step.run()
        assert "big.bin" not in item.files
        assert "was stored with the MD5" in outcome.message
        assert outcome.state is (StepState.WAITING if time < 3 else StepState.BLOCKED)
    assert (outcome.error_code, item.published) == ("wrong-bytes", None)


def test_a_server_that_never_tells_an_md5_blocks_the_step_and_keeps_what_was_sent(step: Step) -> None:
    step.run()
    step.clock.at += timedelta(hours=25)
    outcome = step.run()
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "access-system-tells-no-md5")
    assert "big.bin, other.bin" in outcome.message
    (item,) = step.fake.items.values()
    assert set(item.files) == set(FILES)


def test_a_published_record_whose_md5_is_not_told_yet_is_proven_later(step: Step) -> None:
    """Its owner published the draft by hand while the server computed."""
    step.run()
    (item,) = step.fake.items.values()
    step.fake.make_public(item)
    outcome = step.run()
    assert (outcome.state, outcome.poll_at is not None) == (StepState.WAITING, True)
    step.fake.work_off()
    assert told(step, step.run()) == md5s(FILES)


def test_what_fails_elsewhere_is_told_when_the_server_is_done(step: Step) -> None:
    text = step.path.read_text()
    other = text.replace('"library"', '"other"').replace(step.fake.url, "http://other.test")
    step.path.write_text(f'{text}\n{other}\nresource_type = "nope"\n')
    step.others["other"] = Fake("http://other.test")
    assert step.run().state is StepState.WAITING
    step.fake.work_off()
    outcome = step.run()
    assert outcome.state is StepState.FAILED
    assert [entry["destination"] for entry in outcome.output["publications"]] == ["library"]


def test_a_fetch_by_the_server_that_is_under_way_is_waited_for(fake: Fake, access: Callable[..., Path]) -> None:
    step = fetching(fake, access)
    outcome = step.run()
    assert (outcome.state, outcome.poll_at) == (StepState.WAITING, AT + timedelta(seconds=30))
    name = f"{step.archive.id}.tar"
    assert outcome.output["destinations"]["library"] == {"awaited": [name]}
    step.clock.at += timedelta(hours=3)
    assert step.run().state is StepState.WAITING
    assert (step.asked("DELETE"), step.asked("PUT"), step.asked("POST")) == ([], [], [])
    fake.work_off()
    found = told(step, step.run())
    assert (step.asked("DELETE"), step.asked("PUT"), step.asked("POST")) == ([], [], [])
    assert found[name] == hashlib.md5(fake.allowed_hosts[HOST]).hexdigest()


@pytest.mark.parametrize("fate", ["refused", "never", "other-bytes"])
def test_what_the_server_could_not_fetch_is_sent_and_not_asked_for_again(
    fake: Fake, access: Callable[..., Path], fate: str
) -> None:
    step = fetching(fake, access)
    whole = fake.allowed_hosts[HOST]
    step.run()
    if fate == "never":
        step.clock.at += timedelta(hours=25)
    elif fate == "other-bytes":
        fake.allowed_hosts[HOST] = b"\0" * len(whole)
        fake.work_off()
        assert "was stored with the MD5" in step.run().message
    else:
        fake.work_off(gone=True)
    step.run()
    assert any("/content/" in path for path in step.asked("PUT"))
    fake.work_off()
    assert told(step, step.run())[f"{step.archive.id}.tar"] == hashlib.md5(whole).hexdigest()
