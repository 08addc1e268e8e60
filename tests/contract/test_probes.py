"""Functions under gunicorn as a container runs them: probes are answered while all their requests are at work."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from perdura.local.manifests_kustomize import Document, render

BASE = Path(__file__).resolve().parents[2] / "infra" / "knative" / "base"

BUSY = """
import time

def application(environ, start_response):
    if environ["REQUEST_METHOD"] == "POST":
        time.sleep(30)
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""
"""A function whose requests take long, as those of `preserve` do."""


def services() -> list[Document]:
    return [each for each in render(BASE) if each["kind"] == "Service" and "serving" in each["apiVersion"]]


@contextmanager
def container(environment: dict[str, str], folder: Path) -> Iterator[int]:
    """A server with our configuration of gunicorn on a free port, which is given."""
    (folder / "busy.py").write_text(BUSY)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "-c", "python:perdura.runtime.server", "busy:application"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PERDURA_")}
    settings = {**inherited, **environment, "HOST": "127.0.0.1", "PORT": str(port), "GRACEFUL_TIMEOUT": "1"}
    process = subprocess.Popen(command, cwd=folder, env=settings)
    try:
        yield port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def started(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("gunicorn did not start")


def ask(port: int, path: str) -> tuple[int, float]:
    """The status of a probe as Kubernetes makes it, on a connection of its own, and the seconds until it came."""
    begun, connection = time.monotonic(), HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status, time.monotonic() - begun
    finally:
        connection.close()


@pytest.mark.parametrize("service", services(), ids=lambda service: service["metadata"]["name"])
def test_probes_are_answered_while_every_request_that_knative_lets_in_is_at_work(
    service: Document, tmp_path: Path
) -> None:
    pod = service["spec"]["template"]["spec"]
    [function] = pod["containers"]
    environment = {each["name"]: each["value"] for each in function["env"] if "value" in each}
    with container(environment, tmp_path) as port:
        started(port)
        working = []
        for _ in range(pod["containerConcurrency"]):
            connection = HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("POST", "/", b"")
            working.append(connection)
        time.sleep(0.3)
        limit = function["livenessProbe"].get("timeoutSeconds", 1)
        paths = (function["livenessProbe"]["httpGet"]["path"], function["readinessProbe"]["httpGet"]["path"])
        for path in paths * 3:
            status, seconds = ask(port, path)
            assert status == 200
            assert seconds < limit
        for connection in working:
            connection.close()
