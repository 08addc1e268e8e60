"""The local tape library in a running stack: fed through the AIP gateway, shown by its command."""

from __future__ import annotations

import json
import time

import httpx
import pytest

from perdura.clients.tape_tokens import mint
from perdura.local.state import open_home
from tests.stack import Stack, bag_tar

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def on_tape(stack: Stack) -> str:
    """An Archive whose AIP is on tape."""
    archive = stack.deposit(bag_tar({"minutes.txt": b"of the meeting"}), title="Minutes")
    assert stack.finished(archive)["state"] == "completed", stack.steps(archive)
    return archive


def aip_of(stack: Stack, archive: str) -> dict[str, object]:
    return next(package for package in stack.archive(archive)["packages"] if package["kind"] == "AIP")


def test_fts_read_the_aip_through_the_gateway_and_the_log_knows(stack: Stack, on_tape: str) -> None:
    aip = aip_of(stack, on_tape)
    events = stack.api.get(f"/archives/{on_tape}/events", params={"format": "premis"}).text
    assert f"GET /aips/{aip['id']}.tar: {aip['size']} bytes for archive-cta" in events


def test_the_function_answers_what_gfal2_asks(stack: Stack, on_tape: str) -> None:
    aip = aip_of(stack, on_tape)
    path = f"/aips/{aip['id']}.tar"
    secret = open_home(stack.home).secret("tape-gateway")
    token = mint(secret, path, ("GET", "HEAD", "PROPFIND"), int(time.time()) + 60, "a test")
    bearer = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=stack.urls["aip-gateway"]) as client:
        head = client.head(path, headers={**bearer, "Want-Digest": "ADLER32"})
        found = client.request("PROPFIND", path, headers={**bearer, "Depth": "0"})
        read = client.get(path, headers=bearer)
        assert client.head(path).status_code == 401
        assert client.head(path.replace(str(aip["id"]), on_tape), headers=bearer).status_code == 403
        assert client.put(path, headers=bearer, content=b"x").status_code == 405
    assert head.headers["Digest"] == f"adler32={aip['checksums']['adler32']}"  # type: ignore[index]
    assert head.headers["Content-Length"] == str(aip["size"])
    assert found.status_code == 207
    assert f"<D:getcontentlength>{aip['size']}</D:getcontentlength>" in found.text
    assert read.status_code == 307
    assert len(httpx.get(read.headers["Location"]).content) == aip["size"]


def test_the_command_shows_drives_queue_and_residency(stack: Stack, on_tape: str) -> None:
    shown = json.loads(stack.command("tape", "status", "--json").stdout)
    assert {"drives", "queue", "residency", "volumes", "buffer"} <= set(shown)
    assert sum(shown["residency"].values()) >= 1
    words = stack.command("tape", "status").stdout
    assert "drive1" in words
    assert "queue: 0 to archive, 0 to recall" in words


def test_all_copies_are_checked_on_request(stack: Stack, on_tape: str) -> None:
    checked = stack.command("check", on_tape, "--watch")
    assert checked.returncode == 0, checked.stdout
    assert "object-store: completed" in checked.stdout
    assert "tape: completed" in checked.stdout
    copies = {copy["location"]: copy["verified"] for copy in stack.archive(on_tape)["copies"]}
    assert copies.keys() == {"object-store", "tape"}
    assert all(copies.values())


def test_an_operator_pauses_looks_and_resumes(stack: Stack, on_tape: str) -> None:
    assert "paused by administrator: new drives" in stack.command("tape", "pause", "new drives").stdout
    waiting = stack.deposit(bag_tar({"later.txt": b"later"}), title="Later")

    def paused() -> bool | None:
        return "waiting, tape-paused: 1" in stack.command("tape", "show").stdout or None

    stack.until(paused, 60, every=0.5)
    assert stack.archive(waiting)["state"] == "waiting"
    assert stack.command("tape", "resume").returncode == 0
    assert stack.finished(waiting)["state"] == "completed", stack.steps(waiting)
    jobs = stack.command("tape", "jobs", "--all").stdout.splitlines()
    assert len(jobs) >= 2
    assert all(" finished " in line for line in jobs), jobs
