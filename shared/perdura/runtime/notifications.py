"""Tells subscribers, at the relay's ticks: mail, signed webhooks, CloudEvents.

What goes to an address is signed as Standard Webhooks 1.0 says (`perdura.clients.webhooks`). An address is only ever
contacted when it is public (no SSRF).
"""

from __future__ import annotations

import json
import logging
import smtplib
import ssl
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.engine import Connection

from perdura.accounts import directory, rights
from perdura.accounts.principals import Permission
from perdura.clients import webhooks
from perdura.clients.addresses import host_of
from perdura.clients.connections import FAILURES, Connections
from perdura.clients.reach import Reach
from perdura.errors import PerduraError, Rejected, UpstreamUnavailable
from perdura.registry import subscription_secrets, subscriptions
from perdura.registry.subscriptions import KINDS, Due, Notice, Subscriber
from perdura.registry.tables import Archive
from perdura.runtime.environment import Environment
from perdura.settings import Settings

_log = logging.getLogger(__name__)

SECONDS = 10.0
TIMEOUT = 10.0
"""Seconds that a receiver has to take a message and to answer, all in all."""
Sender = Callable[[Settings, Due], None]


def tick(environment: Environment, seconds: float = SECONDS) -> int:
    """Tell what is due, for a while; returns how many messages were sent.

    No transaction waits for a receiver: what is told is taken before, and forgotten once it was taken there.
    """
    end, sent = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        with environment.engine.begin() as connection:
            to = subscriptions.take(connection)
            if to is None:
                return sent
            _forget_hidden(connection, environment.settings, to)
            due = subscriptions.to_tell(connection, to)
        if due is not None:
            sent += _tell(environment, due)
    return sent


def _tell(environment: Environment, due: Due) -> bool:
    """Send one message and note how it went; whether it was taken. Whatever goes wrong is this subscription's alone."""
    refused = None
    try:
        SENDERS[due.to.way](environment.settings, due)
    except Exception as error:
        refused = error.message if isinstance(error, PerduraError) else type(error).__name__
        _log.warning("subscription %s: %s", due.to.id, refused)
    with environment.engine.begin() as connection:
        if refused is None:
            subscriptions.told(connection, due)
        else:
            subscriptions.not_told(connection, due, refused)
    return refused is None


def seal_secrets(environment: Environment) -> None:
    """Keep the secrets of subscriptions under the newest key."""
    if environment.settings.credential_keys is not None:
        with environment.engine.begin() as connection:
            subscription_secrets.seal_anew(connection, environment.settings)


def _forget_hidden(connection: Connection, settings: Settings, to: Subscriber) -> None:
    """Forget notices about what the owner of a subscription may not see now: they are neither told nor counted.

    The subscription of an account that may not be used is paused.
    """
    owner = directory.asking(connection, settings, to.account, to.scopes)
    if owner.account != to.account:
        subscriptions.stop(connection, to.id, "The account whose it is is shut.")
        return
    hidden = delete(Notice).where(Notice.subscription_id == to.id, Notice.archive_id.is_not(None))
    if owner.may(Permission.READ):
        seen = select(Archive.id).where(Archive.id == Notice.archive_id, rights.visible_archives(owner))
        hidden = hidden.where(~seen.exists())
    connection.execute(hidden)


def _webhook(settings: Settings, due: Due) -> None:
    notices = [
        {
            "kind": KINDS.get(str(event.get("type")), "test"),
            "archive": str(archive) if archive else None,
            "title": due.titles.get(archive, "") if archive else None,
            "at": event.get("time"),
            "data": event.get("data"),
        }
        for _, archive, event in due.notices
    ]
    body = json.dumps({"subscription": str(due.to.id), "notices": notices, "more": due.more}, ensure_ascii=False)
    _post(settings, due, body.encode(), "application/json")


def _cloudevents(settings: Settings, due: Due) -> None:
    batch = [event for _, _, event in due.notices]
    _post(settings, due, json.dumps(batch, ensure_ascii=False).encode(), "application/cloudevents-batch+json")


