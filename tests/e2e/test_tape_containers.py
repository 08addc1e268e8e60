"""Small AIPs travel to tape together: FTS reads the container through the gateway; each comes back on its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stack import Stack, bag_tar, running_stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]
GROUPING = {"PERDURA_TAPE_GROUP_BELOW": "1000000", "PERDURA_TAPE_GROUP_SECONDS": "6"}


@pytest.fixture(scope="module")
def grouping() -> Iterator[Stack]:
    """A stack that puts small AIPs into containers."""
    with running_stack(GROUPING) as stack:
        yield stack


@pytest.fixture(scope="module")
def archives(grouping: Stack) -> list[str]:
    """Three Archives whose AIPs went to tape together."""
    made = [grouping.deposit(bag_tar({f"{name}.txt": name.encode() * 100}), title=name) for name in "abc"]
    for archive in made:
        assert grouping.finished(archive)["state"] == "completed", grouping.steps(archive)
    return made


def copy_of(stack: Stack, archive: str) -> str:
    return next(str(copy["uri"]) for copy in stack.archive(archive)["copies"] if copy["location"] == "tape")


def test_they_share_one_file_on_tape(grouping: Stack, archives: list[str]) -> None:
    uris = [copy_of(grouping, archive) for archive in archives]
    assert len({uri.partition("#")[0] for uri in uris}) == 1, uris
    assert len(set(uris)) == 3
    assert all("/containers/" in uri and "#offset=" in uri for uri in uris)
    found = grouping.api.get("/tape").json()
    assert (found["containers"], found["copies"], found["in_flight"]) == (1, 3, 0)


@pytest.mark.parametrize("wanted", [{}, {"drill": True}, {"file": "b.txt"}], ids=["whole", "drill", "one file"])
def test_one_comes_back_out_of_the_container(grouping: Stack, archives: list[str], wanted: dict[str, object]) -> None:
    archive = archives[1]
    if "file" in wanted:
        items = grouping.api.get(f"/archives/{archive}/files").json()["items"]
        wanted = {"file": next(item["path"] for item in items if item["path"].endswith("b.txt"))}
    step = grouping.api.post(f"/archives/{archive}/recalls", json=wanted).json()["step"]

    def done() -> dict[str, object] | None:
        found = next(each for each in grouping.steps(archive) if each["id"] == step)
        return found if found["finished"] else None

    recalled = grouping.until(done, 60)
    assert recalled["state"] == "completed", recalled
    assert recalled["output"]["recall"]["drill"] is bool(wanted.get("drill"))  # type: ignore[index]
