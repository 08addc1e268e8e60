"""UNT's own client, codalib, unchanged against our log (premis.md 1.13).

    python -m venv ~/.cache/perdura-peers/codalib && ~/.cache/perdura-peers/codalib/bin/pip install codalib==2.1.0

`PERDURA_CODALIB` names the Python of another environment that has it.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from sqlalchemy.engine import Engine

from perdura.premis import log
from tests.contract.test_premis.conftest import engine, postgres
from tests.contract.test_premis.test_http import OPEN, service_application

__all__ = ["engine", "postgres"]

PYTHON = Path(os.environ.get("PERDURA_CODALIB", "~/.cache/perdura-peers/codalib/bin/python")).expanduser()
pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(not PYTHON.exists(), reason="codalib is not installed (see the docstring)"),
]

SEND = """
import json, sys, datetime
from codalib import util
arguments = json.loads(sys.argv[1])
if arguments.pop("now", None):
    arguments["eventDate"] = datetime.datetime.fromisoformat(arguments["eventDate"])
arguments["linkObjectList"] = [tuple(each) for each in arguments.get("linkObjectList", [])]
util.sendPREMISEvent(**arguments)
"""
OTHER = """
import sys
from codalib import util
util.waitForURL(sys.argv[1], max_seconds=5)
answer = util.doWebRequest(sys.argv[2], sys.argv[3])
print(answer[0] if isinstance(answer, tuple) else answer)
"""


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address(engine: Engine) -> Iterator[str]:
    with make_server("127.0.0.1", 0, service_application(engine, OPEN), handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def _run(script: str, *arguments: str) -> str:
    done = subprocess.run([PYTHON, "-c", script, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_event_it_sends_is_stored_at_the_right_instant(address: str, engine: Engine) -> None:
    identifier = uuid.uuid4()
    arguments = {
        "webRoot": f"{address}APP/event/",
        "eventType": "http://purl.org/net/untl/vocabularies/preservationEvents/#fixityCheck",
        "agentIdentifier": "http://example.org/agent/codaVerify",
        "eventDetail": "Verification of coda1",
        "eventOutcome": "http://purl.org/net/untl/vocabularies/eventOutcomes/#success",
        "eventOutcomeDetail": "Total time: 0:00:01",
        "linkObjectList": [
            ["ark:/67531/coda1", "http://purl.org/net/untl/vocabularies/identifier-qualifiers/#ARK", None]
        ],
        "eventIdentifier": identifier.hex,
    }
    _run(SEND, json.dumps(arguments))
    with engine.connect() as connection:
        stored = log.find(connection, identifier)
    assert stored is not None
    assert abs((stored.at - datetime.now(UTC)).total_seconds()) < 60
    assert stored.event.details == ("Verification of coda1",)
    assert [each.value for each in stored.event.objects] == ["ark:/67531/coda1"]


def test_it_waits_for_the_service_reads_and_deletes(address: str, engine: Engine) -> None:
    identifier = uuid.uuid4()
    arguments = {
        "webRoot": f"{address}APP/event/",
        "eventType": "x",
        "agentIdentifier": "a",
        "eventDetail": "d",
        "eventOutcome": "o",
        "eventIdentifier": identifier.hex,
    }
    _run(SEND, json.dumps(arguments))
    permalink = f"{address}APP/event/{identifier.hex}/"
    _run(OTHER, f"{address}APP/event/", permalink, "HEAD")
    _run(OTHER, f"{address}APP/event/", permalink, "DELETE")
    with engine.connect() as connection:
        assert log.find(connection, identifier) is None
