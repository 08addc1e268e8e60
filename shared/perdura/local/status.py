"""What a stack is doing, as its supervisor writes it and everybody else reads it (`<home>/status.json`)."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from perdura.local.process import Identity, boot
from perdura.local.state import Home, read_json, write_private


class StackState(StrEnum):
    """State of a whole stack."""

    STARTING = "starting"
    RUNNING = "running"
    DEGRADED = "degraded"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class ProcessState(StrEnum):
    """State of one process."""

    STARTING = "starting"
    RUNNING = "running"
    UNHEALTHY = "unhealthy"
    CRASHED = "crashed"


class ProcessStatus(BaseModel):
    """One process of the stack; `started` is its start time in clock ticks since boot."""

    model_config = ConfigDict(frozen=True)

    name: str
    pid: int
    started: int
    state: ProcessState
    restarts: int = 0
    since: datetime
    stop_signal: int = 15

    @property
    def identity(self) -> Identity:
        """The process itself."""
        return Identity(self.pid, self.started)


class Status(BaseModel):
    """The stack of one home. `supervisor` is the process that wrote this."""

    model_config = ConfigDict(frozen=True)

    state: StackState
    boot: str = ""
    supervisor: tuple[int, int] | None = None
    urls: dict[str, str] = Field(default_factory=dict)
    processes: tuple[ProcessStatus, ...] = ()
    reason: str | None = None

    @property
    def supervised(self) -> bool:
        """Whether the supervisor that wrote this still lives."""
        return self.supervisor is not None and self.boot == boot() and Identity(*self.supervisor).alive()


def write_status(home: Home, status: Status) -> None:
    """Publish what is known now."""
    write_private(home.status_file, status.model_dump_json(indent=1))


def read_status(home: Home) -> Status:
    """What the supervisor said last; `stopped` where it no longer lives (what it left behind stays listed)."""
    document = read_json(home.status_file)
    if not document:
        return Status(state=StackState.STOPPED)
    status = Status.model_validate(document)
    if status.supervised:
        return status
    listed = status.processes if status.boot == boot() else ()
    left = tuple(process for process in listed if process.identity.alive())
    failed = status.state is StackState.FAILED
    return Status(
        state=StackState.FAILED if failed else StackState.STOPPED,
        urls={} if not left else status.urls,
        processes=left,
        reason=status.reason,
    )


def summary(status: Status) -> dict[str, object]:
    """The document of `perdura status --json`: state (running, degraded, stopped, …), urls, processes."""
    return {
        "state": status.state.value,
        "reason": status.reason,
        "urls": status.urls,
        "processes": [
            {
                "name": process.name,
                "pid": process.pid,
                "state": process.state.value,
                "restarts": process.restarts,
                "since": process.since.isoformat(),
            }
            for process in status.processes
        ],
    }


def moment(seconds: float) -> datetime:
    """A POSIX time as UTC."""
    return datetime.fromtimestamp(seconds, tz=UTC)


def log_tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log; empty where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 16384))
            return "\n".join(file.read().decode("utf-8", errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
