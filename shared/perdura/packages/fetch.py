"""`fetch.txt`, read and judged, never followed (RFC 8493 2.2.3, packages.md 2.8)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from perdura.packages.findings import Findings
from perdura.packages.limits import Limits
from perdura.packages.manifests import decode_path
from perdura.packages.names import unsafe
from perdura.packages.tag_text import TagTextError, lines

_NAME = "fetch.txt"
_LINE = re.compile(r"([^ \t]+)[ \t]+([0-9]{1,20}|-)[ \t]+(.+)", re.DOTALL)
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")


class FetchEntry(NamedTuple):
    """One file that is to be fetched: address, length in bytes if said, path in the bag."""

    url: str
    length: int | None
    path: str


def read_fetch(
    chunks: Iterable[bytes | memoryview], codec: str, findings: Findings, limits: Limits
) -> list[FetchEntry]:
    """All sound entries; every fault is noted."""
    entries: dict[str, FetchEntry] = {}
    try:
        for line in lines(chunks, codec, limits.line):
            if not line.strip(" \t"):
                findings.add("blank-line", _NAME)
                continue
            found = _LINE.fullmatch(line)
            if found is None:
                findings.add("fetch-line", _NAME, found=line)
                continue
            url, length, path = found[1], found[2], decode_path(found[3].removeprefix("./"))
            if not _ABSOLUTE.fullmatch(url):
                findings.add("fetch-url", path, found=url)
            if unsafe(path) is not None or not path.startswith("data/"):
                findings.add("fetch-path", path)
            elif path in entries:
                findings.add("fetch-repeated", path)
            else:
                entries[path] = FetchEntry(url, None if length == "-" else int(length), path)
    except TagTextError as error:
        findings.add(error.code, _NAME, error.detail)
    return list(entries.values())
