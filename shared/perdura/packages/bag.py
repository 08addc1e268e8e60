"""The rules of BagIt applied to a bag whose container is sound (RFC 8493, packages.md 1 and 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from perdura.packages.bag_info import Elements, check_oxum, read_bag_info, values
from perdura.packages.container import Container
from perdura.packages.declaration import Declaration, read_declaration
from perdura.packages.digest_table import DigestTable
from perdura.packages.fetch import FetchEntry, read_fetch
from perdura.packages.findings import Findings
from perdura.packages.layout import Layout
from perdura.packages.limits import Limits
from perdura.packages.manifests import (
    ALGORITHMS,
    Manifest,
    ManifestReader,
    manifest_kind,
    match_normalised,
    resembles_manifest,
)
from perdura.storage.digests import HEX_LENGTHS, WEAK

_DIGESTS = 2**20
"""Bytes of digests that are accepted however few members are."""


@dataclass
class Bag:
    """A bag in the course of verification: what its tag files say, then what its bytes are."""

    container: Container
    layout: Layout
    findings: Findings
    limits: Limits
    declaration: Declaration = field(default_factory=Declaration)
    elements: Elements = ()
    oxum: tuple[int, int] | None = None
    fetch: list[FetchEntry] = field(default_factory=list)
    manifests: list[Manifest] = field(default_factory=list)
    computed: dict[str, DigestTable] = field(default_factory=dict)
    """Algorithm -> member index -> digest of the bytes that are there."""
    unchecked: list[str] = field(default_factory=list)
    payload_members: frozenset[int] = frozenset()
    payload_bytes: int = 0
    profile: str | None = None
    """Identifier of the profile that was checked."""
    sip: dict[str, Any] | None = None
    """What sip.json says of the package as a whole."""

    @property
    def payload_files(self) -> int:
        """Number of payload files that are there."""
        return len(self.payload_members)

    def algorithms(self, *, tags: bool) -> tuple[str, ...]:
        """Algorithms of the manifests, or of the tag manifests, by name."""
        return tuple(sorted({m.algorithm for m in self.manifests if m.is_tag == tags}))

    @property
    def payload_algorithms(self) -> tuple[str, ...]:
        """Algorithms that payload files are checked by."""
        return self.algorithms(tags=False)

    @property
    def tag_algorithms(self) -> tuple[str, ...]:
        """Algorithms that tag files are checked by."""
        return self.algorithms(tags=True)

    def declared(self) -> dict[str, list[Mapping[int, bytes]]]:
        """Algorithm -> of each of its manifests: member index -> digest that it declares."""
        tables: dict[str, list[Mapping[int, bytes]]] = {}
        for manifest in self.manifests:
            tables.setdefault(manifest.algorithm, []).append(manifest.digests)
        return tables

    def judge(self) -> None:
        """Compare what is declared with what was computed (R18)."""
        paths: dict[int, str] = {}
        for manifest in self.manifests:
            computed = self.computed[manifest.algorithm]
            declared = manifest.digests
            for member in declared.differing(computed):
                paths = paths or {number: path for path, number in self.layout.index.items()}
                self.findings.add(
                    "checksum-mismatch",
                    paths[member],
                    manifest.name,
                    expected=declared[member].hex(),
                    found=computed[member].hex(),
                )

    def facts(self) -> dict[str, Any]:
        """What a report tells of the bag besides its findings."""
        members = self.container.members
        size = sum(member.size for member in members)
        return {
            "members": len(members),
            "bytes": size,
            "container_bytes": self.container.stored_size,
            "bagit_version": ".".join(str(part) for part in self.declaration.version),
            "encoding": self.declaration.encoding,
            "algorithms": list(self.payload_algorithms),
            "tag_algorithms": list(self.tag_algorithms),
            "bag_info": [list(element) for element in self.elements],
            "oxum": None if self.oxum is None else f"{self.oxum[0]}.{self.oxum[1]}",
            "base_directory": self.layout.base.rstrip("/") or None,
            "external_identifier": next(iter(values(self.elements, "External-Identifier")), None),
            "profile": self.profile,
            "sip": self.sip,
        }


def read_bag(container: Container, layout: Layout, findings: Findings, limits: Limits) -> Bag:
    """Read all tag files and judge everything that can be judged without the payload's bytes."""
    bag = Bag(container, layout, findings, limits)
    payload = layout.payload
    bag.payload_members = frozenset(layout.index[path] for path in payload)
    bag.payload_bytes = sum(container.members[member].size for member in bag.payload_members)
    bag.declaration = read_declaration(_declaration_bytes(bag), findings)
    if "data" not in layout.directories:
        findings.add("payload-directory-missing", "data/")
    elif not payload:
        findings.add("payload-empty", "data/", severity="invalid" if limits.refuse_empty_payload else None)
    strict, codec = bag.declaration.is_strict, bag.declaration.codec
    if (data := small_file(bag, "bag-info.txt", limits.tag_file, "limit-tag-file")) is not None:
        bag.elements = read_bag_info([data], codec, strict=strict, findings=findings, limits=limits)
    bag.oxum = check_oxum(bag.elements, bag.payload_bytes, bag.payload_files, findings)
    if (data := small_file(bag, "fetch.txt", limits.tag_file, "limit-tag-file")) is not None:
        bag.fetch = read_fetch([data], codec, findings, limits)
    _read_manifests(bag)
    _check_payload(bag, payload)
    _check_tags(bag)
    _check_fetch(bag)
    return bag


