"""How far the taking over of an AIP is: what a step's checkpoint keeps of it between invocations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from perdura.errors import Broken, PerduraError, Rejected
from perdura.fleet import Stored
from perdura.outcome import ArchiveView, Finding, Package, PackageKind
from perdura.packages.long_digest import START, LongState

KEY = "takeover"
"""Name of the course within a step's checkpoint."""


class Flawed(Rejected):
    """The AIP is not what it must be; `findings` say where."""

    code = "aip-flawed"

    def __init__(self, message: str, findings: tuple[Finding, ...] = (), *, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.findings = findings or (Finding(self.code, message),)


class NotJudged(Broken):
    """The AIP may be good: what keeps it out is a setting, a program, a policy, or how its bytes came here."""

    code = "aip-not-judged"


@dataclass(frozen=True, slots=True)
class Course:
    """What is done already.

    `package` is where the AIP will stay, with its digests when all of its bytes were read; `written` the SHA-256 of
    what was written there; `upload` a copy in progress; `receipts` are keys of what was verified inside; `kept` says
    that METS and manifest of a verified package lie apart, with what was found; `recorded` events are in the log;
    `locked` is the last key that the store was told not to delete; `closed` says that no invocation has the time to
    open the package.
    """

    record: Stored | None = None
    package: Package | None = None
    written: str | None = None
    upload: str | None = None
    digests: LongState = START
    receipts: tuple[str, ...] = ()
    kept: Mapping[str, Any] | None = None
    recorded: int = 0
    locked: str = ""
    closed: bool = False

    def to_json(self) -> dict[str, Any]:
        """As a checkpoint keeps it."""
        return {
            "record": _record_json(self.record) if self.record else None,
            "package": _package_json(self.package) if self.package else None,
            "written": self.written,
            "upload": self.upload,
            "digests": self.digests.to_json(),
            "receipts": list(self.receipts),
            "kept": dict(self.kept) if self.kept is not None else None,
            "recorded": self.recorded,
            "locked": self.locked,
            "closed": self.closed,
        }


class Continued(Exception):
    """The time of this invocation is up; the next one goes on from `course`, after a while when `cause` is to pass."""

    def __init__(self, course: Course, cause: PerduraError | None = None) -> None:
        self.course, self.cause = course, cause


def course_of(archive: ArchiveView) -> Course:
    """The course that the last invocation left, or the beginning of one."""
    told = archive.step.checkpoint.get(KEY)
    if not told:
        return Course()
    digests = told["digests"]
    return Course(
        record=_record(told["record"]) if told["record"] else None,
        package=_package(told["package"]) if told["package"] else None,
        written=told["written"],
        upload=told["upload"],
        digests=LongState(digests["offset"], digests["states"]),
        receipts=tuple(told["receipts"]),
        kept=told["kept"],
        recorded=told["recorded"],
        locked=told.get("locked", ""),
        closed=told.get("closed", False),
    )


def folder(archive: ArchiveView) -> str:
    """Where receipts and what is kept apart lie, in the bucket of SIPs."""
    return f"{archive.id}/verification/{archive.step.id}/"


def with_package(course: Course, package: Package, written: str | None = None) -> Course:
    """The course of an AIP whose place is known."""
    return replace(course, package=package, written=written, upload=None, digests=START)


def _record_json(record: Stored) -> dict[str, Any]:
    return asdict(record) | {"id": str(record.id), "related": [str(each) for each in record.related]}


def _record(value: Mapping[str, Any]) -> Stored:
    return Stored(**{**value, "id": UUID(value["id"]), "related": tuple(UUID(each) for each in value["related"])})


def _package_json(package: Package) -> dict[str, Any]:
    until = package.retain_until.isoformat() if package.retain_until else None
    plain = {"id": str(package.id), "kind": str(package.kind), "retain_until": until, "recorded_at": None}
    return asdict(package) | plain


def _package(value: Mapping[str, Any]) -> Package:
    until = datetime.fromisoformat(value["retain_until"]) if value["retain_until"] else None
    return Package(**{**value, "id": UUID(value["id"]), "kind": PackageKind(value["kind"]), "retain_until": until})
