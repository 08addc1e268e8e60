"""Notifications for any other Source: signed webhooks, CloudEvents, and COAR Notify.

Webhooks and CloudEvents are signed as Standard Webhooks 1.0.0 asks: HMAC-SHA-256 over id, time and body. The id stays
the same for every delivery of one notification, so that a receiver can tell a repetition; the time is that of sending.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

_COAR = "https://coar-notify.net"
_STREAMS = "https://www.w3.org/ns/activitystreams"


def signature(secret: str, identifier: str, at: datetime, body: bytes) -> dict[str, str]:
    """The headers of a signed webhook. A secret `whsec_…` is base64, any other is taken as it is."""
    key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
    stamp = str(int(at.timestamp()))
    digest = hmac.new(key, f"{identifier}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": identifier,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def webhook(kind: str, at: datetime, data: Mapping[str, Any]) -> bytes:
    """The body of a webhook: type, time and data."""
    told = {"type": kind, "timestamp": at.astimezone(UTC).isoformat(), "data": dict(data)}
    return json.dumps(told, ensure_ascii=False).encode()


def cloudevent(identifier: UUID, kind: str, subject: str, at: datetime, data: Mapping[str, Any]) -> bytes:
    """A CloudEvent in structured mode (CloudEvents 1.0.2, HTTP binding 3.2)."""
    told = {
        "specversion": "1.0",
        "id": str(identifier),
        "source": "/perdura/notify",
        "type": kind,
        "subject": subject,
        "time": at.astimezone(UTC).isoformat(),
        "datacontenttype": "application/json",
        "data": dict(data),
    }
    return json.dumps(told, ensure_ascii=False).encode()


def service_result(identifier: UUID, *, origin: str, inbox: str, record: str, result: str, summary: str) -> bytes:
    """COAR Notify "Announce Service Result" (1.0.1): `result` is what the service made of `record`."""
    told = {
        "@context": [_STREAMS, _COAR],
        "id": f"urn:uuid:{identifier}",
        "type": ["Announce", "coar-notify:ServiceResult"],
        "origin": {"id": origin, "inbox": f"{origin}/inbox", "type": "Service"},
        "target": {"id": inbox, "inbox": inbox, "type": "Service"},
        "actor": {"id": origin, "name": "Perdura", "type": "Service"},
        "object": {"id": result, "type": ["Page", "sorg:WebPage"], "summary": summary},
        "context": {"id": record, "type": ["Page", "sorg:AboutPage"]},
    }
    return json.dumps(told, ensure_ascii=False).encode()
