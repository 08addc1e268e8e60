"""How values are put into words for people: sizes, times, states."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from markupsafe import Markup

from perdura.outcome import StepState
from perdura.registry.transitions import ArchiveState

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: int | None) -> str:
    """Bytes in binary units: `1.5 MiB`; nothing known is a dash."""
    if count is None:
        return "–"
    if count == 1:
        return "1 byte"
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{count} bytes" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def ago(moment: datetime, now: datetime | None = None) -> str:
    """A time as people say it: `just now`, `5 minutes ago`, `in 2 hours`; a date beyond a month."""
    now = now or datetime.now(UTC)
    distance = now - moment
    past = distance >= timedelta(0)
    seconds = abs(distance.total_seconds())
    if seconds < 5:
        return "just now"
    for limit, unit in ((60, 1), (3600, 60), (86400, 3600), (30 * 86400, 86400)):
        if seconds < limit:
            number = int(seconds // unit)
            name = {1: "second", 60: "minute", 3600: "hour", 86400: "day"}[unit]
            words = f"{number} {name}{'' if number == 1 else 's'}"
            return f"{words} ago" if past else f"in {words}"
    return moment.astimezone(UTC).strftime("%Y-%m-%d")


def when(moment: datetime | None, missing: str = "never") -> Markup:
    """A `<time>` element: relative words to read, the exact instant in UTC in its title."""
    if moment is None:
        return Markup('<span class="muted">{}</span>').format(missing)
    instant = moment.astimezone(UTC)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        instant.isoformat(timespec="milliseconds"), instant.strftime("%Y-%m-%d %H:%M:%S UTC"), ago(moment)
    )


def duration(start: datetime | None, end: datetime | None) -> str:
    """How long something took; empty while it has not ended."""
    if start is None or end is None:
        return ""
    seconds = max(0.0, (end - start).total_seconds())
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


@dataclass(frozen=True, slots=True)
class Appearance:
    """A state in words, with the name of its icon and its tone (a class of the style sheet)."""

    words: str
    icon: str
    tone: str


_STATES = {
    ArchiveState.AWAITING_UPLOAD: Appearance("Awaiting upload", "inbox", "idle"),
    ArchiveState.QUEUED: Appearance("Queued", "clock", "idle"),
    ArchiveState.RUNNING: Appearance("Running", "spinner", "busy"),
    ArchiveState.WAITING: Appearance("Waiting", "hourglass", "wait"),
    ArchiveState.BLOCKED: Appearance("Needs attention", "hand", "bad"),
    ArchiveState.COMPLETED: Appearance("Completed", "check", "good"),
    ArchiveState.COMPLETED_WITH_WARNINGS: Appearance("Completed with warnings", "warning", "warn"),
    ArchiveState.FAILED: Appearance("Failed", "cross", "bad"),
    ArchiveState.REJECTED: Appearance("Rejected", "ban", "bad"),
    ArchiveState.CANCELLED: Appearance("Cancelled", "dash", "idle"),
}

_STEPS = {
    "harvest": "Harvest",
    "ingest": "Ingest",
    "preserve": "Preserve",
    "archive": "Copy to tape",
    "publish": "Publish",
    "notify": "Notify the source",
}

_WAITING_FOR = {
    "harvest": "Waiting for the source",
    "preserve": "Waiting for the preservation engine",
    "archive": "Waiting for tape",
    "publish": "Waiting for the access system",
    "notify": "Waiting for the source",
}


def appearance(state: ArchiveState | StepState | str | None, step: str | None = None) -> Appearance:
    """How a state is shown; a waiting `step` says what it waits for, None is a step whose turn has not come."""
    if state is None:
        return Appearance("Not yet", "dot", "idle")
    if state == StepState.WAITING and step in _WAITING_FOR:
        return Appearance(_WAITING_FOR[step], "hourglass", "wait")
    return _STATES[ArchiveState(str(state))]


def step_name(name: str) -> str:
    """A step as a heading."""
    return _STEPS.get(name, name.replace("-", " ").capitalize())


def short(digest: str, length: int = 12) -> str:
    """The beginning of a digest."""
    return digest if len(digest) <= length else f"{digest[:length]}…"
