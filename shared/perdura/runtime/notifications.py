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
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any
from uuid import UUID

from sqlalchemy.engine import Connection

from perdura.accounts import directory, rights
from perdura.accounts.principals import Permission
from perdura.accounts.rights import Thing
from perdura.clients import webhooks
from perdura.clients.addresses import host_of
from perdura.clients.connections import FAILURES, Connections
from perdura.clients.reach import Reach
from perdura.errors import PerduraError, Rejected, UpstreamUnavailable
from perdura.registry import subscriptions
from perdura.registry.subscriptions import KINDS, Due
from perdura.runtime.environment import Environment
from perdura.settings import Settings

_log = logging.getLogger(__name__)

SECONDS = 10.0
TIMEOUT = 10.0
LISTED = 50
"""Lines of a mail at most; the rest is counted."""

Sender = Callable[[Settings, Due], None]


def tick(environment: Environment, seconds: float = SECONDS) -> int:
    """Tell what is due, for a while; returns how many messages were sent."""
    end, sent = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        with environment.engine.begin() as connection:
            due = subscriptions.due(connection)
            if due is None:
                return sent
            seen = _visible(connection, due)
            if not seen.notices:
                subscriptions.told(connection, due)
                continue
            try:
                SENDERS[due.way](environment.settings, seen)
            except Exception as error:
                said = error.message if isinstance(error, PerduraError) else type(error).__name__
                _log.warning("subscription %s: %s", due.id, said)
                subscriptions.not_told(connection, due, said)
            else:
                subscriptions.told(connection, due)
                sent += 1
    return sent


def seal_secrets(environment: Environment) -> None:
    """Keep the secrets of subscriptions under the newest key."""
    if environment.settings.credential_keys is not None:
        with environment.engine.begin() as connection:
            subscriptions.seal_anew(connection, environment.settings)


def _visible(connection: Connection, due: Due) -> Due:
    """The subscription with those notices only that are about what its owner may see now."""
    account = directory.find(connection, due.account) if due.account is not None else None
    owner = None if account is None or account.disabled_at is not None else directory.principal_of(account, "session")
    if owner is None or not owner.may(Permission.READ):
        notices: Sequence[Any] = [notice for notice in due.notices if notice[1] is None]
    else:
        about = {notice[1] for notice in due.notices if notice[1] is not None}
        seen = {thing for _, thing in rights.visible(connection, owner, ((Thing.ARCHIVE, one) for one in about))}
        notices = [notice for notice in due.notices if notice[1] is None or notice[1] in seen]
    return Due(due.id, due.account, due.owner, due.way, due.address, due.secret, notices, due.titles, due.more)


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
    body = json.dumps({"subscription": str(due.id), "notices": notices, "more": due.more}, ensure_ascii=False)
    _post(settings, due, body.encode(), "application/json")


def _cloudevents(settings: Settings, due: Due) -> None:
    batch = [event for _, _, event in due.notices]
    _post(settings, due, json.dumps(batch, ensure_ascii=False).encode(), "application/cloudevents-batch+json")


def _post(settings: Settings, due: Due, body: bytes, media_type: str) -> None:
    reach = Reach(frozenset({host_of(due.address)}), allow_loopback=settings.allow_loopback_upstreams)
    reach.check(due.address)
    secret = subscriptions.opened(settings, due.id, due.secret)
    headers = webhooks.signature(secret, message_id(due), datetime.now(UTC), body)
    answer = send(reach, due.address, {**headers, "Content-Type": media_type, "User-Agent": "perdura"}, body)
    if not 200 <= answer < 300:
        raise Rejected(f"The address answered {answer}.", code="webhook-refused")


def message_id(due: Due) -> str:
    """The id of what is sent: that of the last notice, so that what is sent again after a lost answer is known."""
    return f"{due.id}.{due.notices[-1][0]}"


def send(reach: Reach, url: str, headers: Mapping[str, str], body: bytes) -> int:
    """POST to an address that was judged; redirects are not followed. Returns the status."""
    connections = Connections(reach, (TIMEOUT, TIMEOUT))
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
    kinds = Counter(KINDS.get(str(event.get("type")), "test") for _, _, event in due.notices)
    if len(due.notices) == 1 and not due.more:
        (_, archive, _), kind = due.notices[0], next(iter(kinds))
        return f"{kind}: {due.titles.get(archive, '') if archive else 'a test'}"[:150]
    counted = [f"{number} {kind}" for kind, number in sorted(kinds.items())]
    return ", ".join([*counted, f"{due.more} more"] if due.more else counted)


def mail(settings: Settings, due: Due) -> EmailMessage:
    """The mail with everything that is due; one line for each, and a link."""
    message = EmailMessage()
    message["From"], message["To"] = settings.mail_from, due.address
    message["Subject"] = " ".join(f"[{settings.organisation}] {subject(due)}".split())
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = f"<{message_id(due)}@{settings.mail_from.rpartition('@')[2].rstrip('>')}>"
    message["Auto-Submitted"] = "auto-generated"
    lines = [_line(settings, due, archive, event) for _, archive, event in due.notices[:LISTED]]
    left = len(due.notices) - len(lines) + due.more
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
