"""What a SIP's own manifests declare, compared with the bytes that went by (RFC 8493 2.1.3, 3)."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator, Sequence

from perdura.errors import Rejected
from perdura.packages.package import PackageReader
from perdura.steps.outcome import Finding

_MANIFEST = re.compile(r"(?:tag)?manifest-([a-z0-9]+)\.txt", re.IGNORECASE)
_LINE = re.compile(r"([0-9a-fA-F]+)[ \t]+\*?(?:\./)?(.+)")
_ENCODED = re.compile(r"%(0[aAdD]|25)")
_ENCODING = re.compile(r"Tag-File-Character-Encoding:\s*(\S+)")
_VERSION = re.compile(r"BagIt-Version:\s*(\d+)\.(\d+)")
_TAG_FILE_LIMIT = 4 << 20
_MANIFEST_LIMIT = 512 << 20
SIP_JSON = "data/meta/sip.json"
_KEPT = ("bagit.txt", "bag-info.txt", SIP_JSON)

COMPUTED = ("sha256", "sha512")
"""Algorithms that every file is hashed with anyway."""


class Declarations:
    """The tag files that speak of the payload, collected as they go by: manifests, `bag-info.txt`, `sip.json`."""

    def __init__(self) -> None:
        self._texts: dict[str, bytearray] = {}

    def collector(self, path: str) -> Callable[[bytes | bytearray | memoryview], None] | None:
        """What to feed with the bytes of `path`, or None when they say nothing here; Rejected when too large."""
        manifest = _MANIFEST.fullmatch(path)
        if manifest is None and path not in _KEPT:
            return None
        limit = _MANIFEST_LIMIT if manifest else _TAG_FILE_LIMIT
        text = self._texts[path] = bytearray()

        def collect(chunk: bytes | bytearray | memoryview) -> None:
            if len(text) + len(chunk) > limit:
                raise Rejected(f"{path} is larger than {limit} bytes", code="tag-file-too-large")
            text.extend(chunk)

        return collect

    def read_ahead(self, reader: PackageReader) -> None:
        """Collect from a container whose other files can be passed over without reading them."""
        for file, chunks in reader.files():
            collect = self.collector(file.path)
            if collect is not None:
                for chunk in chunks:
                    collect(chunk)

    def text(self, path: str) -> bytes | None:
        """A collected tag file as it was."""
        found = self._texts.get(path)
        return bytes(found) if found is not None else None

    @property
    def algorithms(self) -> tuple[str, ...]:
        """Algorithms of all manifests collected so far that can be computed here, by name."""
        found = {match[1].lower() for path in self._texts if (match := _MANIFEST.fullmatch(path))}
        return tuple(sorted(found & hashlib.algorithms_available))

    @property
    def bag_info(self) -> list[tuple[str, str]]:
        """Fields of `bag-info.txt` in their order, folded values joined (RFC 8493 2.2.2)."""
        fields: list[tuple[str, str]] = []
        for line in self._lines("bag-info.txt"):
            if line[:1] in " \t" and fields:
                fields[-1] = (fields[-1][0], f"{fields[-1][1]} {line.strip()}")
            elif ":" in line:
                label, _, value = line.partition(":")
                fields.append((label.strip(), value.strip()))
        return fields

    def compare(self, computed: Callable[[str, str], str | None]) -> Iterator[Finding]:
        """Every declared digest that is not the computed one.

        `computed` gives the hex digest of (path, algorithm), or None when there is no such file.
        """
        for manifest in sorted(self._texts):
            match = _MANIFEST.fullmatch(manifest)
            if match is None or match[1].lower() not in self.algorithms:
                continue
            algorithm = match[1].lower()
            for path, declared in self._entries(manifest):
                found = computed(path, algorithm)
                if found is None:
                    yield Finding("file-missing", f"{path} is listed in {manifest} but not there", path=path)
                elif found != declared:
                    yield Finding(
                        "fixity-mismatch",
                        f"{path}: {algorithm} is {found}, but {manifest} declares {declared}",
                        path=path,
                        clause="RFC 8493 3",
                    )

    def _entries(self, manifest: str) -> Iterator[tuple[str, str]]:
        decode = self._decode
        for line in self._lines(manifest):
            match = _LINE.fullmatch(line)
            if match:
                yield decode(match[2]), match[1].lower()

    @property
    def _decode(self) -> Callable[[str], str]:
        match = _VERSION.search(self._texts.get("bagit.txt", bytearray()).decode("utf-8", "replace"))
        if match is not None and int(match[1]) >= 1:
            return lambda path: _ENCODED.sub(lambda found: chr(int(found[1], 16)), path)
        return lambda path: path

    def _lines(self, path: str) -> Iterator[str]:
        data = self._texts.get(path)
        if data is None:
            return
        match = _ENCODING.search(self._texts.get("bagit.txt", bytearray()).decode("utf-8", "replace"))
        encoding = match[1] if match else "UTF-8"
        for line in io.TextIOWrapper(io.BytesIO(data), encoding=encoding, errors="replace"):
            if line.strip():
                yield line.rstrip("\n")


def further(algorithms: Sequence[str]) -> tuple[str, ...]:
    """The algorithms that must be computed besides those of the AIP's own manifests."""
    return tuple(name for name in algorithms if name not in COMPUTED)
