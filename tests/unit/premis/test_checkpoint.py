"""Checkpoints: the published example, rotation, and everything that must be refused."""

from __future__ import annotations

import json

import pytest

from perdura.errors import Broken
from perdura.premis.checkpoint import BadCheckpoint, Checkpoint, Signer, Verifier, opened, signers
from tests.shared_data import reference_data

OLD = Signer.of("archive.example.org/log", bytes(range(32)))
NEW = Signer.of("archive.example.org/log", bytes(range(1, 33)))
STRANGER = Signer.of("somebody.else/log", bytes(32))
HEAD = Checkpoint("archive.example.org/log", 8, bytes(range(32)))


def test_the_published_example() -> None:
    example = json.loads(reference_data("provenance", "checkpoint-example.json").read_text())
    signer = Signer.of(example["key_name"], bytes.fromhex(example["private_key_seed_hex"]))
    assert signer.verifier.text == example["verifier_key"]
    assert signer.verifier.id.hex() == example["key_id_hex"]
    checkpoint = opened(example["checkpoint"], [Verifier.parse(example["verifier_key"])])
    assert checkpoint.signed([signer]) == example["checkpoint"]


def test_while_keys_rotate_either_key_is_enough() -> None:
    note = HEAD.signed([NEW, OLD])
    assert opened(note, [OLD.verifier]) == HEAD
    assert opened(note, [NEW.verifier]) == HEAD
    with pytest.raises(BadCheckpoint, match="no known key"):
        opened(note, [STRANGER.verifier])


@pytest.mark.parametrize(
    "note",
    [
        HEAD.signed([OLD]).replace("\n8\n", "\n9\n"),
        HEAD.signed([OLD]).replace("\n8\n", "\n08\n"),
        HEAD.signed([OLD]).replace("\n8\n", "\n-8\n"),
        HEAD.signed([]),
        HEAD.text,
        "",
        HEAD.signed([OLD])[:-1],
        HEAD.signed([OLD]) + "no signature\n",
        HEAD.text + "more\n\n" + OLD.sign(HEAD.text),
        HEAD.signed([OLD]) + "x" * 70_000 + "\n",
    ],
)
def test_anything_else_is_refused(note: str) -> None:
    with pytest.raises(BadCheckpoint):
        opened(note, [OLD.verifier])


def test_a_verifier_key_with_a_wrong_id_is_refused() -> None:
    name, _, key = OLD.verifier.text.split("+", 2)
    with pytest.raises(BadCheckpoint):
        Verifier.parse(f"{name}+00000000+{key}")


@pytest.mark.parametrize("seeds", ["AAAA", "not base64!"])
def test_a_bad_seed_is_an_error_of_the_operator(seeds: str) -> None:
    with pytest.raises(Broken):
        signers("archive.example.org/log", seeds)
