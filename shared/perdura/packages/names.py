"""What a path inside a package may look like (packages.md 2.6): decisions on text only, nothing is ever opened."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from perdura.packages.rules import PackageRejected

if TYPE_CHECKING:
    from perdura.packages.limits import Limits

_DEVICE = r"(?i:con|prn|aux|nul|com[1-9]|lpt[1-9])"
_PLAIN_COMPONENT = re.compile(rf"(?!{_DEVICE}(?:\.|\Z))[A-Za-z0-9_+=@,~-](?:[A-Za-z0-9_+=@,~. -]*[A-Za-z0-9_+=@,~-])?")
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
    if all(map(str.isascii, paths)) and len(set(map(str.lower, paths))) == len(paths):
        return
    seen_folded: dict[str, str] = {}
    seen_normal: dict[str, str] = {}
    for path in sorted(paths):
        if path.isascii():
            normal, folded = path, path.lower()
        else:
            normal = unicodedata.normalize("NFC", path)
            folded = unicodedata.normalize("NFC", normal.casefold())
        if not path.isascii():
            other = seen_normal.setdefault(normal, path)
            if other != path:
                yield "name-normal-twin", path, other
                continue
        other = seen_folded.setdefault(folded, path)
        if other != path:
            yield "name-case-twin", path, other