def _post(settings: Settings, due: Due, body: bytes, media_type: str) -> None:
    reach = Reach(frozenset({host_of(due.to.address)}), allow_loopback=settings.allow_loopback_upstreams)
    reach.check(due.to.address)
    secret = subscription_secrets.opened(settings, due.to.id, due.to.secret)
    headers = webhooks.signature(secret, message_id(due), datetime.now(UTC), body)
    answer = send(reach, due.to.address, {**headers, "Content-Type": media_type, "User-Agent": "perdura"}, body)
    if not 200 <= answer < 300:
        raise Rejected(f"The address answered {answer}.", code="webhook-refused")


def message_id(due: Due) -> str:
    """The id of what is sent: that of the last notice, so that what is sent again after a lost answer is known."""
    return f"{due.to.id}.{due.covered[-1]}"


def send(reach: Reach, url: str, headers: Mapping[str, str], body: bytes) -> int:
    """POST to an address that was judged; redirects are not followed. Returns the status."""
    connections = Connections(reach, (TIMEOUT, TIMEOUT), within=TIMEOUT)
    try:
        exchange = connections.send("POST", url, headers, body)
        exchange.close()
    except FAILURES as error:
        raise UpstreamUnavailable(f"The address could not be reached ({type(error).__name__}).") from error
    finally:
        connections.close()
    return exchange.status


def subject(due: Due) -> str:
    """What a mail is about, in one line."""
    kinds: Counter[str] = Counter()
    for name, number in due.counts.items():
        kinds[KINDS.get(name, "test")] += number
    if len(due.covered) == 1 and not due.more:
        (_, archive, _), kind = due.notices[0], next(iter(kinds))
        return f"{kind}: {due.titles.get(archive, '') if archive else 'a test'}"[:150]
    counted = [f"{number} {kind}" for kind, number in sorted(kinds.items())]
    return ", ".join([*counted, f"{due.more} more"] if due.more else counted)


def mail(settings: Settings, due: Due) -> EmailMessage:
    """The mail with everything that is due; one line for each, and a link."""
    message = EmailMessage()
    message["From"], message["To"] = settings.mail_from, due.to.address
    message["Subject"] = " ".join(f"[{settings.organisation}] {subject(due)}".split())
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = f"<{message_id(due)}@{settings.mail_from.rpartition('@')[2].rstrip('>')}>"
    message["Auto-Submitted"] = "auto-generated"
    lines = [_line(settings, due, archive, event) for _, archive, event in due.notices]
    left = len(due.covered) - len(lines) + due.more
    if left:
        lines.append(f"… and {left} more: {settings.base_url}/failures")
    lines += ["", f"You asked for this: {settings.base_url}/notifications"]
    message.set_content("\n".join(lines))
    return message


def _line(settings: Settings, due: Due, archive: UUID | None, event: Mapping[str, Any]) -> str:
    data: Mapping[str, Any] = event.get("data") or {}
    kind = KINDS.get(str(event.get("type")), "test")
    if archive is None:
        return f"{kind}: this is a test of your subscription."
    why = f" ({data['code']}: {data.get('message', '')})" if data.get("code") else ""
    return f"{kind}: {due.titles.get(archive, '')}{why}\n    {settings.base_url}/archives/{archive}"


def _mail(settings: Settings, due: Due) -> None:
    if settings.smtp_host is None:
        raise Rejected("No mail server is configured.", code="no-mail-server")
    with smtplib.SMTP(settings.smtp_host, settings.smtp_port, timeout=TIMEOUT) as server:
        if settings.smtp_starttls:
            server.starttls(context=ssl.create_default_context())
        if settings.smtp_user and settings.smtp_password:
            server.login(settings.smtp_user, settings.smtp_password.get_secret_value())
        server.send_message(mail(settings, due))


SENDERS: Mapping[str, Sender] = {"email": _mail, "webhook": _webhook, "cloudevents": _cloudevents}
