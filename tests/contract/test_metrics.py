"""Metrics as Prometheus gets them: a served function in a process of its own, its queues in a real database."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import Engine, text

from perdura.cloudevents.build import from_json
from perdura.cloudevents.catalogue import TICK
from perdura.cloudevents.codec import encode_binary
from perdura.cloudevents.message import CloudEvent
from perdura.registry import outbox
from perdura.runtime.metrics import METRICS, Kind
from tests.conftest import free_port
from tests.unit.tape import pki

pytestmark = pytest.mark.stack
HARVEST = "org.perdura.harvest.requested.v1"
WAITING = {"id": uuid4()}
FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"
NAMES = sorted(main.parent.name for main in FUNCTIONS.glob("*/main.py"))


@contextmanager
def served(name: str, database_url: str, log: Path) -> Iterator[tuple[str, str]]:
    """A function's address, and that of its metrics."""
    port, metrics_port = free_port(), free_port()
    environment = {
        **os.environ,
        "FUNCTION": name,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "METRICS_PORT": str(metrics_port),
        "PERDURA_DATABASE_URL": database_url,
        "PERDURA_S3_ENDPOINT": "http://127.0.0.1:1",
        "PERDURA_S3_ACCESS_KEY": "none",
        "PERDURA_S3_SECRET_KEY": "none",
        "PERDURA_ALLOW_LOOPBACK_UPSTREAMS": "true",
    }
    application = f"functions_framework:create_app('handle','{FUNCTIONS / name / 'main.py'}','http')"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "python:perdura.runtime.server", application],
            env=environment, stdout=output, stderr=output,
        )  # fmt: skip
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(f"{address}/healthz")
            yield address, f"http://127.0.0.1:{metrics_port}/metrics"
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture
def relay(database_url: str, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A relay's address, and that of its metrics."""
    with served("relay", database_url, tmp_path / "log") as addresses:
        yield addresses


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


@pytest.mark.parametrize("name", NAMES)
def test_every_function_tells_every_metric_that_is_counted(name: str, database_url: str, tmp_path: Path) -> None:
    with served(name, database_url, tmp_path / "log") as (_, metrics):
        told = dict(re.findall(r"^# TYPE (\S+) (\S+)$", httpx.get(metrics, timeout=30).text, re.MULTILINE))
    counted = {metric.name: str(metric.kind) for metric in METRICS if metric.kind is not Kind.GAUGE}
    assert counted.items() <= told.items()
    gauges = {metric.name for metric in METRICS if metric.kind is Kind.GAUGE} & set(told)
    assert bool(gauges) is (name == "relay")


def test_counters_begin_at_0_before_anything_happens(database_url: str, tmp_path: Path) -> None:
    with served("premis-log", database_url, tmp_path / "log") as (_, metrics):
        told = samples(metrics)
    for metric in METRICS:
        for labels in metric.beginnings():
            named = ",".join(
                f'{name}="{value}"' for name, value in sorted({**labels, "function": "premis-log"}.items())
            )
            assert told[f"{metric.name}{{{named}}}"] == 0
    assert f'perdura_dead_letters_total{{function="premis-log",type="{HARVEST}"}}' in told


def test_the_relay_tells_how_many_steps_wait_for_a_person(relay: tuple[str, str], database: Engine) -> None:
    _, metrics = relay
    with database.begin() as connection:
        connection.execute(text("INSERT INTO archive (id, origin, pipeline) VALUES (:id, 'deposit', '[]')"), WAITING)
        for position, state in enumerate(("blocked", "blocked", "failed", "completed")):
            connection.execute(
                text("""
                    INSERT INTO step (id, archive_id, name, position, state, error_code)
                    VALUES (gen_random_uuid(), :id, 'preserve', :position, :state, 'odd')
                """),
                WAITING | {"position": position, "state": state},
            )
    told = {name: value for name, value in samples(metrics).items() if name.startswith("perdura_steps_open")}
    assert told == {'perdura_steps_open{function="relay",state="blocked",step="preserve"}': 2}


def test_the_relay_tells_what_is_broken_and_what_is_not_sealed(relay: tuple[str, str], database: Engine) -> None:
    _, metrics = relay
    assert not any(name.startswith("perdura_copies_broken") for name in samples(metrics))
    assert samples(metrics)['perdura_log_unsealed_oldest_seconds{function="relay"}'] == 0
    with database.begin() as connection:
        connection.execute(text("INSERT INTO archive (id, origin, pipeline) VALUES (:id, 'deposit', '[]')"), WAITING)
        connection.execute(
            text("""
                INSERT INTO package (id, archive_id, kind, bucket, key, container, size, checksums, accepted)
                VALUES (:id, :id, 'AIP', 'aips', 'a', 'tar', 1, '{}', true)
            """),
            WAITING,
        )
        for location, state in (("object-store", "damaged"), ("tape", "lost"), ("elsewhere", "held")):
            connection.execute(
                text("""
                    INSERT INTO copy (package_id, location, uri, size, checksums, state)
                    VALUES (:id, :location, :location, 1, '{}', :state)
                """),
                WAITING | {"location": location, "state": state},
            )
        connection.execute(text("INSERT INTO premis_unsealed VALUES (1, now() - interval '90 seconds')"))
    told = samples(metrics)
    broken = {name: value for name, value in told.items() if name.startswith("perdura_copies_broken")}
    assert broken == {
        'perdura_copies_broken{function="relay",location="object-store",state="damaged"}': 1,
        'perdura_copies_broken{function="relay",location="tape",state="lost"}': 1,
    }
    assert 90 <= told['perdura_log_unsealed_oldest_seconds{function="relay"}'] < 300


def test_the_relay_tells_what_waits_for_tape_and_how_long_its_certificate_lasts(
    database: Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = pki.robot().write(tmp_path / "robot", "robot")
    monkeypatch.setenv("PERDURA_TAPE_CERTIFICATE", certificate)
    monkeypatch.setenv("PERDURA_TAPE_KEY", key)
    with database.begin() as connection:
        connection.execute(text("INSERT INTO archive (id, origin, pipeline) VALUES (:id, 'deposit', '[]')"), WAITING)
        connection.execute(
            text("""
                INSERT INTO step (id, archive_id, name, position, state, output)
                VALUES (:id, :id, 'archive', 1, 'waiting', '{"tape": {"waiting_for": "on-disk"}}')
            """),
            WAITING,
        )
    with served("relay", database_url, tmp_path / "log") as (_, metrics):
        told = samples(metrics)
    assert told['perdura_tape_residency{function="relay",waiting_for="on-disk"}'] == 1
    assert told['perdura_steps_open{function="relay",state="waiting",step="archive"}'] == 1
    assert 394 < told['perdura_tape_certificate_days{function="relay"}'] <= 395


def test_tries_duplicates_and_dead_letters_are_counted(database: Engine, database_url: str, tmp_path: Path) -> None:
    asked = CloudEvent(id="1", source="/tests", type=HARVEST, data={"url": "http://127.0.0.1:1/records/1"})
    with served("harvest", database_url, tmp_path / "log") as (address, metrics):
        assert deliver(address, asked) == 204
        with database.connect() as connection:
            [event] = connection.execute(text("SELECT event FROM outbox")).scalars()
        assert deliver(address, from_json(event)) == 503
        told = samples(metrics)
        assert told['perdura_inbox_claims_total{claim="ours",function="harvest"}'] == 1
        retries = {name: value for name, value in told.items() if name.startswith("perdura_retries_total{")}
        assert list(retries.values()) == [1]
        assert 'step="harvest"' in next(iter(retries))
        with database.begin() as connection:
            outbox.write(connection, [], finished=("harvest", from_json(event)))
        assert deliver(address, from_json(event)) == 204
        assert samples(metrics)['perdura_inbox_claims_total{claim="finished",function="harvest"}'] == 1
    with served("premis-log", database_url, tmp_path / "log") as (address, metrics):
        dead = f'perdura_dead_letters_total{{function="premis-log",type="{HARVEST}"}}'
        assert samples(metrics)[dead] == 0, "Prometheus sees no increase of what first appears as 1"
        assert deliver(address, from_json(event)) == 204
        assert samples(metrics)[dead] == 1


def deliver(address: str, event: CloudEvent) -> int:
    headers, body = encode_binary(event)
    return httpx.post(address, headers=headers, content=body, timeout=60).status_code


def test_clients_never_reach_the_metrics(relay: tuple[str, str]) -> None:
    address, _ = relay
    assert httpx.get(f"{address}/metrics").status_code == 404
