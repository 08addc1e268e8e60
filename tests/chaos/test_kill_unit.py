"""A worker killed within a work unit of a verification: another one goes on, and the verdict is the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdura.runtime.faults import UNIT_POINTS
from tests.chaos.test_kill import Undisturbed, arm, assert_everything_once, done, killed, recorded
from tests.stack import Stack, bag_tar, running_stack

pytestmark = [pytest.mark.chaos, pytest.mark.stack, pytest.mark.timeout(300)]

MIB = 2**20


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def stack(faults: Path) -> Iterator[Stack]:
    """A stack whose invocations verify 2 MiB each."""
    settings = {"PERDURA_FAULTS": str(faults), "PERDURA_VERIFY_UNIT_BYTES": str(2 * MIB)}
    with running_stack({**settings, "PERDURA_VIRUS_SCAN": "preferred"}) as stack:
        yield stack


def large() -> bytes:
    """A bag of one file that is longer than a unit, and of several that share units."""
    return bag_tar({"long.bin": os.urandom(5 * MIB), **{f"{n}.bin": os.urandom(MIB // 2) for n in range(6)}})


@pytest.fixture(scope="module")
def undisturbed(stack: Stack) -> Undisturbed:
    return {"ingest": recorded(stack, done(stack, stack.deposit(large())))}


@pytest.mark.parametrize("point", UNIT_POINTS)
def test_a_unit_killed_anywhere_is_done_once_in_the_end(
    stack: Stack, undisturbed: Undisturbed, faults: Path, point: str
) -> None:
    arm(faults, "ingest", point)
    archive = stack.deposit(large())
    assert_everything_once(stack, archive, undisturbed)
    killed(stack, faults, "ingest", point)
    units = """SELECT count(*) FROM work_unit JOIN step ON step.id = step_id WHERE archive_id = :a AND {}"""
    assert stack.scalar(units.format("work_unit.state = 'completed'"), a=archive) >= 3
    assert stack.scalar(units.format("work_unit.state <> 'completed'"), a=archive) == 0
    report = stack.api.get(f"/archives/{archive}/steps").json()["items"]
    assert [step["state"] for step in report if step["name"] == "ingest"] == ["completed"]
