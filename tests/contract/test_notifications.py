"""Notifications: noted in the transaction of their cause, told together, signed, and to nobody who may not see."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from perdura.accounts.principals import LOCAL_ADMINISTRATOR
from perdura.clients import webhooks
from perdura.cloudevents.build import build
from perdura.errors import Broken, Rejected
from perdura.ids import new_id
from perdura.registry import outbox, subscription_secrets, subscriptions
from perdura.runtime import notifications
from perdura.settings import Settings

pytestmark = pytest.mark.stack
SECRET = f"whsec_{base64.b64encode(b'k' * 32).decode()}"


class Surroundings:
    """What the relay works with."""

    def __init__(self, engine: Engine, **settings: Any) -> None:
        self.engine = engine
        given = {"admin_token": "administrator", **settings}
        self.settings = Settings(allow_loopback_upstreams=True, base_url="https://perdura.test", **given)


class Listener(ThreadingHTTPServer):
    """An address that is told; answers with `status`."""

    status = 204

    def __init__(self) -> None:
        self.taken: list[tuple[dict[str, str], bytes]] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                listener.taken.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(listener.status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}/hook"


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A listening address."""
    server = Listener()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def subscribe(database: Engine, address: str, way: str = "webhook", **more: Any) -> UUID:
    identifier = new_id()
    values = {"id": identifier, "account": LOCAL_ADMINISTRATOR, "way": way, "address": address, "secret": SECRET,
              "kinds": ["failed"], "collection": None, "every": 0} | more  # fmt: skip
    with database.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO subscription (id, account_id, owner, way, address, secret, kinds, collection_id,
                    every_minutes)
                VALUES (:id, :account, 'me', :way, :address, :secret, :kinds, :collection, :every)
            """),
            values,
        )
    return identifier


def fail(database: Engine, title: str = "A title") -> UUID:
    archive = new_id()
    with database.begin() as connection:
        connection.execute(
            text("INSERT INTO archive (id, title, pipeline, origin) VALUES (:id, :title, '[]', 'deposit')"),
            {"id": archive, "title": title},
        )
        _fail(connection, archive)
    return archive


def _fail(connection: Any, archive: UUID) -> None:
    data = {
        "archive": archive,
        "step": new_id(),
        "name": "archive",
        "state": "failed",
        "code": "no-space",
        "message": "Full.",
    }
    outbox.write(
        connection,
        [build("org.perdura.step.failed.v1", data, source="/t", at=datetime.now(UTC), archive=archive, key=new_id())],
    )


def _notice(database: Engine, subscription: UUID, archive: UUID, times: int) -> None:
    with database.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO notice (subscription_id, archive_id, event)
                SELECT :s, :a, jsonb_build_object('type', 'org.perdura.archive.completed.v1', 'number', n)
                FROM generate_series(1, :times) AS n
            """),
            {"s": subscription, "a": archive, "times": times},
        )


def _viewer(database: Engine) -> UUID:
    viewer = new_id()
    with database.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO account (id, kind, issuer, subject, name, roles) "
                "VALUES (:id, 'person', 'i', :id, 'r', '{viewer}')"
            ),
            {"id": viewer},
        )
    return viewer


def _count(database: Engine) -> int:
    with database.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM notice")).scalar_one())


