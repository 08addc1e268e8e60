"""Containers of small AIPs: valid bags whose bytes follow from the list of their members."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import zlib
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from perdura.packages.tape_container import AROUND, BESIDE, Container, Member, grouped

CONTAINER = UUID("0198f000-0000-7000-8000-000000000001")
AT = datetime(2026, 11, 28, 1, 2, 3, tzinfo=UTC)


def uuid(number: int) -> UUID:
    return UUID(int=number)


def member(number: int, data: bytes) -> Member:
    return Member(
        uuid(number), uuid(number + 10**6), len(data), hashlib.sha256(data).hexdigest(),
        hashlib.sha512(data).hexdigest(), f"{zlib.adler32(data):08x}",
    )  # fmt: skip


@pytest.fixture(params=[1, 2, 3, 11, 300])
def made(request: pytest.FixtureRequest) -> tuple[Container, dict[UUID, bytes]]:
    data = {uuid(n): os.urandom(1 + 997 * n % 5000) for n in range(request.param)}
    members = tuple(member(n, content) for n, content in enumerate(data.values()))
    return Container(CONTAINER, AT, members), data


def bytes_of(container: Container, data: dict[UUID, bytes], start: int = 0, end: int | None = None) -> bytes:
    return b"".join(
        (part if isinstance(part, bytes) else data[part.package])[first:last]
        for part, first, last in container.ranged(start, container.size if end is None else end)
    )


def test_size_and_checksum_are_known_without_writing(made: tuple[Container, dict[UUID, bytes]]) -> None:
    container, data = made
    whole = bytes_of(container, data)
    assert len(whole) == container.size
    assert f"{zlib.adler32(whole):08x}" == container.adler32


def test_every_aip_lies_where_registry_and_index_say(made: tuple[Container, dict[UUID, bytes]]) -> None:
    container, data = made
    whole = bytes_of(container, data)
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        index = tar.extractfile(f"{CONTAINER}/index.jsonl")
        assert index is not None
        head, *lines = [json.loads(line) for line in index]
    assert head["members"] == len(data)
    for line in lines:
        aip = UUID(line["aip"])
        slot = container.slots[aip]
        assert (slot.offset, slot.length) == (line["offset"], line["size"])
        assert whole[slot.offset : slot.offset + slot.length] == data[aip]
        assert hashlib.sha256(data[aip]).hexdigest() == line["sha256"]


def test_any_range_can_be_read(made: tuple[Container, dict[UUID, bytes]]) -> None:
    container, data = made
    whole = bytes_of(container, data)
    for start, end in ((0, 1), (511, 513), (container.size - 5, container.size), (700, container.size - 900)):
        assert bytes_of(container, data, start, end) == whole[start:end]


def test_it_is_a_bag_that_common_tools_check(made: tuple[Container, dict[UUID, bytes]], tmp_path: Path) -> None:
    container, data = made
    (tmp_path / "c.tar").write_bytes(bytes_of(container, data))
    subprocess.run(["tar", "-xf", "c.tar"], cwd=tmp_path, check=True)
    bag = tmp_path / str(CONTAINER)
    subprocess.run(["sha512sum", "--check", "--quiet", "manifest-sha512.txt"], cwd=bag, check=True)
    subprocess.run([sys.executable, "-m", "bagit", "--validate", str(bag)], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("sizes", "complete", "groups"),
    [
        ([4, 4], False, []),
        ([4, 4], True, [(0, 1)]),
        ([4, 4, 4], False, [(0, 1)]),
        ([4, 4, 4], True, [(0, 1)]),
        ([6, 6, 6], True, []),
        ([3, 3, 3, 9, 1, 1], True, [(0, 1, 2), (3, 4)]),
        ([], True, []),
    ],
)
def test_groups_keep_their_order_and_their_size(
    sizes: list[int], complete: bool, groups: list[tuple[int, ...]]
) -> None:
    most = 10 * 10**6 + AROUND + len(sizes) * BESIDE
    found = grouped([(uuid(n), size * 10**6) for n, size in enumerate(sizes)], most, complete=complete)
    assert [tuple(each.int for each in group) for group in found] == groups


@pytest.mark.parametrize("largest", [60_000, 200_000, 3_000_000])
def test_no_container_is_larger_than_it_may_be(largest: int) -> None:
    made = [member(n, bytes(1 + 7919 * n % 15_000)) for n in range(900)]
    members = {each.package: each for each in made}
    groups = list(grouped([(each.package, each.size) for each in made], largest, complete=True))
    assert len(groups) > 1
    assert all(Container(CONTAINER, AT, tuple(members[each] for each in group)).size <= largest for group in groups)
