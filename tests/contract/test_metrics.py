"""Metrics as Prometheus gets them: a served function in a process of its own, its queues in a real database."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import Engine, text

from perdura.cloudevents.catalogue import TICK
from perdura.cloudevents.codec import encode_binary
from perdura.cloudevents.message import CloudEvent
from perdura.registry import outbox
from tests.conftest import free_port

pytestmark = pytest.mark.stack
RELAY = Path(__file__).resolve().parents[2] / "functions/relay/main.py"


@pytest.fixture
def relay(database_url: str, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A relay's address, and that of its metrics."""
    port, metrics_port = free_port(), free_port()
    environment = {
        **os.environ,
        "FUNCTION": "relay",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "METRICS_PORT": str(metrics_port),
        "PERDURA_DATABASE_URL": database_url,
        "PERDURA_S3_ENDPOINT": "http://127.0.0.1:1",
        "PERDURA_S3_ACCESS_KEY": "none",
        "PERDURA_S3_SECRET_KEY": "none",
    }
    application = f"functions_framework:create_app('handle','{RELAY}','http')"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "python:perdura.runtime.server", application],
            env=environment, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(f"{address}/healthz")
            yield address, f"http://127.0.0.1:{metrics_port}/metrics"
        finally:
            process.terminate()
            process.wait(30)


def wait_for(url: str) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"{url} does not answer")


def samples(url: str) -> dict[str, float]:
    """Every sample by its name and labels."""
    lines = [line for line in httpx.get(url).text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_the_relay_tells_how_much_waits_and_what_it_did(relay: tuple[str, str], database: Engine) -> None:
    address, metrics = relay
    waiting = samples(metrics)
    assert waiting['perdura_outbox_pending{function="relay"}'] == 0
    with database.begin() as connection:
        outbox.write(connection, [CloudEvent(id=str(uuid4()), source="/tests", type="org.perdura.tests.v1", data={})])
        connection.execute(text("UPDATE outbox SET created_at = now() - interval '90 seconds', next_at = now()"))
    headers, body = encode_binary(CloudEvent(id="1", source="/ticks", type=TICK, data={}))
    assert httpx.post(address, headers=headers, content=body, timeout=60).status_code == 204
    told = samples(metrics)
    assert told['perdura_outbox_pending{function="relay"}'] == 1
    assert 90 <= told['perdura_outbox_oldest_seconds{function="relay"}'] < 300
    assert told['perdura_emissions_total{function="relay",result="left"}'] == 1
    answered = {name: value for name, value in told.items() if name.startswith("perdura_cloudevents_total{")}
    assert sum(answered.values()) == 1


def test_clients_never_reach_the_metrics(relay: tuple[str, str]) -> None:
    address, _ = relay
    assert httpx.get(f"{address}/metrics").status_code == 404
