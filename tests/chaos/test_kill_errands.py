"""Functions killed or told to end in the middle of an errand: recall, verify, withdraw, notify, list for a schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from perdura.cloudevents.codec import encode_binary
from perdura.cloudevents.message import CloudEvent
from tests.chaos.test_kill import arm, killed
from tests.e2e.test_notifying import Receivers
from tests.stack import Stack, bag_tar, running_stack
from tests.upstreams.repository import Repository
from tests.upstreams.server import serving

pytestmark = [pytest.mark.chaos, pytest.mark.stack, pytest.mark.timeout(300)]

RECORDS = 3
DEATHS = (
    ("before-effect", "KILL"),
    ("after-effect", "KILL"),
    ("after-commit", "KILL"),
    ("before-effect", "TERM"),
    ("after-effect", "TERM"),
)


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def receivers() -> Iterator[Receivers]:
    made = Receivers()
    with made.listening():
        yield made


@pytest.fixture(scope="module")
def repository() -> Iterator[Repository]:
    """A repository that a schedule lists."""
    made = Repository()
    made.fill(RECORDS, datetime.now(UTC) - timedelta(days=1))
    with serving() as upstream:
        made.base, upstream.fallback = upstream.base, made.answer
        yield made


@pytest.fixture(scope="module")
def stack(faults: Path, receivers: Receivers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    access = tmp_path_factory.mktemp("access") / "access.toml"
    access.write_text(f'[[notification]]\nid = "catalogue"\ntype = "webhook"\nurl = "{receivers.url}/hook"\n')
    settings = {"PERDURA_FAULTS": str(faults), "PERDURA_VIRUS_SCAN": "off", "PERDURA_ACCESS": str(access)}
    with running_stack(settings) as stack:
        yield stack


def recall(stack: Stack, archive: str) -> None:
    stack.api.post(f"/archives/{archive}/recalls", json={}).raise_for_status()


def verify(stack: Stack, archive: str) -> None:
    package = stack.scalar("SELECT id FROM package WHERE archive_id = :a AND kind = 'AIP'", a=archive)
    kind = "org.perdura.fixity.requested.v1"
    event = CloudEvent(id=str(uuid4()), source="/tests", type=kind, data={"package": str(package)})
    headers, body = encode_binary(event)
    httpx.post(f"{stack.urls['broker']}/perdura/default", headers=headers, content=body, timeout=60).raise_for_status()


def withdraw(stack: Stack, archive: str) -> None:
    stack.api.post(f"/archives/{archive}/withdrawal", json={"reason": "copyright"}).raise_for_status()


def notify(stack: Stack, archive: str) -> None:
    asked = {"status": "P", "notification": "catalogue"}
    stack.api.post(f"/archives/{archive}/notifications", json=asked).raise_for_status()


@dataclass(frozen=True)
class Errand:
    """What is asked of a preserved Archive, of which function, and how often each effect may be seen afterwards."""

    function: str
    ask: Callable[[Stack, str], None]
    effect: str


ERRANDS = {
    "recall": Errand("archive-cta", recall, "SELECT count(*) FROM package WHERE archive_id = :a AND kind = 'AIP'"),
    "verify": Errand(
        "preserve", verify, "SELECT count(*) FROM copy JOIN package ON package.id = package_id "
        "WHERE archive_id = :a AND kind = 'AIP' AND location = 'object-store' AND verified_at IS NOT NULL",
    ),
    "withdraw": Errand(
        "publish", withdraw, "SELECT count(*) FROM placement WHERE archive_id = :a AND state = 'withdrawn'"
    ),
    "notify": Errand("publish", notify, "SELECT count(*) FROM publication WHERE archive_id = :a"),
}  # fmt: skip


@pytest.mark.parametrize(("point", "how"), DEATHS)
@pytest.mark.parametrize("name", ERRANDS)
def test_an_errand_killed_anywhere_is_done_once_in_the_end(
    stack: Stack, faults: Path, name: str, point: str, how: str
) -> None:
    errand = ERRANDS[name]
    archive = stack.deposit(bag_tar({"a.txt": f"{name} {point} {how}".encode()}))
    assert stack.finished(archive)["state"] == "completed", stack.steps(archive)
    stack.until(lambda: settled(stack, archive) or None, 60)
    earlier = {step["id"] for step in stack.steps(archive)}
    arm(faults, errand.function, point, how)
    errand.ask(stack, archive)

    def over() -> list[str] | None:
        new = [step for step in stack.steps(archive) if step["id"] not in earlier and step["name"] == name]
        return [step["state"] for step in new] if new and all(step["finished"] for step in new) else None

    assert stack.until(over, 90, lambda: str(stack.steps(archive))) == ["completed"]
    killed(stack, faults, errand.function, point)
    assert stack.scalar(errand.effect, a=archive) == 1
    assert stack.archive(archive)["state"] == "completed"


def settled(stack: Stack, archive: str) -> bool:
    """Whether both notices (I and P) of an Archive were told: nothing else may reach the armed point first."""
    steps = stack.steps(archive)
    return sum(step["name"] == "notify" for step in steps) == 2 and all(step["finished"] for step in steps)


@pytest.mark.parametrize(("point", "how"), DEATHS)
def test_a_listing_killed_anywhere_finds_each_record_once(
    stack: Stack, faults: Path, repository: Repository, point: str, how: str
) -> None:
    schedule = {
        "name": f"{point} {how}", "source": "demo", "base_url": repository.base, "cron": "@daily",
        "grace_seconds": 0, "pipeline": ["harvest"],
    }  # fmt: skip
    made = stack.api.post("/schedules", json=schedule)
    made.raise_for_status()
    arm(faults, "harvest", point, how)
    stack.api.post(f"/schedules/{made.json()['id']}/runs").raise_for_status()
    run = "SELECT id FROM harvest_run WHERE schedule_id = :s"
    state = "SELECT state FROM harvest_run WHERE schedule_id = :s"
    stack.until(lambda: stack.scalar(state, s=made.json()["id"]) == "completed" or None, 90)
    killed(stack, faults, "harvest", point)
    assert stack.scalar(f"SELECT count(*) FROM harvest_item WHERE run_id = ({run})", s=made.json()["id"]) == RECORDS
