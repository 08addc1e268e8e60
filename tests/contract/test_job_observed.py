"""A Job of an outsized package is observed as a served function is, and tells all of it before it ends."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import pytest

from perdura.cloudevents.codec import encode_structured
from perdura.cloudevents.message import CloudEvent
from tests.conftest import free_port

pytestmark = pytest.mark.stack
ROOT = Path(__file__).resolve().parents[2]
REQUESTED = "org.perdura.preserve.outsized.requested.v1"
RUN = """
import importlib.util, sys, types
import functions_framework
application = types.ModuleType("application")
application.credential = lambda: ""
application.create = lambda: functions_framework.create_app("handle", sys.argv[2], "http")
sys.modules["application"] = application
spec = importlib.util.spec_from_file_location("start", sys.argv[1])
start = importlib.util.module_from_spec(spec)
spec.loader.exec_module(start)
code = start.main(["once"])
if len(sys.argv) > 3:
    import urllib.request
    print(urllib.request.urlopen(sys.argv[3]).read().decode())
sys.exit(code)
"""
"""The container's entry with the function of this working copy; then what Prometheus would have got."""


@contextmanager
def receiving() -> Iterator[tuple[int, dict[str, bytes]]]:
    """A server that takes what is sent to it, by path; its port."""
    got: dict[str, bytes] = {}

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got[self.path] = gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port, got
    finally:
        server.shutdown()
        server.server_close()


def test_a_job_tells_its_log_traces_errors_and_metrics_before_it_ends(postgres_url: str, tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk")
    pytest.importorskip("sentry_sdk")
    asked = CloudEvent("job-1", "/tests", REQUESTED, data={"archive": str(uuid4()), "step": str(uuid4()), "attempt": 1})
    (tmp_path / "event").write_bytes(encode_structured(asked)[1])
    metrics_port = free_port()
    with receiving() as (port, got):
        environment = {
            **os.environ,
            "FUNCTION": "preserve",
            "HOST": "127.0.0.1",
            "K_EVENT_PATH": str(tmp_path / "event"),
            "METRICS_PORT": str(metrics_port),
            "PERDURA_DATABASE_URL": f"{postgres_url}/postgres",  # it has no schema: an error that nobody foresaw
            "PERDURA_TRACES_ENDPOINT": f"http://127.0.0.1:{port}/v1/traces",
            "PERDURA_SENTRY_DSN": f"http://key@127.0.0.1:{port}/1",
        }
        done = subprocess.run(
            [sys.executable, "-c", RUN, ROOT / "infra/container/start.py", ROOT / "functions/preserve/main.py",
             f"http://127.0.0.1:{metrics_port}/metrics"],
            env=environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    assert done.returncode == 75, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert {line["function"] for line in lines} == {"preserve"}
    [unforeseen] = [line for line in lines if line["message"] == "unforeseen"]
    assert (unforeseen["event"], unforeseen["event_type"]) == ("job-1", REQUESTED)
    assert "the function answered 500" in [line["message"] for line in lines]
    assert f"preserve {REQUESTED}".encode() in got["/v1/traces"]
    assert b'"event":"job-1"' in got["/api/1/envelope/"].replace(b'": "', b'":"')
    answered = f'perdura_cloudevents_total{{answer="500",function="preserve",type="{REQUESTED}"}} 1.0'
    assert answered in done.stdout.splitlines()
