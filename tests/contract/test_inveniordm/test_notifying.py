"""Sources are told: the call-back of preservation-sync (fake and real), signed webhooks, CloudEvents, COAR Notify."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from perdura.clients import preservation_sync
from perdura.clients.preservation_sync import RECEIVER, Statement
from perdura.clients.receivers import ReceiverForbids, ReceiverRefused, ReceiverUnavailable, post
from perdura.cloudevents.message import CloudEvent
from perdura.errors import Rejected
from perdura.ids import new_id
from perdura.outcome import ArchiveView, StepState
from perdura.registry import archives
from perdura.runtime import notices
from perdura.runtime.environment import Environment
from perdura.settings import Settings
from perdura.steps import notify
from perdura.storage.memory import MemoryStore
from tests.contract.test_inveniordm.ports import AT, ports_for, preserved
from tests.contract.test_inveniordm.world import Package, Target


@pytest.fixture
def path(tmp_path: Path, target: Target, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that describes the receiver of the server under test."""
    monkeypatch.setenv("ARCHIVER_TOKEN", target.tokens["archiver"])
    written = tmp_path / "access.toml"
    written.write_text(
        '[[notification]]\nid = "source"\ntype = "preservation-sync"\n'
        f'url = "{target.url}"\ntoken = {{ env = "ARCHIVER_TOKEN" }}\nsources = ["cds"]\n'
    )
    return written


def told(archive: ArchiveView, status: str, minutes: int) -> ArchiveView:
    """The archive in the errand that tells of a status."""
    at = (AT + timedelta(minutes=minutes)).isoformat()
    step = replace(archive.step, id=new_id(), input={"notification": "source", "status": status, "at": at})
    return replace(archive, step=step)


def read_back(target: Target, record: str) -> list[dict[str, Any]]:
    """What the receiver keeps of a record, the newest first."""
    with httpx.Client(base_url=target.url, transport=target.transport()) as client:
        headers = {"Authorization": f"Bearer {target.tokens['archiver']}"}
        answer = client.get(f"/api/records/{record}/preservations", headers=headers).json()
    found: list[dict[str, Any]] = answer["hits"]["hits"]
    return found


def test_the_receiver_gets_every_status_once_and_reads_them_back(target: Target, path: Path) -> None:
    record = target.publish(Package()).record
    store = MemoryStore()
    archive = replace(
        preserved(store, {"a.txt": b"a"}), recid=record.id, metadata={"revision": f"{record.revision}/{AT.isoformat()}"}
    )
    for minutes, status in enumerate("IPFD"):
        errand = told(archive, status, minutes)
        for repeated in (False, True):
            outcome = notify.run(errand, ports_for(store, path, step=errand.step.id), target.transport())
            assert outcome.state is StepState.COMPLETED
            receipt = outcome.output["receipts"]["source"]
            assert (receipt["answer"], receipt["repeated"]) == ((409, True) if repeated else (202, False))
    rows = read_back(target, record.id)
    assert [row["status"] for row in rows] == ["D", "F", "P", "I"]
    proof = next(row for row in rows if row["status"] == "P")
    assert proof["revision_id"] == record.revision
    assert proof["description"]["aip"] == str(archive.packages[0].id)
    assert proof["description"]["checksums"]["sha256"] == archive.packages[0].checksums["sha256"]
    assert proof["uri"] == f"https://access.test/archives/{archive.id}"


def test_a_proof_sent_again_has_the_time_of_its_package(target: Target, path: Path) -> None:
    """Whoever asks for it and whenever: the receiver recognises it, and another AIP is another proof."""
    record = target.publish(Package()).record
    store = MemoryStore()
    archive = replace(preserved(store, {"a.txt": b"a"}), recid=record.id, metadata={"revision": str(record.revision)})
    aip = archive.packages[0]
    archive = replace(archive, packages=(replace(aip, recorded_at=AT),))
    renewed = replace(archive, packages=(replace(aip, id=new_id(), recorded_at=AT + timedelta(days=1)),))
    repeated = []
    for minutes, each in enumerate((archive, archive, archive, renewed, renewed)):
        errand = told(each, "P", minutes)
        outcome = notify.run(errand, ports_for(store, path, step=errand.step.id), target.transport())
        repeated.append(outcome.output["receipts"]["source"]["repeated"])
    assert repeated == [False, True, True, False, True]
    assert len(read_back(target, record.id)) == 2


def test_addresses_that_are_too_long_are_told_beside(target: Target) -> None:
    record = target.publish(Package()).record
    long = "https://archive.example.org/" + "x" * 300
    statement = Statement(record.id, "P", record.revision, AT, AT, uri=long, path="s3://aip/1.tar")
    preservation_sync.send(target.url, target.tokens["archiver"], statement, target.transport())
    (row,) = read_back(target, record.id)
    assert row["description"]["uri"] == long


