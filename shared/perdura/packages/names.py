"""What a path inside a package may look like (packages.md 2.6): decisions on text only, nothing is ever opened."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from sys import getsizeof
from typing import TYPE_CHECKING

from perdura.packages.rules import PackageRejected

if TYPE_CHECKING:
    from perdura.packages.limits import Limits

_DEVICE = r"(?i:con|prn|aux|nul|com[1-9]|lpt[1-9])"
_PLAIN_COMPONENT = re.compile(rf"(?!{_DEVICE}(?:\.|\Z))[A-Za-z0-9_+=@,~-](?:[A-Za-z0-9_+=@,~. -]*[A-Za-z0-9_+=@,~-])?")
_ROOM = 2**20
"""Bytes of memory that paths may take however few members are accepted."""
_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROL = re.compile("[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]")
_NOT_PORTABLE = re.compile(rf'[<>:"|?*]|[. ](?:/|\Z)|(?:^|/){_DEVICE}(?:[./]|\Z)')


class PlainNames:
    """Recognises fast what most paths are: short, ASCII, safe and portable. Remembers the directories it saw.

    `without_exception` stays true while `member_path` finds no other paths.
    """

    def __init__(self, limits: Limits) -> None:
        # A path of so many characters can neither be too long nor have too many components.
        self._longest = min(200, limits.path_bytes, 2 * limits.path_components - 1)
        self._directories = {""}
        self.without_exception = True

    def __contains__(self, path: str) -> bool:
        head, _, base = path.rpartition("/")
        if len(path) > self._longest or not _PLAIN_COMPONENT.fullmatch(base):
            return False
        if head in self._directories:
            return path[0] != "/"
        if not head or head not in self:
            return False
        self._directories.add(head)
        return True


class PathRoom:
    """Counts the memory that paths take; a package of 200,000 members may not have paths of 900 bytes each (N2)."""

    def __init__(self, limits: Limits) -> None:
        self._limit = self._left = max(limits.members * limits.path_memory, _ROOM)

    def take(self, paths: Iterable[str]) -> None:
        """Raises PackageRejected when there is no room for these any more."""
        self._left -= sum(map(getsizeof, paths))
        if self._left < 0:
            raise PackageRejected("limit-paths", detail=f"{self._limit} bytes of memory are accepted")


def unsafe(path: str) -> str | None:
    """Why the path could mean something outside the bag, or different things to different tools (N1); or None."""
    if not path:
        return "an empty path"
    if path[0] == "/":
        return "an absolute path"
    if "\\" in path:
        return "a backslash"
    if "\x00" in path:
        return "a NUL character"
    if _DRIVE.match(path):
        return "a drive letter"
    for component in path.split("/"):
        if component == "":
            return "an empty component"
        if component in (".", ".."):
            return f"a component {component!r}"
    return None


def member_path(raw: str, limits: Limits, plain: PlainNames) -> tuple[str, bool] | None:
    """The path of an archive member and whether it names a directory; None for the archive's own top (N1, N2).

    Raises PackageRejected for a path that is unsafe, too long or too deep.
    """
    if raw in plain:
        return raw, False
    path = raw[2:] if raw.startswith("./") else raw
    if path in ("", ".") and raw:
        return None
    is_directory = path.endswith("/")
    if is_directory:
        path = path[:-1]
    if path in plain:
        return path, is_directory
    plain.without_exception = False
    reason = unsafe(path)
    if reason is not None:
        raise PackageRejected("name-unsafe", raw, reason)
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        raise PackageRejected("name-encoding", raw.encode("utf-8", "backslashreplace").decode()) from None
    if len(encoded) > limits.path_bytes:
        raise PackageRejected("name-too-long", raw, f"{len(encoded)} bytes, {limits.path_bytes} are accepted")
    if path.count("/") >= limits.path_components:
        raise PackageRejected("name-too-long", raw, f"more than {limits.path_components} components")
    return path, is_directory


def doubts(path: str) -> Iterator[tuple[str, str]]:
    """Rule codes (and details) of everything that makes a safe path hard to keep elsewhere (N2, N4)."""
    control = _CONTROL.search(path)
    if control:
        yield "name-control", f"U+{ord(control.group()):04X}"
    found = _NOT_PORTABLE.search(path)
    if found:
        yield "name-not-portable", repr(found.group().strip("/"))
    if any(len(component.encode()) > 255 for component in path.split("/")):
        yield "name-component-long", "a component of more than 255 bytes"


def twins(paths: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """Paths that differ only in case or only in Unicode form: (rule code, path, the path it resembles)."""
    # Hashes first: all forms of all paths would take several times the memory of the paths.
    if all(map(str.isascii, paths)) and len(set(map(hash, map(str.lower, paths)))) == len(paths):
        return
    seen: set[int] = set()
    doubled: set[int] = set()
    for path in paths:
        key = hash(_folded(path))
        (doubled if key in seen else seen).add(key)
    if not doubled:
        return
    seen_folded: dict[str, str] = {}
    seen_normal: dict[str, str] = {}
    for path in sorted(path for path in paths if hash(_folded(path)) in doubled):
        folded = _folded(path)
        if not path.isascii():
            normal = unicodedata.normalize("NFC", path)
            other = seen_normal.setdefault(normal, path)
            if other != path:
                yield "name-normal-twin", path, other
                continue
        other = seen_folded.setdefault(folded, path)
        if other != path:
            yield "name-case-twin", path, other


def _folded(path: str) -> str:
    """The form that paths share which differ only in case or Unicode form."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
