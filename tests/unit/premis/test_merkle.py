"""The tree against the vectors of RFC 6962, and all small proofs against their definition."""

from __future__ import annotations

import json

import pytest

from perdura.premis import merkle
from tests.shared_data import reference_data

LEAVES = [merkle.leaf_hash(str(number).encode()) for number in range(70)]


def test_vectors() -> None:
    vectors = json.loads(reference_data("provenance", "rfc6962-vectors.json").read_text())
    leaves = [merkle.leaf_hash(bytes.fromhex(each)) for each in vectors["leaves_hex"]]
    assert [each.hex() for each in leaves] == vectors["leaf_hashes"]
    roots = vectors["roots"]
    for size in range(len(leaves) + 1):
        expected = roots[str(size)] if isinstance(roots, dict) else roots[size]
        assert merkle.root(leaves[:size]).hex() == expected


@pytest.mark.parametrize("size", range(1, 71))
def test_every_inclusion_proof_holds(size: int) -> None:
    subtree = merkle.subtree_of(LEAVES)
    root = merkle.root(LEAVES[:size])
    for index in range(size):
        proof = merkle.inclusion_proof(index, size, subtree)
        assert merkle.included(LEAVES[index], index, size, proof, root)
        assert not merkle.included(LEAVES[index], index + 1, size, proof, root)
        assert not merkle.included(LEAVES[index], index, size, [*proof, bytes(32)], root)
        assert not proof or not merkle.included(LEAVES[index], index, size, proof[:-1], root)
        assert len(proof) < 2 or not merkle.included(LEAVES[index], index, size, proof[::-1], root)


@pytest.mark.parametrize("size", range(1, 71))
def test_every_consistency_proof_holds(size: int) -> None:
    subtree = merkle.subtree_of(LEAVES)
    root = merkle.root(LEAVES[:size])
    for old in range(size + 1):
        proof = merkle.consistency_proof(old, size, subtree)
        old_root = merkle.root(LEAVES[:old])
        assert merkle.consistent(old, old_root, size, root, proof)
        assert not merkle.consistent(old, old_root, size, root, [*proof, bytes(32)])
        if old:
            assert not merkle.consistent(old, bytes(32), size, root, proof)
        if proof:
            broken = [bytes([proof[0][0] ^ 1]) + proof[0][1:], *proof[1:]]
            assert not merkle.consistent(old, old_root, size, root, broken)
            assert not merkle.consistent(old, old_root, size, root, proof[:-1])


def test_there_is_no_proof_beyond_the_tree() -> None:
    with pytest.raises(ValueError, match="no such leaf"):
        merkle.inclusion_proof(3, 3, merkle.subtree_of(LEAVES))
    with pytest.raises(ValueError, match="larger"):
        merkle.consistency_proof(4, 3, merkle.subtree_of(LEAVES))