@pytest.mark.parametrize(
    ("user", "pid", "error"),
    [
        ("publisher", None, ReceiverForbids),
        ("nobody", None, ReceiverForbids),
        ("archiver", "zzzzz-zzzzz", ReceiverRefused),
    ],
)
def test_a_missing_right_is_for_the_operator_and_an_unknown_record_is_final(
    target: Target, user: str, pid: str | None, error: type[Exception]
) -> None:
    record = target.publish(Package()).record
    statement = Statement(pid or record.id, "P", record.revision, AT, AT)
    with pytest.raises(error):
        preservation_sync.send(target.url, target.tokens.get(user, "wrong"), statement, target.transport())


def test_a_record_whose_revision_is_unknown_is_not_told_of(target: Target, path: Path) -> None:
    store = MemoryStore()
    archive = replace(preserved(store, {"a.txt": b"a"}), metadata={})
    with pytest.raises(Rejected, match="revision"):
        notify.run(told(archive, "P", 0), ports_for(store, path), target.transport())


class Receiver:
    """Takes what is posted and answers what it is told to."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.answers, self.requests = list(answers), []

    def transport(self) -> httpx.MockTransport:
        def respond(request: httpx.Request) -> httpx.Response:
            request.read()
            self.requests.append(request)
            return self.answers.pop(0) if self.answers else httpx.Response(202, text="taken")

        return httpx.MockTransport(respond)


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Writes the file that describes a receiver of some type, with a token and a key."""
    monkeypatch.setenv("RECEIVER_TOKEN", "receiver-token")
    monkeypatch.setenv("RECEIVER_KEY", "whsec_" + base64.b64encode(b"key of 24 bytes or more.").decode())

    def write(kind: str) -> Path:
        path = tmp_path / "access.toml"
        path.write_text(
            f'[[notification]]\nid = "source"\ntype = "{kind}"\nurl = "https://receiver.test/inbox"\n'
            'token = { env = "RECEIVER_TOKEN" }\nsecret = { env = "RECEIVER_KEY" }\n'
        )
        return path

    return write


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [
        ("webhook", "application/json"),
        ("cloudevents", "application/cloudevents+json"),
        ("coar-notify", "application/ld+json"),
    ],
)
def test_other_sources_get_a_signed_message(entry: Callable[[str], Path], kind: str, media_type: str) -> None:
    store, receiver = MemoryStore(), Receiver()
    archive = told(preserved(store, {"a.txt": b"a"}), "P", 0)
    for _ in range(2):
        notify.run(archive, ports_for(store, entry(kind), step=archive.step.id), receiver.transport())
    first, again = receiver.requests
    assert first.headers["Content-Type"] == media_type
    assert first.headers["Authorization"] == "Bearer receiver-token"
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert first.content == again.content
    signed = f"{first.headers['webhook-id']}.{first.headers['webhook-timestamp']}.".encode() + first.content
    expected = base64.b64encode(hmac.new(b"key of 24 bytes or more.", signed, hashlib.sha256).digest()).decode()
    assert first.headers["webhook-signature"] == f"v1,{expected}"
    body = json.loads(first.content)
    if kind == "coar-notify":
        assert body["type"] == ["Announce", "coar-notify:ServiceResult"]
        assert body["context"]["id"] == "https://repository.example.org/records/1"
        assert body["object"]["id"] == f"https://access.test/archives/{archive.id}"
    else:
        assert body["type"] == "org.perdura.archive.preserved.v1"
        assert body["data"]["aip"]["checksums"]["sha256"] == archive.packages[0].checksums["sha256"]


def test_a_redirect_is_followed_as_a_post_and_never_to_another_host() -> None:
    moved = httpx.Response(308, headers={"Location": RECEIVER})
    receiver = Receiver(moved)
    post("https://rdm.test" + RECEIVER[:-1], b"{}", {"Authorization": "Bearer x"}, transport=receiver.transport())
    assert [(r.method, r.url.path) for r in receiver.requests] == [("POST", RECEIVER[:-1]), ("POST", RECEIVER)]
    receiver = Receiver(httpx.Response(308, headers={"Location": "https://elsewhere.test/"}))
    with pytest.raises(ReceiverRefused, match="another host"):
        post("https://rdm.test/x", b"{}", {}, transport=receiver.transport())
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_receiver_that_is_away_is_asked_again_later(status: int) -> None:
    receiver = Receiver(httpx.Response(status, headers={"Retry-After": "7"}))
    with pytest.raises(ReceiverUnavailable) as later:
        post("https://rdm.test/x", b"{}", {}, transport=receiver.transport())
    assert later.value.retry_after == (7 if status in (429, 503) else None)


