"""What a SIP's own manifests declare, to be compared with the bytes that go by (RFC 8493 2.1.3, 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from perdura.errors import Rejected
from perdura.outcome import Finding
from perdura.packages.bag_info import Elements, read_bag_info
from perdura.packages.declaration import Declaration, read_declaration
from perdura.packages.digest_table import DigestTable
from perdura.packages.findings import Findings
from perdura.packages.manifests import (
    ALGORITHMS,
    Manifest,
    ManifestReader,
    manifest_kind,
    match_normalised,
)
from perdura.steps.preserve_submission import Submission

SIP_JSON = "data/meta/sip.json"
COMPUTED = ("sha256", "sha512")
"""Algorithms that every file is hashed with anyway."""

_BAG_INFO = "bag-info.txt"
_DECLARATION = "bagit.txt"


class Declarations:
    """The tag files of a SIP that speak of its payload: manifests, `bag-info.txt`, `sip.json`."""

    def __init__(self, submission: Submission) -> None:
        """Read them; a sip.json above its limit is left out, as in ingest; raises Rejected when another is."""
        limits = self._limits = submission.limits
        self._texts = {
            path: _bounded(path, submission.read(path), limits.tag_file)
            for path in (_DECLARATION, _BAG_INFO)
            if path in submission.layout.index
        }
        described = submission.layout.index.get(SIP_JSON)
        if described is not None and submission.container.members[described].size <= limits.sip_json:
            self._texts[SIP_JSON] = _bounded(SIP_JSON, submission.read(SIP_JSON), limits.sip_json)
        self._index = submission.layout.index
        self._manifests = self._read_manifests(submission)

    def text(self, path: str) -> bytes | None:
        """A tag file as it was."""
        return self._texts.get(path)

    @property
    def algorithms(self) -> tuple[str, ...]:
        """Algorithms of all manifests that are checked here (packages.md M8), by name."""
        return tuple(sorted({manifest.algorithm for manifest in self._manifests}))

    @property
    def bag_info(self) -> Elements:
        """Elements of `bag-info.txt` in their order (RFC 8493 2.2.2)."""
        declaration = self._declaration()
        return read_bag_info(
            (self._texts.get(_BAG_INFO, b""),),
            declaration.codec,
            strict=declaration.is_strict,
            findings=Findings(self._limits),
            limits=self._limits,
        )

    def absent(self) -> Iterator[Finding]:
        """Files that a manifest lists and that are not there."""
        for manifest in self._manifests:
            for path in manifest.absent:
                yield Finding("file-missing", f"{path} is listed in {manifest.name} but not there", path=path)

    def payload(self, algorithm: str) -> Iterator[tuple[str, str]]:
        """(path, hex digest) of every payload file that the manifest of that algorithm lists."""
        paths = {number: path for path, number in self._index.items()}
        for manifest in self._manifests:
            if not manifest.is_tag and manifest.algorithm == algorithm:
                yield from ((paths[number], digest.hex()) for number, digest in manifest.digests.items())

    def compare(self, number: int, path: str, computed: Callable[[str], str]) -> Iterator[Finding]:
        """Every declared digest of a file that is not the computed one.

        `number` is the file's in the container, `computed` gives its hex digest by algorithm. What was compared is
        let go of: this can be asked once for each file.
        """
        for manifest in self._manifests:
            declared = manifest.digests.pop(number, None)
            if declared is not None and declared.hex() != computed(manifest.algorithm):
                message = (
                    f"{path}: {manifest.algorithm} is {computed(manifest.algorithm)}, "
                    f"but {manifest.name} declares {declared.hex()}"
                )
                yield Finding("fixity-mismatch", message, path=path, clause="RFC 8493 3")

    def _read_manifests(self, submission: Submission) -> list[Manifest]:
        """Match the manifests to the files as the SIP's validation did (packages.md M3 to M5)."""
        declaration, unused = self._declaration(), Findings(self._limits)
        index = submission.layout.index
        reader = ManifestReader(
            index,
            submission.layout.directories,
            declaration.codec,
            strict=declaration.is_strict,
            findings=unused,
            limits=self._limits,
        )
        manifests = []
        for name in index:
            kind = manifest_kind(name)
            if kind is not None and kind[1] in ALGORITHMS:
                manifest = Manifest(name, kind[1], kind[0], DigestTable(kind[1], len(submission.container.members)))
                reader.read(manifest, (_bounded(name, submission.read(name), self._limits.manifest),))
                manifests.append(manifest)
        for is_tag in (False, True):
            tables = [manifest for manifest in manifests if manifest.is_tag is is_tag]
            if any(table.absent for table in tables):
                listed = {number for table in tables for number in table.digests}
                match_normalised(tables, ((path, each) for path, each in index.items() if each not in listed), unused)
        return manifests

    def _declaration(self) -> Declaration:
        return read_declaration(self.text(_DECLARATION), Findings(self._limits))


def _bounded(path: str, chunks: Iterable[memoryview], limit: int) -> bytes:
    text = bytearray()
    for chunk in chunks:
        if len(text) + len(chunk) > limit:
            raise Rejected(f"{path} is larger than {limit} bytes", code="tag-file-too-large")
        text += chunk
    return bytes(text)
