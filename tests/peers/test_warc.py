"""Landing pages as WARC, checked by warcio (Apache-2.0), run as a program in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from perdura.outcome import StepState
from perdura.steps import harvest
from tests.unit.harvest.surroundings import Harvesting
from tests.upstreams.invenio import publish
from tests.upstreams.server import Reply, Upstream, serving

pytestmark = [pytest.mark.peers, pytest.mark.timeout(400)]

PACKAGES = ("warcio==1.8.1", "six==1.17.0")


@cache
def warcio() -> Path:
    """The program, installed once below the cache directory; skips where it cannot be installed."""
    caches = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    environment = caches / "perdura-peers" / "warcio-1.8.1"
    program = environment / "bin" / "warcio"
    if program.exists():
        return program
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", environment], capture_output=True)
    install = [environment / "bin" / "python", "-m", "pip", "install", "-q", "--no-deps", *PACKAGES]
    if made.returncode or subprocess.run(install, capture_output=True, timeout=300).returncode:
        pytest.skip("warcio cannot be installed here")
    return program


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serving() as server:
        yield server


def kept(upstream: Upstream, reply: Reply) -> bytes:
    """The WARC of a record's landing page that answers so."""
    world = Harvesting()
    url = publish(upstream, "rec-1", {"a.txt": b"a"})
    upstream.add("/records/rec-1", reply)
    assert harvest.run(world.archive({"url": url, "warc": True}), world.ports()).state is StepState.COMPLETED
    return world.read("sip/data/meta/landing-page.warc")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"<html><title>Record</title></html>", headers={"Content-Type": "text/html", "Set-Cookie": "s=1"}),
        Reply("<html>Ångström</html>".encode() * 5000, headers={"Content-Type": "text/html"}, length=False),
        Reply(b"", headers={"Content-Type": "text/html"}),
        Reply(bytes(range(256)), headers={"Content-Type": "application/octet-stream"}),
    ],
    ids=["a page", "a page without length", "an empty page", "binary"],
)
def test_every_record_of_the_page_is_well_formed_and_its_digests_match(
    upstream: Upstream, reply: Reply, tmp_path: Path
) -> None:
    place = tmp_path / "landing-page.warc"
    place.write_bytes(kept(upstream, reply))
    checked = subprocess.run([warcio(), "check", "-v", place], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("digest pass") >= 2, checked.stdout
    listed = subprocess.run([warcio(), "index", "-f", "warc-type", place], capture_output=True, text=True, check=True)
    assert [kind in listed.stdout for kind in ("warcinfo", "response", "request")] == [True] * 3
    taken = subprocess.run([warcio(), "extract", "--payload", place, _response(place)], capture_output=True, check=True)
    assert taken.stdout == reply.body


def test_a_changed_byte_is_noticed(upstream: Upstream, tmp_path: Path) -> None:
    place = tmp_path / "landing-page.warc"
    data = kept(upstream, Reply(b"<html>original</html>", headers={"Content-Type": "text/html"}))
    place.write_bytes(data.replace(b"original", b"changed!"))
    assert subprocess.run([warcio(), "check", place], capture_output=True).returncode != 0


def _response(place: Path) -> str:
    """Where the response begins in the file."""
    lines = subprocess.run(
        [warcio(), "index", "-f", "offset,warc-type", place], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    (line,) = [line for line in lines if "response" in line]
    return line.split('"offset": "')[1].partition('"')[0]
