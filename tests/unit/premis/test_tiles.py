"""Tiles: names of C2SP tlog-tiles, and the same roots as the tree they come from."""

from __future__ import annotations

import pytest

from perdura.premis import merkle, tiles


@pytest.mark.parametrize(
    ("level", "index", "width", "expected"),
    [
        (0, 0, 256, "tile/0/000"),
        (0, 1234067, 256, "tile/0/x001/x234/067"),
        (2, 5, 17, "tile/2/005.p/17"),
        (1, 1000, 256, "tile/1/x001/000"),
    ],
)
def test_names(level: int, index: int, width: int, expected: str) -> None:
    assert tiles.path(level, index, width) == expected


def test_growing_by_any_steps_gives_the_tree() -> None:
    leaves = [merkle.leaf_hash(str(number).encode()) for number in range(70_000)]
    kept: tiles.Tiles = {}
    size = 0
    for step in (1, 2, 253, 1, 256, 700, 64_000, 4_787):
        kept |= tiles.extended({key: kept[key] for key in tiles.frontier(size)}, size, leaves[size : size + step])
        size += step
    assert size == len(leaves)
    assert {key: len(value) // 32 for key, value in kept.items() if key not in {(0, n) for n in range(273)}} == {
        (0, 273): 112,
        (1, 0): 256,
        (1, 1): 17,
        (2, 0): 1,
    }
    tree = tiles.TiledTree(None)  # type: ignore[arg-type]
    tree._tiles = kept
    assert tree.subtree(0, size) == merkle.root(leaves)
    for index in (0, 255, 256, 65_535, 65_536, 69_999):
        proof = merkle.inclusion_proof(index, size, tree.subtree)
        assert merkle.included(leaves[index], index, size, proof, merkle.root(leaves))
