#!/usr/bin/env python3
"""Verify an exported PREMIS log without Perdura: python3 verify_log.py FOLDER [VERIFIER-KEY ...]

FOLDER holds leaves.ndjson, checkpoints/ and keys.txt, as `perdura log export FOLDER` writes them. Nothing but the
standard library is used. Keys given on the command line are trusted instead of those in the folder: get them from
somewhere else than the folder, or the check says only that the folder agrees with itself.

What is checked: every checkpoint is signed by a known key (Ed25519, C2SP signed-note); the leaves in their order give
the root of every checkpoint (Merkle tree of RFC 6962); every leaf holds the SHA-256 of the event's XML; every sealing
names a checkpoint that is here; no leaf says that it was recorded a day or more before the sealing it comes after; the
newest checkpoint covers the last leaf. What is not: whether an event was never recorded, and what happened after the
newest checkpoint. The exit status is 0 when all of it holds, 1 when not, 2 when the folder cannot be read.
"""

import base64
import datetime
import hashlib
import json
import pathlib
import re
import sys

# Ed25519, verification only (RFC 8032 5.1): the curve -x^2 + y^2 = 1 + d x^2 y^2 modulo 2^255 - 19.
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def recover_x(y, sign):
    """The x of a point whose y and sign are given, or None."""
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    return P - x if x & 1 != sign else x


def point(data):
    """A point in extended coordinates from its 32 bytes, or None."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    x = recover_x(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


def add(a, b):
    """The sum of two points."""
    first, second = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    third, fourth = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = second - first, fourth - third, fourth + third, second + first
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(number, base):
    """A point added to itself so many times."""
    total = (0, 1, 1, 0)
    while number:
        if number & 1:
            total = add(total, base)
        base, number = add(base, base), number >> 1
    return total


BASE = point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def signature_holds(key, signature, message):
    """Whether 64 bytes are the signature of a message under a key of 32 bytes."""
    if len(key) != 32 or len(signature) != 64:
        return False
    public, commitment = point(key), point(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if public is None or commitment is None or scalar >= ORDER:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % ORDER
    left, right = multiply(scalar, BASE), add(commitment, multiply(challenge, public))
    return not ((left[0] * right[2] - right[0] * left[2]) % P or (left[1] * right[2] - right[1] * left[2]) % P)


class Tree:
    """A Merkle tree of RFC 6962 that grows: one root per set bit of its size."""

    def __init__(self):
        self.size, self.peaks = 0, []

    def add(self, leaf):
        """Add a leaf."""
        node, size = hashlib.sha256(b"\0" + leaf).digest(), self.size
        while size & 1:
            node, size = hashlib.sha256(b"\1" + self.peaks.pop() + node).digest(), size >> 1
        self.peaks.append(node)
        self.size += 1

    def root(self):
        """The root over all leaves so far."""
        node = self.peaks[-1] if self.peaks else hashlib.sha256(b"").digest()
        for peak in reversed(self.peaks[:-1]):
            node = hashlib.sha256(b"\1" + peak + node).digest()
        return node


def read_key(text):
    """(name, id, key) of a verifier key: name+id+base64(type, key)."""
    name, id_, encoded = text.strip().split("+", 2)
    data = base64.b64decode(encoded, validate=True)
    if data[0] != 1 or hashlib.sha256(name.encode() + b"\n" + data).hexdigest()[:8] != id_:
        raise ValueError(f"{name}: no Ed25519 verifier key")
    return name, bytes.fromhex(id_), data[1:]


def read_checkpoint(note, keys):
    """(size, root) of a note; raises ValueError unless a known key signed it and none of the known ones wrongly."""
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    lines, signed = text.split("\n"), False
    for line in signatures.splitlines():
        dash, name, encoded = line.split(" ")
        blob = base64.b64decode(encoded, validate=True)
        for known, id_, key in keys:
            if dash == "\u2014" and (known, id_) == (name, blob[:4]):
                if not signature_holds(key, blob[4:], text.encode()):
                    raise ValueError("the signature is wrong")
                signed = True
    if not signed:
        raise ValueError("no known key signed it")
    return int(lines[1]), base64.b64decode(lines[2], validate=True)


def verify(folder, trusted):
    """(findings, leaves, checkpoints) of a folder."""
    findings, heads, digests = [], {}, set()
    keys = [read_key(each) for each in trusted or (folder / "keys.txt").read_text("utf-8").splitlines()]
    for path in sorted((folder / "checkpoints").iterdir()):
        note = path.read_text("utf-8")
        digests.add(hashlib.sha256(note.encode()).hexdigest())
        try:
            size, root = read_checkpoint(note, keys)
        except (ValueError, IndexError) as error:
            findings.append(f"checkpoint {path.name}: {error}")
            continue
        if heads.setdefault(size, root) != root:
            findings.append(f"two checkpoints of {size} leaves have different roots")
    checkpoints, covered, tree, earliest = len(heads), max(heads, default=0), Tree(), None
    with (folder / "leaves.ndjson").open(encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            said = json.loads(entry["leaf"])
            name = f"event {said['event']} version {said['version']} (leaf {tree.size})"
            if hashlib.sha256(entry["xml"].encode()).hexdigest() != said["xml"]:
                findings.append(f"{name}: its XML was changed")
            recorded = datetime.datetime.fromisoformat(said["recorded"].replace("Z", "+00:00"))
            if earliest and recorded < earliest:
                findings.append(f"{name}: it was back-dated to {said['recorded']}")
            if said["actor"] == "perdura/seal":
                earliest = recorded - datetime.timedelta(days=1)
            before = re.search(r"SHA-256 of the previous checkpoint: ([0-9a-f]{64})", entry["xml"])
            if said["actor"] == "perdura/seal" and before and before[1] not in digests:
                findings.append(f"{name}: the checkpoint that it names is not here")
            tree.add(entry["leaf"].encode())
            if tree.size in heads and heads.pop(tree.size) != tree.root():
                findings.append(f"the leaves up to {name} do not give the root that was signed: one was changed, "
                                "removed or reordered")  # fmt: skip
    findings += [f"the checkpoint of {size} leaves covers leaves that are not here" for size in heads if size]
    if tree.size > covered:
        findings.append(f"{tree.size - covered} leaves at the end are covered by no checkpoint")
    if not checkpoints:
        findings.append("no checkpoint holds: nothing is proved")
    return findings, tree.size, checkpoints


def main():
    """The command."""
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    try:
        findings, leaves, checkpoints = verify(pathlib.Path(sys.argv[1]), sys.argv[2:])
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"The folder cannot be read: {error!r}", file=sys.stderr)
        return 2
    for finding in findings:
        print(finding, file=sys.stderr)
    if findings:
        print(f"NOT SOUND: {len(findings)} finding(s) among {leaves} leaves.")
        return 1
    print(f"Sound: {leaves} leaves are exactly those that {checkpoints} signed checkpoint(s) cover, in this order.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
