"""The bag declaration `bagit.txt` (RFC 8493 2.1.1, packages.md M9)."""

from __future__ import annotations

import re
from typing import NamedTuple

from perdura.packages.findings import Findings
from perdura.packages.tag_text import codec_of

_FORM = re.compile(
    r"BagIt-Version: ([0-9]{1,4})\.([0-9]{1,4})(?:\r\n|\r|\n)"
    r"Tag-File-Character-Encoding: ([!-~]{1,80})(?:\r\n|\r|\n)?"
)
_VERSIONS = frozenset({(0, 93), (0, 94), (0, 95), (0, 96), (0, 97), (1, 0)})


class Declaration(NamedTuple):
    """Version and character set of a bag; what a broken declaration leaves open is taken as 1.0 and UTF-8."""

    version: tuple[int, int] = (1, 0)
    encoding: str = "UTF-8"
    codec: str = "utf-8"

    @property
    def is_strict(self) -> bool:
        """Whether the rules of 1.0 apply, stricter than those of the drafts before (packages.md 1.2)."""
        return self.version >= (1, 0)


def read_declaration(data: bytes | None, findings: Findings) -> Declaration:
    """Parse the bytes of bagit.txt (None: there is none) and note every fault."""
    if data is None:
        findings.add("declaration-missing", "bagit.txt")
        return Declaration()
    if data.startswith(b"\xef\xbb\xbf"):
        findings.add("declaration-bom", "bagit.txt")
        return Declaration()
    try:
        found = _FORM.fullmatch(data.decode())
    except UnicodeDecodeError:
        found = None
    if found is None:
        findings.add("declaration-malformed", "bagit.txt")
        return Declaration()
    version, encoding = (int(found[1]), int(found[2])), found[3]
    if version not in _VERSIONS:
        findings.add("version-unsupported", "bagit.txt", found=f"{found[1]}.{found[2]}")
        version = (1, 0)
    codec = codec_of(encoding)
    if codec is None:
        findings.add("encoding-unsupported", "bagit.txt", found=encoding)
        return Declaration(version)
    return Declaration(version, encoding, codec)
