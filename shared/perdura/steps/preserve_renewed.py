"""The bag of a new version: a submission with what the version adds, its manifest made anew, as one tar.

For engines that take a bag as a whole. It declares BagIt 0.97, whose manifests leave `%` alone: bagit-python, by which
Archivematica verifies it, knows no `%25`. `bag-info.txt` names the AIP that the new one follows, and Archivematica
copies that into its METS (archivematica.md 6.1, 7.3).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from perdura.errors import Rejected
from perdura.outcome import ArchiveView, PackageKind
from perdura.packages.manifests import manifest_kind
from perdura.packages.tar import END, header, padding
from perdura.steps.preserve_additions import Addition, additions_of, bytes_of, changes, replaced
from perdura.steps.preserve_declared import Declarations
from perdura.steps.preserve_submission import Submission
from perdura.storage.digests import Digests
from perdura.storage.store import Store

_DECLARATION = "BagIt-Version: 0.97\nTag-File-Character-Encoding: UTF-8\n"
_ANEW = frozenset({"bagit.txt", "bag-info.txt", "fetch.txt"})
_COUNTED = frozenset({"payload-oxum", "bag-size"})

Chunk = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Renewal:
    """What makes the next AIP of an Archive another than the one in use."""

    archive: UUID
    predecessor: UUID | None
    reason: str
    additions: tuple[Addition, ...]


def renewal_of(archive: ArchiveView) -> Renewal | None:
    """What the step was asked to change; None when it makes the first AIP, of the submission as it is."""
    predecessor = archive.package(PackageKind.AIP)
    additions = additions_of(archive.step.input)
    if predecessor is None and not additions:
        return None
    reason = " ".join(str(archive.step.input.get("reason") or "").split())[:500]
    return Renewal(archive.id, predecessor.id if predecessor else None, reason, additions)


def renewed(submission: Submission, renewal: Renewal, base: str, mtime: int, store: Store) -> Iterator[Chunk]:
    """The bag as an uncompressed tar below the directory `base`; the same always gives the same bytes.

    Each chunk is good until the next is asked for. Raises Rejected when a file is not what the submission's manifests
    or the announcement of an addition say, or when an addition does not fit into the submission.
    """
    bag = _Bag(base, mtime)
    declarations = Declarations(submission)
    for finding in declarations.absent():
        raise Rejected(finding.message, code=finding.code)
    gone = replaced(renewal.additions, submission.layout)
    for file, chunks in submission.files():
        if file.path in gone or file.path in _ANEW or manifest_kind(file.path) is not None:
            continue
        hexes = yield from bag.member(file.path, file.size, chunks, declarations.algorithms)
        for finding in declarations.compare(submission.layout.index[file.path], file.path, hexes.__getitem__):
            raise Rejected(finding.message, code=finding.code)
    for added in renewal.additions:
        hexes = yield from bag.member(f"data/{added.path}", added.size, bytes_of(added, store), ())
        if hexes["sha256"] != added.sha256:
            raise Rejected(f"{added.path} has another SHA-256 than was announced", code="fixity-mismatch")
    yield from bag.text("bagit.txt", _DECLARATION)
    yield from bag.text("bag-info.txt", _bag_info(declarations.bag_info, renewal, bag.oxum))
    yield from bag.text("manifest-sha256.txt", "".join(bag.payload))
    yield from bag.text("tagmanifest-sha256.txt", "".join(bag.tags))
    yield END


class _Bag:
    """The members written so far, as lines of manifests."""

    def __init__(self, base: str, mtime: int) -> None:
        self.payload: list[str] = []
        self.tags: list[str] = []
        self._base, self._mtime = base, mtime
        self._size = 0

    @property
    def oxum(self) -> str:
        """Bytes and files of the payload (RFC 8493 2.2.2)."""
        return f"{self._size}.{len(self.payload)}"

    def member(
        self, path: str, size: int, chunks: Iterable[Chunk], algorithms: Sequence[str] = ()
    ) -> Generator[Chunk, None, Mapping[str, str]]:
        """One member of the tar; gives its hex digests by algorithm, SHA-256 among them."""
        digests = Digests(("sha256", *algorithms))
        seen = 0
        yield header(f"{self._base}/{path}", size, self._mtime)
        for chunk in chunks:
            seen += len(chunk)
            if seen > size:
                break
            digests.update(chunk)
            yield chunk
        if seen != size:
            raise Rejected(f"{path} has not the {size} bytes that were declared", code="size-mismatch")
        yield padding(size)
        hexes = digests.hexdigests()
        name = path.replace("\r", "%0D").replace("\n", "%0A")
        if path.startswith("data/"):
            self._size += size
            self.payload.append(f"{hexes['sha256']}  {name}\n")
        elif not path.startswith("tagmanifest-"):
            self.tags.append(f"{hexes['sha256']}  {name}\n")
        return hexes

    def text(self, path: str, body: str) -> Generator[Chunk, None, Mapping[str, str]]:
        """A tag file."""
        encoded = body.encode()
        return (yield from self.member(path, len(encoded), (encoded,)))


def _bag_info(elements: Iterable[tuple[str, str]], renewal: Renewal, oxum: str) -> str:
    """The producer's elements but those that count the payload, and what says which AIP the new one follows."""
    kept = [(label, value) for label, value in elements if label.lower() not in _COUNTED]
    return _lines((*kept, ("Payload-Oxum", oxum))) + told(renewal)


def told(renewal: Renewal) -> str:
    """Which AIP the new one follows, why, and what is new, as lines of `bag-info.txt`."""
    return _lines(
        (
            ("Internal-Sender-Identifier", str(renewal.archive)),
            *([("Predecessor-AIP", f"urn:uuid:{renewal.predecessor}")] if renewal.predecessor else ()),
            *([("Version-Reason", renewal.reason)] if renewal.reason else ()),
            *(("Version-Change", change) for change in changes(renewal.additions)),
        )
    )


def _lines(elements: Iterable[tuple[str, str]]) -> str:
    return "".join(f"{label}: {' '.join(value.split())}\n" for label, value in elements)
