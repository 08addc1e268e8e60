"""What tells others of recorded events."""

from __future__ import annotations

from datetime import UTC, datetime
from json import loads
from uuid import UUID, uuid4

import pytest

from perdura.cloudevents.build import from_json, to_json
from perdura.premis.model import Event
from perdura.runtime import recording


def _without_chance(value: dict[str, object]) -> dict[str, object]:
    return {name: each for name, each in value.items() if name not in ("id", "time")}


@pytest.mark.parametrize("trace", [None, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"])
def test_what_is_put_together_says_what_the_checked_announcement_says(
    trace: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "traceparent", lambda: trace)
    monkeypatch.setattr("perdura.cloudevents.build.traceparent", lambda: trace)
    event = Event(id=uuid4(), type="fixity check", at=datetime.now(UTC))
    written = loads(recording.announcement_json(event))
    assert _without_chance(written) == _without_chance(to_json(recording.announcement([event])))
    UUID(written["id"])
    assert to_json(from_json(written)) == written


def test_each_announcement_is_another() -> None:
    event = Event(id=uuid4(), type="fixity check", at=datetime.now(UTC))
    first, second = (loads(recording.announcement_json(event)) for _ in range(2))
    assert first["id"] != second["id"]
