"""A package that one invocation would not finish: sent in parts, verified in work units, kept once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.stack import Stack, bag_tar, running_stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

MIB = 2**20


@pytest.fixture(scope="module")
def large() -> Iterator[Stack]:
    """A stack whose invocations verify 4 MiB each."""
    with running_stack({"PERDURA_VERIFY_UNIT_BYTES": str(4 * MIB)}) as running:
        yield running


def test_a_large_deposit_goes_all_the_way_and_is_not_kept_twice(large: Stack, tmp_path: Path) -> None:
    content = {"long.bin": os.urandom(9 * MIB), **{f"{n:02d}.bin": os.urandom(MIB) for n in range(12)}}
    package = tmp_path / "bag.tar"
    package.write_bytes(bag_tar(content))

    announced = large.api.post(
        "/deposits", json={"filename": "bag.tar", "size": package.stat().st_size, "parts": True}
    ).json()
    parts = large.api.get(f"/deposits/{announced['id']}/parts").json()
    assert parts["count"] == len(parts["items"]) == 2
    data = package.read_bytes()
    first, second = parts["items"]
    for part in (second, first):
        sent = httpx.put(part["url"], content=data[part["offset"] : part["offset"] + part["size"]], timeout=60)
        assert sent.status_code == 200, sent.text
    assert large.api.post(f"/deposits/{announced['id']}/complete").status_code == 202

    done = large.finished(announced["archive"], timeout=200)
    assert done["state"] == "completed", large.steps(announced["archive"])
    units = large.scalar("SELECT count(*) FROM work_unit WHERE state = 'completed'")
    assert units >= 4
    assert large.scalar("SELECT count(*) FROM work_unit WHERE state <> 'completed'") == 0

    again = large.command("deposit", str(package), "--watch")
    assert again.returncode == 1, again.stdout + again.stderr
    assert f"the Archive with the same content is {announced['archive']}" in again.stdout


def test_the_same_file_is_not_even_sent_again(large: Stack, tmp_path: Path) -> None:
    package = tmp_path / "small.tar"
    package.write_bytes(bag_tar({"a.txt": os.urandom(1000)}))
    first = large.command("deposit", str(package), "--watch")
    assert first.returncode == 0, first.stdout + first.stderr
    again = large.command("deposit", str(package))
    assert again.returncode == 0
    assert "here already" in again.stderr
    assert again.stdout.splitlines()[0] == first.stdout.splitlines()[0]


def test_the_store_was_probed_and_says_so(large: Stack) -> None:
    health = large.until(
        lambda: (told := large.api.get("/health").json())["store"] and told, 30, lambda: "never probed"
    )
    assert health["store"]["reads_ranges"]
    assert health["store"]["object_lock"]
    assert "sha256" in health["resumable_digests"]
