"""The tree in tiles of up to 256 hashes (C2SP tlog-tiles): any proof is a few reads, whatever the size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy.engine import Connection

from perdura.premis.merkle import EMPTY, node_hash, split

HEIGHT = 8
WIDTH = 1 << HEIGHT
HASH = 32

Tiles = dict[tuple[int, int], bytes]
"""Tile bytes by (level, index): hashes side by side."""


def path(level: int, index: int, width: int = WIDTH) -> str:
    """Where a tile is published: `tile/0/x001/234`, partial ones `….p/<width>`."""
    groups = []
    rest = index
    while True:
        groups.append(f"{rest % 1000:03d}")
        rest //= 1000
        if not rest:
            break
    name = "/".join([*(f"x{group}" for group in reversed(groups[1:])), groups[0]])
    return f"tile/{level}/{name}" + (f".p/{width}" if width < WIDTH else "")


def extended(tiles: Mapping[tuple[int, int], bytes], size: int, leaves: Sequence[bytes]) -> Tiles:
    """The tiles that change when leaf hashes are added to a tree of `size`.

    `tiles` must hold the last, partial tile of every level (`frontier` names them).
    """
    changed: Tiles = {}
    level, begin, added = 0, size, list(leaves)
    while added:
        above: list[bytes] = []
        position = 0
        while position < len(added):
            index, filled = divmod(begin + position, WIDTH)
            taken = added[position : position + WIDTH - filled]
            before = tiles.get((level, index), b"")[: filled * HASH] if filled else b""
            changed[level, index] = before + b"".join(taken)
            position += len(taken)
            if filled + len(taken) == WIDTH:
                above.append(root(changed[level, index]))
        begin >>= HEIGHT
        level, added = level + 1, above
    return changed


def frontier(size: int) -> list[tuple[int, int]]:
    """The partial tiles at the right edge of a tree."""
    found, level = [], 0
    while size:
        if size % WIDTH:
            found.append((level, size // WIDTH))
        size, level = size >> HEIGHT, level + 1
    return found


class TiledTree:
    """Subtree roots of a tree whose tiles are in the database; each tile is read once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tiles: Tiles = {}

    def load(self, wanted: Iterable[tuple[int, int]]) -> Tiles:
        """Read tiles, in one statement."""
        missing = [each for each in wanted if each not in self._tiles]
        if missing:
            found = self._connection.exec_driver_sql(
                "SELECT t.level, t.tile_index, t.hashes FROM premis_tile t "
                "JOIN unnest(CAST(%s AS int[]), CAST(%s AS bigint[])) AS w(level, tile_index) "
                "USING (level, tile_index)",
                ([level for level, _ in missing], [index for _, index in missing]),
            )
            self._tiles.update({(level, index): hashes for level, index, hashes in found})
        return self._tiles

    def subtree(self, begin: int, end: int) -> bytes:
        """Root of the leaves [begin, end): the Subtree of perdura.premis.merkle."""
        size = end - begin
        if size == 0:
            return EMPTY
        if size & (size - 1) == 0 and begin % size == 0:
            return self._complete(begin, size)
        middle = begin + split(size)
        return node_hash(self.subtree(begin, middle), self.subtree(middle, end))

    def _complete(self, begin: int, size: int) -> bytes:
        level, height = divmod(size.bit_length() - 1, HEIGHT)
        first = begin >> level * HEIGHT
        index, offset = divmod(first, WIDTH)
        tile = self.load([(level, index)]).get((level, index), b"")
        hashes = tile[offset * HASH : (offset + (1 << height)) * HASH]
        if len(hashes) != HASH << height:
            raise LookupError(f"tile {level}/{index} does not reach that far")
        return root(hashes)


def root(hashes: bytes) -> bytes:
    """Root of 2**n hashes."""
    nodes = [hashes[at : at + HASH] for at in range(0, len(hashes), HASH)]
    while len(nodes) > 1:
        nodes = [node_hash(nodes[at], nodes[at + 1]) for at in range(0, len(nodes), 2)]
    return nodes[0]
