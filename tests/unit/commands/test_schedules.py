"""The commands of schedules and credentials: what they send, what they print."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from perdura.cli import main
from tests.unit.commands.fake_registry import FakeRegistry

RUN = {"id": "r1", "state": "completed", "created": "2026-11-24T10:00:00Z", "reason": None, "counts": {"done": 3}}
SCHEDULE = {
    "id": "s1",
    "name": "Theses",
    "source": "zenodo",
    "cron": "@daily",
    "state": "active",
    "next": "2026-11-25T00:00:00Z",
    "last_run": RUN,
}


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry().running() as server:
        yield server


def call(registry: FakeRegistry, *arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(main, [*arguments, "--url", registry.url], input=given)


def test_a_schedule_is_added(registry: FakeRegistry) -> None:
    registry.on("POST /api/v1/schedules", (201, SCHEDULE))
    result = call(
        registry, "schedule", "add", "Theses", "zenodo", "--cron", "@daily", "--oai", "--set", "x", "--limit", "5"
    )
    assert result.exit_code == 0, result.output
    (sent,) = registry.sent("POST", "/api/v1/schedules")
    body: dict[str, Any] = json.loads(sent)
    assert (body["name"], body["way"], body["set"], body["record_limit"]) == ("Theses", "oai-pmh", "x", 5)
    assert "base_url" not in body
    assert "s1" in result.output


def test_schedules_and_runs_are_listed(registry: FakeRegistry) -> None:
    registry.on("GET /api/v1/schedules", (200, {"items": [SCHEDULE], "next": None}))
    registry.on("GET /api/v1/schedules/s1/runs", (200, {"items": [RUN], "next": None}))
    assert "completed 3 done" in call(registry, "schedule", "list").output
    assert "r1" in call(registry, "schedule", "runs", "s1").output


def test_failed_records_are_listed_with_their_reason(registry: FakeRegistry) -> None:
    item = {"recid": "42", "state": "failed", "archive": "a1", "message": "404"}
    registry.on("GET /api/v1/runs/r1/items", (200, {"items": [item], "next": None}))
    result = call(registry, "schedule", "items", "r1", "--state", "failed")
    assert "42" in result.output
    assert "404" in result.output
    assert "state=failed" in registry.requests[-1][1]


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ("pause", "/schedules/x/pause"),
        ("resume", "/schedules/x/resume"),
        ("pause-run", "/runs/x/pause"),
        ("resume-run", "/runs/x/resume"),
        ("cancel-run", "/runs/x/cancel"),
        ("retry-run", "/runs/x/retry"),
    ],
)
def test_states_are_changed(registry: FakeRegistry, command: str, path: str) -> None:
    registry.on(f"POST /api/v1{path}", (200, {"state": "changed", "items": 2}))
    result = call(registry, "schedule", command, "x")
    assert result.exit_code == 0, result.output
    assert "x is changed" in result.output


def test_a_credential_is_read_from_standard_input_and_never_shown(registry: FakeRegistry) -> None:
    registry.on("PUT /api/v1/credentials/gitlab", (200, {"source": "gitlab"}))
    result = call(registry, "credential", "set", "gitlab", given="top-secret\n")
    assert result.exit_code == 0, result.output
    assert json.loads(registry.sent("PUT", "/api/v1/credentials/gitlab")[0]) == {"secret": "top-secret"}
    assert "top-secret" not in result.output


def test_a_refusal_is_told(registry: FakeRegistry) -> None:
    registry.on("POST /api/v1/schedules", (422, {"title": "Unprocessable", "detail": "There is no source."}))
    result = call(registry, "schedule", "add", "T", "nowhere", "--cron", "@daily")
    assert result.exit_code == 1
    assert "There is no source." in result.output