def _declaration_bytes(bag: Bag) -> bytes | None:
    member = bag.layout.index.get("bagit.txt")
    if member is None:
        return None
    if bag.container.members[member].size > bag.limits.declaration:
        return b""
    return b"".join(bytes(chunk) for chunk in bag.container.read(member))


def small_file(bag: Bag, name: str, limit: int, too_large: str) -> bytes | None:
    """The bytes of a file of at most `limit` bytes; None when there is none, or a finding `too_large` was made."""
    member = bag.layout.index.get(name)
    if member is None:
        return None
    if bag.container.members[member].size > limit:
        bag.findings.add(too_large, name, f"{limit} bytes are accepted")
        bag.unchecked.append(name)
        return None
    return b"".join(bytes(chunk) for chunk in bag.container.read(member))


def _read_manifests(bag: Bag) -> None:
    names = {path: kind for path in bag.layout.index if (kind := manifest_kind(path)) is not None}
    for path in bag.layout.index:
        if "/" not in path and resembles_manifest(path):
            bag.findings.add("manifest-name-case", path)
    payload_names = [kind[1] for kind in names.values() if not kind[0]]
    if not payload_names:
        bag.findings.add("payload-manifest-missing")
    elif not ALGORITHMS.intersection(payload_names):
        bag.findings.add("payload-manifest-unsupported", detail=", ".join(sorted(payload_names)))
    elif WEAK.issuperset(set(payload_names) & ALGORITHMS):
        bag.findings.add("algorithm-weak", detail=", ".join(sorted(payload_names)))
    reader = ManifestReader(
        bag.layout.index,
        bag.layout.directories,
        bag.declaration.codec,
        strict=bag.declaration.is_strict,
        findings=bag.findings,
        limits=bag.limits,
    )
    room = max(bag.limits.members * bag.limits.digest_memory, _DIGESTS)
    for path, (is_tag, algorithm) in sorted(names.items()):
        if algorithm not in ALGORITHMS:
            if not resembles_manifest(path):
                bag.findings.add("manifest-algorithm", path)
            bag.unchecked.append(path)
            continue
        member = bag.layout.index[path]
        if bag.container.members[member].size > bag.limits.manifest:
            bag.findings.add("limit-manifest", path, f"{bag.limits.manifest} bytes are accepted")
            bag.unchecked.append(path)
            continue
        # It holds as many digests as there are files, and no more than it has room for.
        listed = min(len(bag.container.members), bag.container.members[member].size // HEX_LENGTHS[algorithm])
        room -= listed * HEX_LENGTHS[algorithm] // 2
        if room < 0:
            bag.findings.add("limit-digests", path)
            bag.unchecked.append(path)
            continue
        manifest = Manifest(path, algorithm, is_tag, DigestTable(algorithm, len(bag.container.members)))
        reader.read(manifest, bag.container.read(member))
        bag.manifests.append(manifest)


def _check_payload(bag: Bag, payload: list[str]) -> None:
    """Completeness both ways: R6, R18, M5, M7."""
    index, findings = bag.layout.index, bag.findings
    manifests = [manifest for manifest in bag.manifests if not manifest.is_tag]
    if any(manifest.absent for manifest in manifests):
        unlisted = [(path, index[path]) for path in payload if not any(index[path] in m.digests for m in manifests)]
        match_normalised(manifests, unlisted, findings)
    whole = [manifest for manifest in manifests if manifest.whole]
    if len(whole) == len(manifests) and manifests:
        lacking = {
            manifest.name: {member for member in bag.payload_members if member not in manifest.digests}
            for manifest in manifests
        }
        unlisted_members = set.intersection(*lacking.values())
        paths = {index[path]: path for path in payload} if any(lacking.values()) else {}
        for member in unlisted_members:
            findings.add("payload-unlisted", paths[member])
        if bag.declaration.is_strict:
            for name, members in lacking.items():
                for member in members - unlisted_members:
                    findings.add("manifest-incomplete", paths[member], name)
    to_fetch = {entry.path for entry in bag.fetch}
    for path in sorted({path for manifest in manifests for path in manifest.absent}):
        findings.add("fetch-incomplete" if path in to_fetch else "file-missing", path)


def _check_tags(bag: Bag) -> None:
    """Tag manifests: R10, R18."""
    index, findings = bag.layout.index, bag.findings
    manifests = [manifest for manifest in bag.manifests if manifest.is_tag]
    if not manifests:
        return
    tags = [path for path in index if not path.startswith("data/")]
    plain = [path for path in tags if not ((kind := manifest_kind(path)) and kind[0])]
    if any(manifest.absent for manifest in manifests):
        unlisted = [(path, index[path]) for path in plain if not any(index[path] in m.digests for m in manifests)]
        match_normalised(manifests, unlisted, findings)
    for path in sorted({path for manifest in manifests for path in manifest.absent}):
        findings.add("file-missing", path, "a tag file")
    whole = [manifest for manifest in manifests if manifest.whole]
    for path in plain:
        lacking = [manifest.name for manifest in whole if index[path] not in manifest.digests]
        if manifest_kind(path) is not None:
            for name in lacking:
                findings.add("tagmanifest-incomplete", path, name)
        elif whole and len(lacking) == len(whole):
            findings.add("tagmanifest-unlisted", path)
    if len({frozenset(manifest.digests) for manifest in whole}) > 1:
        findings.add("tagmanifest-differ")
    if bag.tag_algorithms != bag.payload_algorithms:
        findings.add("tagmanifest-algorithms", detail=", ".join(bag.tag_algorithms))


def _check_fetch(bag: Bag) -> None:
    """fetch.txt against manifests and files: R14, F1."""
    index, findings = bag.layout.index, bag.findings
    manifests = [manifest for manifest in bag.manifests if not manifest.is_tag]
    for entry in bag.fetch:
        member = index.get(entry.path)
        listed = [
            manifest
            for manifest in manifests
            if (entry.path in manifest.absent if member is None else member in manifest.digests)
        ]
        if len(listed) < (len(manifests) if bag.declaration.is_strict else 1):
            findings.add("fetch-unlisted", entry.path)
            if member is None and not listed:
                findings.add("fetch-incomplete", entry.path)
        if member is not None and entry.length not in (None, bag.container.members[member].size):
            findings.add("fetch-length", entry.path, expected=str(entry.length))
    if bag.fetch and all(entry.path in index for entry in bag.fetch):
        findings.add("fetch-present", "fetch.txt")
