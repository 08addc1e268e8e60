"""Merkle tree of RFC 6962 2.1 (unchanged in RFC 9162): hashes, proofs, and what is needed to check them. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

EMPTY = hashlib.sha256(b"").digest()
"""Root of the tree without leaves."""


def leaf_hash(data: bytes) -> bytes:
    """Hash of a leaf."""
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return hashlib.sha256(b"\1" + left + right).digest()


def split(size: int) -> int:
    """The largest power of two smaller than `size` (which is at least 2)."""
    return 1 << (size - 1).bit_length() - 1


Subtree = Callable[[int, int], bytes]
"""Root of the leaves [begin, end), where the range is a subtree of some RFC 6962 tree."""


def root(leaves: Sequence[bytes]) -> bytes:
    """Root of a tree of leaf hashes (MTH)."""
    return subtree_of(leaves)(0, len(leaves)) if leaves else EMPTY


def subtree_of(leaves: Sequence[bytes]) -> Subtree:
    """The Subtree function of leaf hashes held in memory."""

    def subtree(begin: int, end: int) -> bytes:
        if end - begin == 1:
            return leaves[begin]
        middle = begin + split(end - begin)
        return node_hash(subtree(begin, middle), subtree(middle, end))

    return subtree


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """PATH(index, D[size]): sibling hashes from the leaf to the root; raises ValueError beyond the tree."""
    if not 0 <= index < size:
        raise ValueError("no such leaf")
    begin, end, proof = 0, size, []
    while end - begin > 1:
        middle = begin + split(end - begin)
        if index < middle:
            proof.append(subtree(middle, end))
            end = middle
        else:
            proof.append(subtree(begin, middle))
            begin = middle
    return proof[::-1]


def consistency_proof(old: int, size: int, subtree: Subtree) -> list[bytes]:
    """PROOF(old, D[size]); empty when there is nothing to prove; raises ValueError when `old` is larger."""
    if not 0 <= old <= size:
        raise ValueError("the older tree is larger than the newer")
    if old in (0, size):
        return []
    begin, end, proof, whole = 0, size, [], True
    while old != end:
        middle = begin + split(end - begin)
        if old <= middle:
            proof.append(subtree(middle, end))
            end = middle
        else:
            proof.append(subtree(begin, middle))
            begin = middle
            whole = False
    if not whole:
        proof.append(subtree(begin, end))
    return proof[::-1]


def included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes) -> bool:
    """Whether a proof shows that a leaf hash is at `index` of the tree of that size and root (RFC 9162 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    at, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and found == expected


def consistent(old: int, old_root: bytes, size: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether a proof shows that the tree of `size` only adds to that of size `old` (RFC 9162 2.1.4.2)."""
    if old == size:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY
    if old > size or not proof:
        return False
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    at, last = old - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


class Frontier:
    """A tree that only grows: the roots of its complete subtrees, one per set bit of its size."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Add a leaf hash."""
        node, size = leaf, self.size
        while size & 1:
            node = node_hash(self._peaks.pop(), node)
            size >>= 1
        self._peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The root of the tree as it is."""
        if not self._peaks:
            return EMPTY
        node = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            node = node_hash(peak, node)
        return node
