"""The unmodified `fts3` package of PyPI against our FTS server (fts-cta.md 6)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_tape_x509 import DN
from tests.peers.grid import ADLER32, DATA, grid

pytestmark = [pytest.mark.peers, pytest.mark.timeout(400)]
UNKNOWN = "11111111-2222-4333-8444-555555555555"


@pytest.fixture(scope="session")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter with `fts3`, in an environment of its own; its dependency M2Crypto is compiled with swig."""
    given = os.environ.get("PERDURA_FTS3_PYTHON")
    if given:
        return given
    home = tmp_path_factory.mktemp("fts3")
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True, capture_output=True)
    install = [str(home / "bin/pip"), "install", "-q", "--disable-pip-version-check", "fts3>=3.14.2,<4"]
    done = subprocess.run(install, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.skip(f"fts3 cannot be installed here: {done.stderr.strip()[-200:]}")
    return str(home / "bin/python")


@pytest.fixture(scope="module")
def results(interpreter: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("grid")
    with grid(root) as here:
        # What is to be cancelled must not be over before.
        (root / "tape" / "faults.json").write_text(json.dumps([{"effect": "freeze", "match": "held.tar"}]))
        given = {
            "fts": here.server.fts_url, "certificate": here.certificate, "key": here.key,
            "ca": str(here.pki / "ca.pem"), "source": here.aip_url, "destination": f"{here.tape_url}/peer.tar",
            "held": f"{here.tape_url}/held.tar",
            "adler32": ADLER32, "size": len(DATA), "unknown": UNKNOWN,
        }  # fmt: skip
        done = subprocess.run(
            [interpreter, str(Path(__file__).with_name("fts3_scenario.py"))],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"], "HOME": str(here.pki)},
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_client_is_known_and_delegates(results: dict[str, Any]) -> None:
    assert results["api"] == 3
    assert results["whoami"] == DN
    assert results["delegation"]


def test_a_file_is_archived(results: dict[str, Any]) -> None:
    assert uuid.UUID(results["job id"]).version == 5
    assert (results["job state"], results["file state"]) == ("FINISHED", "FINISHED")


def test_the_same_sid_and_the_same_destination_are_refused(results: dict[str, Any]) -> None:
    assert results["same sid again"] == "ClientError"
    assert results["destination exists"].startswith("DESTINATION [17]")


def test_jobs_are_shown_cancelled_and_unknown(results: dict[str, Any]) -> None:
    assert results["cancel"]["job_state"] == "CANCELED"
    assert len(results["several"]) == 2
    assert results["several, one unknown"] == "ClientError"
    assert results["unknown"] == "NotFound"
    assert results["refused"] == "ClientError"
    assert results["listed"] == []


def test_the_contract_of_tape_holds_over_the_package(interpreter: str) -> None:
    """The same suite as over our own transport, with the package beside our dependencies."""
    find = [interpreter, "-c", "import fts3, os; print(os.path.dirname(list(fts3.__path__)[0]))"]
    packages = subprocess.run(find, capture_output=True, text=True, check=True).stdout.strip()
    suites = ["tests/contract/test_tape_system.py", "tests/contract/test_tape_x509.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rs", "-k", "fts3", *suites],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "PYTHONPATH": packages},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "skipped" not in done.stdout, done.stdout[-3000:]
