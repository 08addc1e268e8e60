"""Manifests and tag manifests: what they list, matched to the files that are there (packages.md 2.7)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from sys import getsizeof

from perdura.packages.digest_table import DigestTable
from perdura.packages.findings import Findings
from perdura.packages.limits import Limits
from perdura.packages.names import unsafe
from perdura.packages.tag_text import TagTextError, text_blocks
from perdura.storage.digests import CHECKSUMS, HEX_LENGTHS

ALGORITHMS = frozenset(HEX_LENGTHS) - CHECKSUMS
"""Algorithms whose manifests we check (M8)."""

_FILE_NAME = re.compile(r"(tag)?manifest-([^/]+)\.txt")
_ANY_LINE = re.compile(r"([0-9A-Fa-f]+)[ \t]+(.+)", re.DOTALL)
_PERCENT = re.compile("%(0[AaDd]|25)")
_ENTRY = 200
"""Bytes of memory that a missing file takes beside its path: its digest, and a place in a table."""
_CHARACTERS = {"0A": "\n", "0D": "\r", "25": "%"}


@dataclass(slots=True)
class Manifest:
    """One manifest: digests by member index, and the files it lists that are not there."""

    name: str
    algorithm: str
    is_tag: bool
    digests: DigestTable
    absent: dict[str, bytes] = field(default_factory=dict)
    whole: bool = True
    """False when it could not be read to its end: nothing follows from what it does not list."""


def manifest_kind(path: str) -> tuple[bool, str] | None:
    """(is a tag manifest, algorithm) when the path is that of a manifest; None for every other file."""
    found = _FILE_NAME.fullmatch(path)
    return None if found is None else (found[1] is not None, found[2])


def resembles_manifest(path: str) -> bool:
    """Whether a file looks like a manifest but is none, for its upper-case letters (M13)."""
    found = _FILE_NAME.fullmatch(path.lower())
    return found is not None and path != path.lower() and found[2] in ALGORITHMS


def encode_path(path: str) -> str:
    """A path as manifests of version 1.0 write it: LF, CR and % encoded, and only those (RFC 8493 2.1.3)."""
    return path.replace("%", "%25").replace("\n", "%0A").replace("\r", "%0D")


def decode_path(path: str) -> str:
    """The inverse; every other percent sequence stands for itself (M4)."""
    return _PERCENT.sub(lambda found: _CHARACTERS[found[1].upper()], path)


class ManifestReader:
    """Reads the manifests of one bag against its files.

    `index` maps the path of each file in the bag to its member index, `directories` are the paths of directories.
    """

    def __init__(
        self,
        index: Mapping[str, int],
        directories: frozenset[str],
        codec: str,
        *,
        strict: bool,
        findings: Findings,
        limits: Limits,
    ) -> None:
        self._index = index
        self._directories = directories
        self._codec = codec
        self._strict = strict
        self._findings = findings
        self._limits = limits
        self._room = limits.missing

    def read(self, manifest: Manifest, chunks: Iterable[bytes | memoryview]) -> None:
        """Fill the manifest from its bytes and note every fault."""
        digits = HEX_LENGTHS[manifest.algorithm]
        path = "[^\n]+" if manifest.is_tag else "data/[^\n]+"
        simple = re.compile(rf"^([0-9A-Fa-f]{{{digits}}})[ \t]+({path})$", re.MULTILINE)
        index, digests, from_hex = self._index, manifest.digests, bytes.fromhex
        try:
            for block in text_blocks(chunks, self._codec, self._limits.line):
                pairs = simple.findall(block)
                if len(pairs) != block.count("\n") + (not block.endswith("\n")) or "%" in block:
                    self._careful(manifest, block, digits)
                    continue
                if not manifest.is_tag and self._in_a_row(manifest, pairs):
                    continue
                for digest, path in pairs:
                    member = index.get(path)
                    if manifest.is_tag or member is None or member in digests:
                        self._entry(manifest, digest, path)
                    else:
                        digests[member] = from_hex(digest)
        except TagTextError as error:
            manifest.whole = False
            self._findings.add(error.code, manifest.name, error.detail)

    def _in_a_row(self, manifest: Manifest, pairs: list[tuple[str, str]]) -> bool:
        """Take entries at once that are as the members lie, as nearly all are; False: they were not taken."""
        hexes, paths = zip(*pairs, strict=True)
        members = list(map(self._index.get, paths))
        first = members[0]
        if first is None or members != list(range(first, first + len(members))):
            return False
        return manifest.digests.put_row(first, bytes.fromhex("".join(hexes)))

    def _careful(self, manifest: Manifest, block: str, digits: int) -> None:
        for line in (block[:-1] if block.endswith("\n") else block).split("\n"):
            if not line.strip(" \t"):
                self._findings.add("blank-line", manifest.name)
                continue
            if line[0] == "\\":
                self._findings.add("manifest-escaped-line", manifest.name, found=line)
                continue
            found = _ANY_LINE.fullmatch(line)
            if found is None or len(found[1]) != digits:
                self._findings.add("manifest-line", manifest.name, found=line)
                continue
            self._entry(manifest, found[1], found[2])

    def _entry(self, manifest: Manifest, digest: str, written: str) -> None:
        path = self._resolve(manifest, written)
        if path is None:
            return
        if not self._belongs(manifest, path):
            return
        value = bytes.fromhex(digest)
        member = self._index.get(path)
        known = manifest.absent.get(path) if member is None else manifest.digests.get(member)
        if known is not None:
            code = "manifest-duplicate" if self._strict or known != value else "manifest-repeat"
            self._findings.add(code, path, manifest.name)
        elif member is None:
            self._note_absent(manifest, path, value)
        else:
            manifest.digests[member] = value

    def _note_absent(self, manifest: Manifest, path: str, value: bytes) -> None:
        """Keep a file in mind that is not there; raises TagTextError when there are too many, over all manifests."""
        self._room -= getsizeof(path) + _ENTRY
        if self._room < 0:
            raise TagTextError("limit-missing", f"{self._limits.missing} bytes of memory are used for them")
        manifest.absent[path] = value

    def _resolve(self, manifest: Manifest, written: str) -> str | None:
        """The path that an entry means (M3, M4), or None when it may not be looked at."""
        path = written
        if path.startswith("*") and path not in self._index:
            bare = path[1:]
            if bare.startswith(("data/", "./data/")) or bare in self._index:
                self._findings.add("manifest-asterisk", bare, manifest.name)
                path = bare
        if path.startswith("./"):
            path = path[2:]
            self._findings.add("manifest-path-dot", path, manifest.name)
        decoded = decode_path(path)
        if decoded != path:
            if self._strict and decoded not in self._index and path in self._index:
                self._findings.add("manifest-percent", path, manifest.name)
            elif self._strict or path not in self._index:
                path = decoded
        elif self._strict and "%" in path and path in self._index:
            self._findings.add("manifest-percent", path, manifest.name)
        if path in self._index:
            return path
        if path.rstrip("/") in self._directories:
            self._findings.add("manifest-lists-directory", path, manifest.name)
            return None
        reason = unsafe(path)
        if reason is not None:
            self._findings.add("manifest-path-unsafe", path, f"{manifest.name}: {reason}")
            return None
        return path

    def _belongs(self, manifest: Manifest, path: str) -> bool:
        in_payload = path.startswith("data/")
        if not manifest.is_tag:
            if not in_payload:
                self._findings.add("manifest-path-outside", path, manifest.name)
            return in_payload
        if in_payload:
            self._findings.add("tagmanifest-lists-payload", path, manifest.name)
            return False
        kind = manifest_kind(path)
        if kind is not None and kind[0]:
            self._findings.add("tagmanifest-lists-tagmanifest", path, manifest.name)
            return False
        return True


def match_normalised(manifests: Iterable[Manifest], unlisted: Iterable[tuple[str, int]], findings: Findings) -> None:
    """Give listed names that are not there to unlisted files that differ only in Unicode form, one to one (M5).

    An exact match is never taken away, so a listed name cannot cover for its unlisted twin.
    """
    present: dict[str, list[tuple[str, int]]] = {}
    for path, member in unlisted:
        present.setdefault(unicodedata.normalize("NFC", path), []).append((path, member))
    tables = list(manifests)
    listed: dict[str, set[str]] = {}
    for table in tables:
        for path in table.absent:
            listed.setdefault(unicodedata.normalize("NFC", path), set()).add(path)
    for form, names in listed.items():
        candidates = present.get(form, ())
        if len(candidates) != 1 or len(names) != 1:
            continue
        (path, member), (name,) = candidates[0], tuple(names)
        for table in tables:
            if name in table.absent and member not in table.digests:
                table.digests[member] = table.absent.pop(name)
                findings.add("name-normalised", path, table.name)
