"""Signed tree heads: C2SP tlog-checkpoint on C2SP signed-note, with Ed25519 (models.md 7.4). No I/O."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from perdura.errors import Broken, Rejected

ED25519 = 1
LARGEST = 65_536
"""Bytes that a checkpoint may have."""

_NAME = re.compile(r"[^\s+]+")
_SIGNATURE = re.compile(r"— (\S+) ([A-Za-z0-9+/=]+)")


class BadCheckpoint(Rejected):
    """The note is malformed, or a signature of a known key is wrong, or none is of a known key."""

    code = "bad-checkpoint"


@dataclass(frozen=True, slots=True)
class Verifier:
    """The public half of a signing key: its name (the origin of the log) and 32 bytes."""

    name: str
    key: bytes

    @property
    def id(self) -> bytes:
        """The four bytes that stand before each signature."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([ED25519]) + self.key).digest()[:4]

    @property
    def text(self) -> str:
        """The verifier key as text: name+id+key."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes([ED25519]) + self.key).decode()}"

    @classmethod
    def parse(cls, text: str) -> Verifier:
        """Read a verifier key; raises BadCheckpoint."""
        name, _, rest = text.strip().partition("+")
        id_, _, encoded = rest.partition("+")
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError as error:
            raise BadCheckpoint("a verifier key is not base64") from error
        found = cls(name, key[1:])
        if len(key) != 33 or key[0] != ED25519 or found.id.hex() != id_:
            raise BadCheckpoint("a verifier key is no Ed25519 key, or its id is wrong")
        return found


@dataclass(frozen=True, slots=True)
class Signer:
    """A signing key of the log."""

    verifier: Verifier
    seed: bytes

    @classmethod
    def of(cls, name: str, seed: bytes) -> Signer:
        """The key of a seed of 32 bytes; raises Broken for anything else."""
        if len(seed) != 32 or not _NAME.fullmatch(name):
            raise Broken("A signing key needs a seed of 32 bytes and a name without spaces and plus signs.")
        public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        return cls(Verifier(name, public), seed)

    def sign(self, text: str) -> str:
        """The signature line of a text."""
        signature = Ed25519PrivateKey.from_private_bytes(self.seed).sign(text.encode())
        return f"— {self.verifier.name} {base64.b64encode(self.verifier.id + signature).decode()}\n"


def signers(origin: str, seeds: str) -> list[Signer]:
    """The signing keys of the configuration: base64 seeds, one a word, the newest first; raises Broken."""
    try:
        return [Signer.of(origin, base64.b64decode(seed, validate=True)) for seed in seeds.replace(",", " ").split()]
    except ValueError as error:
        raise Broken("PERDURA_LOG_SIGNING_KEYS: expected seeds of 32 bytes in base64.") from error


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: the origin of the log, how many leaves, and the root over them."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def signed(self, keys: Iterable[Signer]) -> str:
        """The note: text, empty line, one signature a key."""
        return self.text + "\n" + "".join(key.sign(self.text) for key in keys)


def opened(note: str, verifiers: Sequence[Verifier]) -> Checkpoint:
    """The checkpoint of a note that at least one known key signed; raises BadCheckpoint.

    Unknown keys are ignored; a known key whose signature fails rejects the note.
    """
    checkpoint, lines = parsed(note)
    known = {(each.name, each.id): each for each in verifiers}
    valid = 0
    for line in lines:
        match = _SIGNATURE.fullmatch(line)
        if match is None:
            raise BadCheckpoint("a signature line is malformed")
        try:
            blob = base64.b64decode(match[2], validate=True)
        except ValueError as error:
            raise BadCheckpoint("a signature is not base64") from error
        verifier = known.get((match[1], blob[:4]))
        if verifier is None:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(verifier.key).verify(blob[4:], checkpoint.text.encode())
        except InvalidSignature as error:
            raise BadCheckpoint(f"the signature of {verifier.name} is wrong") from error
        valid += 1
    if not valid:
        raise BadCheckpoint("no known key signed the checkpoint")
    return checkpoint


def parsed(note: str) -> tuple[Checkpoint, list[str]]:
    """(checkpoint, signature lines) of a note, nothing verified; raises BadCheckpoint."""
    if len(note.encode()) > LARGEST:
        raise BadCheckpoint("the checkpoint is too large")
    text, blank, signatures = note.rpartition("\n\n")
    lines = text.split("\n")
    if not blank or len(lines) < 3 or not signatures.endswith("\n") or not re.fullmatch(r"0|[1-9]\d{0,18}", lines[1]):
        raise BadCheckpoint("the checkpoint is malformed")
    try:
        root = base64.b64decode(lines[2], validate=True)
    except ValueError as error:
        raise BadCheckpoint("the root is not base64") from error
    if len(root) != 32 or len(lines) != 3:
        raise BadCheckpoint("the checkpoint is malformed")
    return Checkpoint(lines[0], int(lines[1]), root), signatures[:-1].split("\n")
