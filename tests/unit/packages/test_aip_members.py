"""The table of an AIP's members: what was put in comes out, and deep folders cost no memory for each file."""

from __future__ import annotations

import tracemalloc

import pytest

from perdura.packages.aip_digests import PACKED, MemberDigests
from perdura.packages.aip_index import Entries, Entry
from perdura.packages.aip_members import Member, Members

DIGESTS = MemberDigests.of_packed(bytes(PACKED))


def table(paths: list[str]) -> Members:
    members = Members()
    for number, path in enumerate(paths):
        members.append(Member(path, 512 * number, number, DIGESTS))
    return members


def test_members_are_as_they_were_put_in_and_in_order_by_the_bytes_of_their_paths() -> None:
    paths = ["b/größe.txt", "b/a.txt", "top.txt", "b/c/d", "b/b", "", "a/", "b/größe", "b!", "é/x"]
    members = table(paths)
    assert [member.path for member in members] == paths
    assert [(member.offset, member.size) for member in members] == [(512 * n, n) for n in range(len(paths))]
    assert [members.path(place) for place in members.in_order()] == sorted(paths, key=str.encode)
    with pytest.raises(IndexError):
        members[len(paths)]


def test_a_deep_folder_costs_no_memory_for_each_of_its_files() -> None:
    def held(folder: str) -> int:
        tracemalloc.start()
        members = table([f"{folder}{number:06}" for number in range(5_000)])
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(members) == 5_000
        return size

    assert held("d" * 99 + "/" + "e" * 99 + "/") < held("d/") + 50_000


def test_of_an_index_that_is_read_the_sha256_of_each_file_is_kept_alone() -> None:
    digests = MemberDigests(bytes(range(32)), bytes(64), 7)
    (entry,) = Entries([Entry(Member("a", 1, 2, digests), "fmt/1", "Text")])
    assert (entry.member.path, entry.member.offset, entry.member.size) == ("a", 1, 2)
    assert (entry.format_key, entry.format_name) == ("fmt/1", "Text")
    assert dict(entry.member.digests) == {"sha256": digests["sha256"]}
    with pytest.raises(KeyError):
        entry.member.digests["sha512"]


def test_a_file_of_an_index_takes_little_more_than_its_name() -> None:
    entries = [Entry(Member(f"data/objects/{number:08}", 512 * number, 1, DIGESTS)) for number in range(20_000)]
    tracemalloc.start()
    held = Entries(entries)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / len(held) < 90