def test_many_failures_are_one_signed_message(database: Engine, listener: Listener) -> None:
    subscription = subscribe(database, listener.url)
    archives = [fail(database) for _ in range(30)]
    assert notifications.tick(Surroundings(database)) == 1  # type: ignore[arg-type]
    headers, body = listener.taken[0]
    told = json.loads(body)
    assert [notice["archive"] for notice in told["notices"]] == [str(archive) for archive in archives]
    assert told["subscription"] == str(subscription)
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = base64.b64encode(hmac.new(b"k" * 32, content, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{mac}"
    assert _count(database) == 0
    fail(database)
    assert notifications.tick(Surroundings(database)) == 0  # type: ignore[arg-type]
    assert _count(database) == 1


def test_cloudevents_go_as_a_batch(database: Engine, listener: Listener) -> None:
    subscribe(database, listener.url, way="cloudevents")
    fail(database)
    notifications.tick(Surroundings(database))  # type: ignore[arg-type]
    headers, body = listener.taken[0]
    assert headers["content-type"] == "application/cloudevents-batch+json"
    assert [event["type"] for event in json.loads(body)] == ["org.perdura.step.failed.v1"]


def test_what_was_not_taken_is_told_again_later_and_given_up_in_the_end(database: Engine, listener: Listener) -> None:
    subscription = subscribe(database, listener.url)
    listener.status = 500
    fail(database)
    for _ in range(subscriptions.GIVE_UP):
        with database.begin() as connection:
            connection.execute(text("UPDATE subscription SET next_at = clock_timestamp()"))
        assert notifications.tick(Surroundings(database)) == 0  # type: ignore[arg-type]
    with database.connect() as connection:
        row = connection.execute(text("SELECT * FROM subscription WHERE id = :id"), {"id": subscription}).one()
    assert (row.active, row.failures, row.last_error) == (False, subscriptions.GIVE_UP, "The address answered 500.")
    assert len({headers["webhook-id"] for headers, _ in listener.taken}) == 1
    assert _count(database) == 1


def test_only_members_of_the_collection_are_told_of(database: Engine, listener: Listener) -> None:
    collection = new_id()
    with database.begin() as connection:
        connection.execute(text("INSERT INTO collection (id, name) VALUES (:id, 'c')"), {"id": collection})
    subscribe(database, listener.url, collection=collection)
    outside, inside = fail(database), fail(database)
    with database.begin() as connection:
        connection.execute(text("INSERT INTO collection_member VALUES (:c, :a)"), {"c": collection, "a": inside})
        _fail(connection, inside)
    notifications.tick(Surroundings(database))  # type: ignore[arg-type]
    assert [notice["archive"] for notice in json.loads(listener.taken[0][1])["notices"]] == [str(inside)]
    assert str(outside) not in listener.taken[0][1].decode()


def test_nobody_is_told_of_what_they_may_not_see(database: Engine, listener: Listener) -> None:
    reader = new_id()
    with database.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO account (id, kind, issuer, subject, name, roles) "
                "VALUES (:id, 'person', 'i', 's', 'r', '{viewer}')"
            ),
            {"id": reader},
        )
    subscribe(database, listener.url, account=reader)
    hidden, seen = fail(database, "Hidden"), fail(database, "Seen")
    with database.begin() as connection:
        connection.execute(text("UPDATE archive SET restricted = true WHERE id = :id"), {"id": hidden})
    notifications.tick(Surroundings(database))  # type: ignore[arg-type]
    assert [notice["archive"] for notice in json.loads(listener.taken[0][1])["notices"]] == [str(seen)]
    assert _count(database) == 0


def test_who_may_read_no_longer_is_told_of_nothing(database: Engine, listener: Listener) -> None:
    roleless = new_id()
    with database.begin() as connection:
        connection.execute(
            text("INSERT INTO account (id, kind, issuer, subject, name) VALUES (:id, 'person', 'i', 's', 'r')"),
            {"id": roleless},
        )
    subscribe(database, listener.url, account=roleless)
    fail(database)
    notifications.tick(Surroundings(database))  # type: ignore[arg-type]
    assert listener.taken == []
    assert _count(database) == 0


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/", "http://169.254.169.254/latest", "http://[::1]/"])
def test_no_address_inside_is_ever_contacted(database: Engine, address: str) -> None:
    subscribe(database, address)
    fail(database)
    surroundings = Surroundings(database)
    surroundings.settings = Settings(allow_loopback_upstreams=False, admin_token="administrator")
    assert notifications.tick(surroundings) == 0  # type: ignore[arg-type]
    with database.connect() as connection:
        assert connection.execute(text("SELECT failures FROM subscription")).scalar_one() == 1


def test_a_mail_is_a_digest_that_no_title_can_bend(database: Engine) -> None:
    subscribe(database, "me@example.org", way="email")
    for number in range(80):
        fail(database, f"Title\r\nBcc: x@y\r\n {number}")
    with database.begin() as connection:
        to = subscriptions.take(connection)
        assert to is not None
        due = subscriptions.to_tell(connection, to)
    assert due is not None
    mail = notifications.mail(Settings(mail_from="perdura@example.org", base_url="https://perdura.test"), due)
    assert mail["Subject"] == "[Perdura] 80 failed"
    assert mail["Bcc"] is None
    body = mail.get_content()
    assert body.count("https://perdura.test/archives/") == 50
    assert "and 30 more" in body
    one = replace(due, notices=due.notices[:1], covered=due.covered[:1], counts={"org.perdura.step.failed.v1": 1})
    assert "\n" not in notifications.mail(Settings(), one)["Subject"]
    with pytest.raises(Rejected):
        notifications.SENDERS["email"](Settings(), due)


