"""One AIP on its way to tape: what the checkpoint of its step remembers between two looks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from perdura.errors import Broken
from perdura.outcome import ArchiveView, Package
from perdura.packages.tape_container import Slot
from perdura.ports import OpenJob, TapeAccount
from perdura.steps.archive_decisions import Expected

CONTAINERS = ("7z", "tar", "tar.bz2", "tar.gz", "zip")
"""What a file on tape may be named by; before the others had names of their own, every AIP was a `.tar`."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """An AIP, and the file on tape that it becomes or becomes part of.

    `phase` is `group` (waits for other small AIPs), `earlier` (what earlier attempts of the step left has still to be
    looked for), `submit` (nothing asked yet in this round), `job` (FTS works) or
    `tape` (the file is there and waits for tape, with no job any more). `path`, `size` and `adler32` are those of the
    file on tape: the AIP itself, or the container that holds it at `slot`.
    """

    archive: ArchiveView
    aip: Package
    path: str
    size: int
    adler32: str
    phase: str = "submit"
    round: int = 1
    job: str | None = None
    looks: int = 0
    complaints: int = 0
    on_disk_since: str | None = None
    slot: Slot | None = None
    retries: int = 0
    """Failed attempts of this round's job that are in the register."""
    account: TapeAccount | None = None
    """Where the job was asked for, and as whom."""
    asked_again: bool = False
    """True after a job that had become unknown was asked for under its own key once more."""
    damaged: int = 0
    """Copies of it that were damaged when they arrived."""
    adopted: str | None = None
    """Key of a job that an earlier attempt asked for and that is followed in this round."""

    @property
    def expected(self) -> Expected:
        """What must be on tape."""
        return Expected(self.size, self.adler32)

    @property
    def job_key(self) -> str:
        """File and attempt: the same key never starts a second job (fts-cta.md 2.8)."""
        if self.adopted is not None:
            return self.adopted
        if self.slot is not None:
            return f"{self.slot.container}:tape:{self.round}"
        return f"{self.aip.id}:tape{again(self.archive)}:{self.archive.step.attempt}.{self.round}"

    @property
    def fragment(self) -> str:
        """Where the AIP lies in the file on tape, for the address of its copy; empty when it is the whole file."""
        return "" if self.slot is None else f"#offset={self.slot.offset}&length={self.slot.length}"

    def checkpoint(self) -> dict[str, Any]:
        """The same as JSON."""
        slot = self.slot
        return {
            "aip": str(self.aip.id), "path": self.path, "size": self.size, "adler32": self.adler32,
            "phase": self.phase, "round": self.round, "job": self.job, "looks": self.looks,
            "complaints": self.complaints, "on_disk_since": self.on_disk_since, "retries": self.retries,
            "account": None if self.account is None else [self.account.server, self.account.holder],
            "asked_again": self.asked_again, "adopted": self.adopted, "damaged": self.damaged,
            "slot": None if slot is None else [str(slot.container), slot.offset, slot.length],
        }  # fmt: skip


def resumed(archive: ArchiveView) -> Transfer:
    """The transfer that the checkpoint describes; raises Broken when its package is gone."""
    checkpoint = archive.step.checkpoint
    aip = archive.package_of_id(checkpoint.get("aip"))
    if aip is None:
        raise Broken("The package that waits for tape is no longer in the registry.", code="no-aip")
    return restored(archive, aip, checkpoint)


def restored(archive: ArchiveView, aip: Package, checkpoint: Mapping[str, Any]) -> Transfer:
    """The transfer of an AIP as a checkpoint describes it."""
    slot = checkpoint.get("slot")
    return Transfer(
        archive,
        aip,
        checkpoint["path"],
        checkpoint.get("size", aip.size),
        checkpoint["adler32"],
        phase=checkpoint["phase"],
        round=checkpoint["round"],
        job=checkpoint["job"],
        looks=checkpoint["looks"],
        complaints=checkpoint["complaints"],
        on_disk_since=checkpoint["on_disk_since"],
        slot=None if slot is None else Slot(UUID(slot[0]), slot[1], slot[2]),
        retries=checkpoint.get("retries", 0),
        account=TapeAccount(*checkpoint["account"]) if checkpoint.get("account") else None,
        asked_again=checkpoint.get("asked_again", False),
        adopted=checkpoint.get("adopted"),
        damaged=checkpoint.get("damaged", 0),
    )


def adopting(transfer: Transfer, found: OpenJob) -> Transfer:
    """The transfer that follows a job asked for before it; one whose answer is not known is asked for once more."""
    return replace(
        transfer,
        phase="submit" if found.job_id is None else "job",
        job=found.job_id,
        account=found.account,
        adopted=found.key,
        round=int(re.split("[:.]", found.key)[-1]),
    )


def again(archive: ArchiveView) -> str:
    """What tells a copy that is made again from those before it, in paths and keys; empty for the first."""
    number = archive.step.input.get("copy")
    return "" if number is None else f"-{number}"


def file_name(aip: Package, which: str = "") -> str:
    """The name of an AIP as a file of its own: its id, which copy it is, and the ending of what it is."""
    return f"{aip.id}{which}.{aip.container if aip.container in CONTAINERS else 'tar'}"


def whole(archive: ArchiveView, aip: Package, adler32: str, phase: str = "submit") -> Transfer:
    """The transfer of an AIP as a file of its own."""
    return Transfer(archive, aip, f"{archive.id}/{file_name(aip, again(archive))}", aip.size, adler32, phase)
