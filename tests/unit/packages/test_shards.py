"""How a verification is cut into shards."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perdura.packages.shards import MOST_FILES, Shard, shards


def test_neighbours_share_a_shard_and_a_large_file_has_its_own() -> None:
    assert shards([3, 4, 2, 30, 1, 1], 10) == [
        Shard(0, 3, 9),
        Shard(3, 4, 30, long=True),
        Shard(4, 6, 2),
    ]


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 40))
def test_every_member_is_in_exactly_one_shard_in_order(sizes: list[int], limit: int) -> None:
    found = shards(sizes, limit)
    assert [index for shard in found for index in range(shard.first, shard.stop)] == list(range(len(sizes)))
    for shard in found:
        assert shard.size == sum(sizes[shard.first : shard.stop])
        assert shard.long == (shard.size > limit)
        assert not shard.long or shard.stop == shard.first + 1
    assert len({shard.key for shard in found}) == len(found)


def test_a_shard_of_tiny_files_does_not_grow_for_ever() -> None:
    assert max(shard.stop - shard.first for shard in shards([0] * (MOST_FILES * 2 + 1), 10)) == MOST_FILES
