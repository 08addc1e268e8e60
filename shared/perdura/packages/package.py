"""What reading a package gives: its verdict, its findings and its files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class Verdict(StrEnum):
    """Verdicts of packages.md 2.1."""

    VALID = "valid"
    WARNINGS = "warnings"
    INVALID = "invalid"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken or doubtful rule: stable `code`, `severity` (`warning`, `invalid`, `rejected`), where and why."""

    code: str
    severity: str
    message: str
    path: str | None = None
    clause: str | None = None
    expected: str | None = None
    found: str | None = None


@dataclass(frozen=True, slots=True)
class PackageFile:
    """One file of the bag, path relative to the bag's base directory (`data/…`, `bagit.txt` …).

    `checksums` holds the digests that were computed, `declared` those that manifests declare (both lower-case hex).
    `offset` is where the body begins in an archive that stores it uncompressed, else None.
    """

    path: str
    size: int
    checksums: Mapping[str, str] = field(default_factory=dict)
    declared: Mapping[str, str] = field(default_factory=dict)
    offset: int | None = None

    @property
    def is_payload(self) -> bool:
        """Whether the file lies in `data/`."""
        return self.path.startswith("data/")


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict on one package and everything it rests on (packages.md 2.11)."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    counts: Mapping[str, int]
    """Findings per code, exact even where `findings` was capped."""
    container: str
    """zip, tar, tar.gz, directory or prefix."""
    files: Sequence[PackageFile]
    """All files of the bag in the order of their paths; none when the package was rejected."""
    payload_files: int
    payload_bytes: int
    facts: Mapping[str, Any] = field(default_factory=dict)
    """BagIt version, encoding, algorithms, bag-info as a list of (label, value), oxum, sip.json facts, profile …"""
    unchecked: tuple[str, ...] = ()


class PackageReader(Protocol):
    """Sequential access to the files of a sound container, for whoever repacks or serves them."""

    @property
    def container(self) -> str:
        """zip, tar, tar.gz, directory or prefix."""
        ...

    def files(self) -> Iterator[tuple[PackageFile, Iterator[memoryview]]]:
        """Every file of the bag with its bytes, in the order in which reading is cheapest.

        The bytes of one file must be used before the next file is asked for. Paths are relative to the bag's base
        directory. Raises Rejected with the container's rule when the container is hostile.
        """
        ...