def fact(kind: str, archive: Any, **data: Any) -> CloudEvent:
    """A fact as the broker brings it."""
    return CloudEvent(
        id=str(new_id()), source="/perdura/test", type=f"org.perdura.{kind}.v1", time=AT,
        data={"archive": str(archive), **data},
    )  # fmt: skip


def test_facts_lead_to_one_errand_each_and_leave_the_archive_as_it_is(
    database: Engine, database_url: str, entry: Callable[[str], Path]
) -> None:
    environment = Environment(Settings(database_url=database_url, access=str(entry("webhook"))))
    vars(environment).update(engine=database)
    with database.begin() as connection:
        begun = archives.start_harvest(connection, archives.HarvestWanted(source="cds", recid="1"))
    facts = [
        fact("sip.accepted", begun.archive),
        fact("aip.created", begun.archive),
        fact("aip.archived", begun.archive),
        fact("archive.completed", begun.archive),
        fact("step.failed", begun.archive, step=str(new_id()), name="publish", code="x", message="y"),
        fact("step.failed", begun.archive, step=str(new_id()), name="archive", code="tape-full", message="no room"),
        fact("dip.published", begun.archive),
        fact("archive.withdrawn", begun.archive, destinations=["library"], reason="spam", tell_source=False),
        fact("archive.withdrawn", begun.archive, destinations=["library"], reason="retracted", tell_source=True),
    ]
    asked = [event for each in facts for event in (*notices.plan(environment, each), *notices.plan(environment, each))]
    assert [event.type for event in asked] == ["org.perdura.notify.requested.v1"] * 4
    with database.connect() as connection:
        rows = connection.execute(
            text("SELECT input, position FROM step WHERE name = 'notify' ORDER BY position")
        ).all()
        state = connection.execute(text("SELECT state FROM archive")).scalar_one()
    assert [row.input["status"] for row in rows] == ["I", "P", "F", "D"]
    assert [row.input.get("reason") for row in rows[2:]] == ["tape-full: no room", "retracted"]
    assert all(row.position >= 1000 for row in rows)
    assert state == "queued"


def test_a_notification_can_be_sent_again(database: Engine, database_url: str, entry: Callable[[str], Path]) -> None:
    environment = Environment(Settings(database_url=database_url, access=str(entry("webhook"))))
    vars(environment).update(engine=database)
    with database.begin() as connection:
        begun = archives.start_harvest(connection, archives.HarvestWanted(source="cds", recid="1"))
        first = notices.tell(connection, environment.settings, begun.archive, "P", AT)
        same = notices.tell(connection, environment.settings, begun.archive, "P", AT)
        again = notices.tell(
            connection, environment.settings, begun.archive, "P", AT, cause=str(new_id()), only="source"
        )
    assert (len(first), len(same), len(again)) == (1, 0, 1)


def test_each_aip_has_one_proof_whose_time_is_its_own(
    database: Engine, database_url: str, entry: Callable[[str], Path]
) -> None:
    """A renewed AIP and a second withdrawal are told of by themselves; what is sent again says the same again."""
    environment = Environment(Settings(database_url=database_url, access=str(entry("webhook"))))
    vars(environment).update(engine=database)
    with database.begin() as connection:
        archive = archives.start_harvest(connection, archives.HarvestWanted(source="cds", recid="1")).archive

    def renewed() -> None:
        with database.begin() as connection:
            connection.execute(text("UPDATE package SET accepted = false"))
            connection.execute(
                text(
                    "INSERT INTO package (id, archive_id, kind, bucket, key, container, size, checksums, accepted) "
                    "VALUES (:id, :archive, 'AIP', 'b', 'k', 'tar', 1, '{}', true)"
                ),
                {"id": new_id(), "archive": archive},
            )

    def told(kind: str, **data: Any) -> int:
        return len(notices.plan(environment, fact(kind, archive, **data)))

    renewed()
    assert [told("aip.archived"), told("archive.completed")] == [1, 0]
    renewed()
    assert [told("aip.archived"), told("archive.completed")] == [1, 0]
    gone = {"destinations": ["library"], "reason": "spam", "tell_source": True}
    assert [told("archive.withdrawn", **gone), told("archive.withdrawn", **gone)] == [1, 1]
    with database.begin() as connection:
        for status in ("P", "D"):
            assert notices.tell(connection, environment.settings, archive, status, None, cause=str(new_id()))
        times = (
            connection.execute(text("SELECT DISTINCT input ->> 'at' FROM step WHERE name = 'notify'")).scalars().all()
        )
    assert times == [AT.isoformat()]
