"""Where in a container the bag lies, and which files it has (packages.md 2.6, C3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from perdura.packages.container import Container, Member
from perdura.packages.findings import Findings
from perdura.packages.limits import Limits
from perdura.packages.names import doubts, twins
from perdura.packages.rules import PackageRejected

_JUNK = (".DS_Store", "Thumbs.db")


@dataclass(frozen=True, slots=True)
class Layout:
    """The bag inside a container: `base` is its top-level directory with `/`, or empty.

    `index` maps paths relative to the base directory to member indexes, files only; `directories` are those that
    exist, named by a member or by lying above one.
    """

    base: str
    index: dict[str, int]
    directories: frozenset[str] = field(default_factory=frozenset)

    @property
    def payload(self) -> list[str]:
        """Paths of all payload files."""
        return [path for path in self.index if path.startswith("data/")]


def find_bag(container: Container, findings: Findings, limits: Limits) -> Layout:
    """Find the bag and judge its names; raises PackageRejected (C3, N5, limits on size and ratio)."""
    members = container.members
    _check_size(container, limits)
    junk = [member for member in members if limits.ignore_desktop_junk and _is_junk(member.path)]
    for member in junk:
        findings.add("desktop-junk", member.path)
    files, directories = _unique(members, {member.path for member in junk})
    base = _base(files, directories)
    index = {path[len(base) :]: member for path, member in files.items()} if base else files
    inside = frozenset(path[len(base) :] for path in directories if path.startswith(base) and path != base[:-1])
    if not container.has_plain_names:
        for path in index:
            for code, detail in doubts(path):
                findings.add(code, path, detail)
    for code, path, other in twins(index):
        findings.add(code, path, found=other)
    return Layout(base, index, inside)


def _check_size(container: Container, limits: Limits) -> None:
    size = sum(member.size for member in container.members)
    if size > limits.package_size:
        raise PackageRejected("limit-size", detail=f"{limits.package_size} bytes are accepted")
    if size > limits.ratio_free and size > limits.ratio * container.stored_size:
        raise PackageRejected("limit-ratio", detail=f"more than {limits.ratio} : 1")


def _unique(members: Sequence[Member], ignored: set[str]) -> tuple[dict[str, int], set[str]]:
    """Files by path and all directories; two members of one path, or a file above another, are refused (C3)."""
    files: dict[str, int] = {}
    named: set[str] = set()
    directories: set[str] = set()
    for number, member in enumerate(members):
        path = member.path
        if path in ignored:
            continue
        if member.is_directory:
            if path in named:
                raise PackageRejected("member-duplicate", path)
            named.add(path)
            above = path
        else:
            if path in files:
                raise PackageRejected("member-duplicate", path)
            files[path] = number
            above = path.rpartition("/")[0]
        while above and above not in directories:
            directories.add(above)
            above = above.rpartition("/")[0]
    both = files.keys() & directories
    if both:
        raise PackageRejected("member-file-and-directory", min(both))
    if not files and not directories:
        raise PackageRejected("container-empty")
    return files, directories


def _is_junk(path: str) -> bool:
    return path in _JUNK or path == "__MACOSX" or path.startswith("__MACOSX/")


def _base(files: dict[str, int], directories: set[str]) -> str:
    if "bagit.txt" in files:
        return ""
    top = {path.partition("/")[0] for path in files} | {path.partition("/")[0] for path in directories}
    if len(top) == 1:
        (only,) = top
        if only in directories and only != "data":
            return only + "/"
    if "data" in directories and len(top) > 1 and any(path.startswith("manifest-") for path in files):
        # All of a bag but its declaration: say so, instead of calling it no bag at all.
        return ""
    if top == {"data"}:
        return ""
    raise PackageRejected("bag-place", detail=f"{len(top)} entries at the top and no bagit.txt")
