"""What a SIP's own manifests declare, compared with the bytes that went by (RFC 8493 2.1.3, 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from perdura.errors import Rejected
from perdura.packages.bag_info import Elements, read_bag_info
from perdura.packages.declaration import Declaration, read_declaration
from perdura.packages.findings import Findings
from perdura.packages.limits import LIMITS
from perdura.packages.manifests import (
    ALGORITHMS,
    Manifest,
    ManifestReader,
    manifest_kind,
    match_normalised,
)
from perdura.steps.outcome import Finding
from perdura.steps.preserve_import import PLACES
from perdura.steps.preserve_submission import Submission

SIP_JSON = "data/meta/sip.json"
COMPUTED = ("sha256", "sha512")
"""Algorithms that every file is hashed with anyway."""

_BAG_INFO = "bag-info.txt"
_DECLARATION = "bagit.txt"
_KEPT = (_DECLARATION, _BAG_INFO, SIP_JSON, *PLACES)


class Declarations:
    """The tag files of a SIP that speak of its payload: manifests, `bag-info.txt`, `sip.json`."""

    def __init__(self, submission: Submission) -> None:
        """Read them; raises Rejected when one is larger than its limit."""
        self._texts: dict[str, bytes] = {}
        for path in submission.paths:
            is_manifest = manifest_kind(path) is not None
            if is_manifest or path in _KEPT:
                limit = LIMITS.manifest if is_manifest else LIMITS.tag_file
                self._texts[path] = _bounded(path, submission.read(path), limit)
        kinds = (manifest_kind(path) for path in self._texts)
        self.algorithms = tuple(sorted({kind[1] for kind in kinds if kind} & ALGORITHMS))
        """Algorithms of all manifests that are checked here (packages.md M8), by name."""

    def text(self, path: str) -> bytes | None:
        """A tag file as it was."""
        return self._texts.get(path)

    @property
    def bag_info(self) -> Elements:
        """Elements of `bag-info.txt` in their order (RFC 8493 2.2.2)."""
        declaration = self._declaration()
        return read_bag_info(
            (self._texts.get(_BAG_INFO, b""),),
            declaration.codec,
            strict=declaration.is_strict,
            findings=Findings(LIMITS),
            limits=LIMITS,
        )

    def compare(self, paths: Sequence[str], computed: Callable[[int, str], str]) -> Iterator[Finding]:
        """Every declared digest that is not the computed one, and every listed file that is not among `paths`.

        `computed` gives the hex digest of (number of the path, algorithm). Names are matched as in the SIP's
        validation (packages.md M3 to M5). The manifests are let go of: this can be asked once.
        """
        for manifest in self._manifests(paths):
            for path in manifest.absent:
                yield Finding("file-missing", f"{path} is listed in {manifest.name} but not there", path=path)
            for number, declared in manifest.digests.items():
                found = computed(number, manifest.algorithm)
                if found != declared.hex():
                    path = paths[number]
                    message = f"{path}: {manifest.algorithm} is {found}, but {manifest.name} declares {declared.hex()}"
                    yield Finding("fixity-mismatch", message, path=path, clause="RFC 8493 3")

    def _manifests(self, paths: Sequence[str]) -> list[Manifest]:
        declaration, unused = self._declaration(), Findings(LIMITS)
        index = {path: number for number, path in enumerate(paths)}
        reader = ManifestReader(
            index,
            frozenset(),
            declaration.codec,
            strict=declaration.is_strict,
            findings=unused,
            limits=LIMITS,
        )
        manifests = []
        for name in sorted(self._texts):
            kind = manifest_kind(name)
            if kind is not None and kind[1] in ALGORITHMS:
                manifest = Manifest(name, kind[1], kind[0])
                reader.read(manifest, (self._texts.pop(name),))
                manifests.append(manifest)
        for is_tag in (False, True):
            tables = [manifest for manifest in manifests if manifest.is_tag is is_tag]
            if any(table.absent for table in tables):
                listed = {number for table in tables for number in table.digests}
                match_normalised(
                    tables, ((path, number) for path, number in index.items() if number not in listed), unused
                )
        return manifests

    def _declaration(self) -> Declaration:
        return read_declaration(self.text(_DECLARATION), Findings(LIMITS))


def _bounded(path: str, chunks: Iterable[memoryview], limit: int) -> bytes:
    text = bytearray()
    for chunk in chunks:
        if len(text) + len(chunk) > limit:
            raise Rejected(f"{path} is larger than {limit} bytes", code="tag-file-too-large")
        text += chunk
    return bytes(text)


def further(algorithms: Sequence[str]) -> tuple[str, ...]:
    """The algorithms that must be computed besides those of the AIP's own manifests."""
    return tuple(name for name in algorithms if name not in COMPUTED)