def test_secrets_are_sealed_with_the_newest_key_and_still_sign(database: Engine, listener: Listener) -> None:
    old, new = (base64.b64encode(byte * 32).decode() for byte in (b"o", b"n"))
    subscription = subscribe(database, listener.url)
    for keys in (old, f"{new} {old}", new):
        fail(database)
        with database.begin() as connection:
            connection.execute(text("UPDATE subscription SET next_at = clock_timestamp()"))
        surroundings = Surroundings(database, credential_keys=keys)
        notifications.seal_secrets(surroundings)  # type: ignore[arg-type]
        assert notifications.tick(surroundings) == 1  # type: ignore[arg-type]
        headers, body = listener.taken[-1]
        at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        signed = webhooks.signature(SECRET, headers["webhook-id"], at, body)
        assert headers["webhook-signature"] == signed["webhook-signature"]
        with database.connect() as connection:
            kept = connection.execute(text("SELECT secret FROM subscription")).scalar_one()
        assert kept.startswith("sealed:")
        assert SECRET not in kept
    with pytest.raises(Broken):
        subscription_secrets.opened(Settings(credential_keys=old), subscription, kept)
    with pytest.raises(Broken):
        subscription_secrets.opened(Settings(credential_keys=new), new_id(), kept)


def test_one_bad_address_keeps_nobody_from_being_told(database: Engine, listener: Listener) -> None:
    bad = [subscribe(database, address) for address in ("http://[", "http://x..y/", f"http://{'a' * 64}.example/")]
    bad.append(subscribe(database, "a@[", way="email"))
    subscribe(database, listener.url)
    fail(database)
    surroundings = Surroundings(database, smtp_host="127.0.0.1", smtp_port=1)
    assert notifications.tick(surroundings) == 1  # type: ignore[arg-type]
    assert len(listener.taken) == 1
    with database.connect() as connection:
        failures = connection.execute(text("SELECT id FROM subscription WHERE failures = 1")).scalars().all()
    assert sorted(failures) == sorted(bad)


def test_a_secret_whose_key_is_gone_holds_up_no_other(database: Engine, listener: Listener) -> None:
    lost, key = (base64.b64encode(byte * 32).decode() for byte in (b"l", b"k"))
    first, second = (subscribe(database, listener.url) for _ in range(2))
    with database.begin() as connection:
        sealed = subscription_secrets.sealed(Settings(credential_keys=lost), first, SECRET)
        connection.execute(text("UPDATE subscription SET secret = :s WHERE id = :id"), {"s": sealed, "id": first})
    fail(database)
    surroundings = Surroundings(database, credential_keys=key)
    notifications.seal_secrets(surroundings)  # type: ignore[arg-type]
    assert notifications.tick(surroundings) == 1  # type: ignore[arg-type]
    assert json.loads(listener.taken[0][1])["subscription"] == str(second)
    with database.connect() as connection:
        rows = {row.id: row.secret for row in connection.execute(text("SELECT id, secret FROM subscription"))}
        told = connection.execute(text("SELECT failures FROM subscription WHERE id = :id"), {"id": first}).scalar_one()
    assert (rows[first], told) == (sealed, 1)
    assert rows[second].startswith("sealed:")


def test_a_daily_digest_tells_all_of_the_day(database: Engine, listener: Listener) -> None:
    archive = fail(database)
    subscription = subscribe(database, listener.url, every=1440)
    _notice(database, subscription, archive, 2 * subscriptions.AT_ONCE + 7)
    assert notifications.tick(Surroundings(database)) == 3  # type: ignore[arg-type]
    told = [json.loads(body) for _, body in listener.taken]
    assert [(len(body["notices"]), body["more"]) for body in told] == [(500, 507), (500, 7), (7, 0)]
    assert _count(database) == 0
    _notice(database, subscription, archive, 1)
    assert notifications.tick(Surroundings(database)) == 0  # type: ignore[arg-type]


