"""The function `harvest` as it stands ready in an installation: its real server, PostgreSQL and an object store."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
from benchmarks.registry import postgres
from benchmarks.serving import peak, serving
from sqlalchemy import Engine, create_engine, text

from perdura.cloudevents.codec import encode_binary
from perdura.local.passing_store import passing_store
from perdura.registry import archives, migrate


@dataclass(frozen=True)
class Function:
    """A running function; `measure` harvests one record."""

    engine: Engine
    address: str
    worker: psutil.Process

    def measure(self, url: str) -> tuple[float, float, int]:
        """Seconds from the request to the stored SIP, seconds of the worker's processor, MiB of it at most."""
        with self.engine.begin() as connection:
            begun = archives.start_harvest(connection, archives.HarvestWanted(url=url))
        headers, body = encode_binary(begun.events[0])
        before = sum(self.worker.cpu_times()[:2])
        started = time.perf_counter()
        request = urllib.request.Request(self.address, data=body, headers=dict(headers), method="POST")
        with urllib.request.urlopen(request, timeout=500) as answer:
            answer.read()
        seconds = time.perf_counter() - started
        processor = sum(self.worker.cpu_times()[:2]) - before
        query = text("SELECT state, error_message FROM step WHERE archive_id = :archive AND name = 'harvest'")
        with self.engine.connect() as connection:
            state, message = connection.execute(query, {"archive": begun.archive}).one()
        if state not in ("completed", "completed_with_warnings"):
            raise SystemExit(f"the function ended {state}: {message}")
        return seconds, processor, int(peak(self.worker.pid))


@contextmanager
def ready(roots: str) -> Iterator[Function]:
    """Start all, harvest nothing yet; `roots` are folders that may be harvested."""
    with postgres(None) as (url, _), passing_store() as store:
        engine = create_engine(url)
        migrate.upgrade(engine)
        told = {
            "PERDURA_DATABASE_URL": url,
            "PERDURA_S3_ENDPOINT": str(store.s3_endpoint),
            "PERDURA_S3_ACCESS_KEY": str(store.s3_access_key),
            "PERDURA_S3_SECRET_KEY": store.s3_secret_key.get_secret_value() if store.s3_secret_key else "",
            "PERDURA_ALLOW_LOOPBACK_UPSTREAMS": "true",
            "PERDURA_HARVEST_LOCAL_ROOTS": roots,
        }
        with serving("harvest", told) as (address, worker):
            try:
                yield Function(engine, address, psutil.Process(worker))
            finally:
                engine.dispose()