def test_one_mail_tells_how_many_there_were_and_nothing_is_left(database: Engine, sent: list[str]) -> None:
    archive = fail(database)
    _notice(database, subscribe(database, "me@example.org", way="email", every=1440), archive, 5000)
    assert notifications.tick(Surroundings(database)) == 1  # type: ignore[arg-type]
    (mail,) = sent
    assert "5000 completed" in mail
    assert "and 4950 more" in mail
    assert _count(database) == 0


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The mails that would be sent."""
    mails: list[str] = []

    def send(settings: Settings, due: subscriptions.Due) -> None:
        mail = notifications.mail(settings, due)
        mails.append(f"{mail['Subject']}\n{mail.get_content()}")

    monkeypatch.setattr(notifications, "SENDERS", {**notifications.SENDERS, "email": send})
    return mails


def test_what_is_hidden_is_neither_counted_nor_in_the_way(database: Engine, listener: Listener) -> None:
    hidden, seen = fail(database, "Hidden"), fail(database, "Seen")
    with database.begin() as connection:
        connection.execute(text("UPDATE archive SET restricted = true WHERE id = :id"), {"id": hidden})
    subscription = subscribe(database, listener.url, account=_viewer(database), every=1440)
    _notice(database, subscription, hidden, 700)
    _notice(database, subscription, seen, 3)
    _notice(database, subscription, hidden, 700)
    assert notifications.tick(Surroundings(database)) == 1  # type: ignore[arg-type]
    told = json.loads(listener.taken[0][1])
    assert ([notice["archive"] for notice in told["notices"]], told["more"]) == ([str(seen)] * 3, 0)
    assert _count(database) == 0


def test_what_happens_while_a_message_is_sent_is_told_by_the_next(
    database: Engine, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe(database, listener.url)
    fail(database)
    meanwhile: list[UUID] = []

    def send(settings: Settings, due: subscriptions.Due) -> None:
        del settings, due
        meanwhile.append(fail(database))

    monkeypatch.setattr(notifications, "SENDERS", {"webhook": send})
    assert notifications.tick(Surroundings(database)) == 1  # type: ignore[arg-type]
    with database.connect() as connection:
        assert connection.execute(text("SELECT archive_id FROM notice")).scalars().all() == meanwhile


def test_a_slow_receiver_is_a_failure_and_its_account_waits_for_the_others(
    database: Engine, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "TIMEOUT", 1.0)
    slow, prompt = _viewer(database), _viewer(database)
    with trickling() as url:
        for _ in range(3):
            subscribe(database, url, account=slow)
        subscribe(database, listener.url, account=prompt)
        fail(database)
        begun = time.monotonic()
        assert notifications.tick(Surroundings(database), seconds=1.5) == 1  # type: ignore[arg-type]
        assert time.monotonic() - begun < 4
    assert len(listener.taken) == 1
    with database.connect() as connection:
        failures = connection.execute(text("SELECT failures FROM subscription ORDER BY failures")).scalars().all()
    assert failures in ([0, 0, 0, 1], [0, 0, 1, 1])


@contextmanager
def trickling() -> Iterator[str]:
    """An address that answers a byte at a time and never comes to an end."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            for byte in itertools.chain(b"HTTP/1.1 200 OK\r\nX: ", itertools.repeat(120)):
                connection.sendall(bytes([byte]))
                time.sleep(0.2)

    def listen() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=listen, daemon=True).start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}/"
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def test_notices_that_are_being_written_neither_wait_nor_keep_one_from_being_told(
    database: Engine, listener: Listener
) -> None:
    subscription, archive = subscribe(database, listener.url), fail(database)
    with database.connect() as writing:
        statement = "INSERT INTO notice (subscription_id, archive_id, event) VALUES (:s, :a, '{}')"
        writing.execute(text(statement), {"s": subscription, "a": archive})
        _notice(database, subscription, archive, 1)
        assert notifications.tick(Surroundings(database)) == 1  # type: ignore[arg-type]
        writing.commit()
    assert len(json.loads(listener.taken[0][1])["notices"]) == 2
    assert _count(database) == 1
