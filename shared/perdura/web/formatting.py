"""How values are put into words for people: sizes, times, states."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from markupsafe import Markup

from perdura.outcome import StepState
from perdura.registry.transitions import ArchiveState
from perdura.web.language import marked, translate, translate_many

_UNITS = ("", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: int | None) -> str:
    """Bytes in binary units: `1.5 MiB`; nothing known is a dash."""
    if count is None:
        return "–"
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    if unit == 0:
        return translate_many("%(count)s byte", "%(count)s bytes", count) % {"count": count}
    return f"{value:.1f} {_UNITS[unit]}"


def ago(moment: datetime, now: datetime | None = None) -> str:
    """A time as people say it: `just now`, `5 minutes ago`, `in 2 hours`; a date beyond a month."""
    now = now or datetime.now(UTC)
    distance = now - moment
    past = distance >= timedelta(0)
    seconds = abs(distance.total_seconds())
    if seconds < 5:
        return translate("just now")
    for limit, unit in ((60, 1), (3600, 60), (86400, 3600), (30 * 86400, 86400)):
        if seconds < limit:
            number = int(seconds // unit)
            words = _span(number, unit)
            return (translate("%(span)s ago") if past else translate("in %(span)s")) % {"span": words}
    return moment.astimezone(UTC).strftime("%Y-%m-%d")


def _span(number: int, unit: int) -> str:
    """A number of seconds, minutes, hours or days (`unit` in seconds)."""
    match unit:
        case 1:
            words = translate_many("%(count)s second", "%(count)s seconds", number)
        case 60:
            words = translate_many("%(count)s minute", "%(count)s minutes", number)
        case 3600:
            words = translate_many("%(count)s hour", "%(count)s hours", number)
        case _:
            words = translate_many("%(count)s day", "%(count)s days", number)
    return words % {"count": number}


def when(moment: datetime | None, missing: str | None = None) -> Markup:
    """A `<time>` element: relative words to read, the exact instant in UTC in its title."""
    if moment is None:
        return Markup('<span class="muted">{}</span>').format(translate("never") if missing is None else missing)
    instant = moment.astimezone(UTC)
    exact, read = instant.isoformat(timespec="milliseconds"), instant.strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time datetime="%s" title="%s">%s</time>') % (exact, read, ago(moment))


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
    ArchiveState.AWAITING_UPLOAD: Appearance(marked("Awaiting upload"), "inbox", "idle"),
    ArchiveState.QUEUED: Appearance(marked("Queued"), "clock", "idle"),
    ArchiveState.RUNNING: Appearance(marked("Running"), "spinner", "busy"),
    ArchiveState.WAITING: Appearance(marked("Waiting"), "hourglass", "wait"),
    ArchiveState.BLOCKED: Appearance(marked("Needs attention"), "hand", "bad"),
    ArchiveState.COMPLETED: Appearance(marked("Completed"), "check", "good"),
    ArchiveState.COMPLETED_WITH_WARNINGS: Appearance(marked("Completed with warnings"), "warning", "warn"),
    ArchiveState.FAILED: Appearance(marked("Failed"), "cross", "bad"),
    ArchiveState.REJECTED: Appearance(marked("Rejected"), "ban", "bad"),
    ArchiveState.CANCELLED: Appearance(marked("Cancelled"), "dash", "idle"),
}

_STEPS = {
    "harvest": marked("Harvest"),
    "ingest": marked("Ingest"),
    "preserve": marked("Preserve"),
    "archive": marked("Copy to tape"),
    "publish": marked("Publish"),
    "notify": marked("Notify the source"),
}

_WAITING_FOR = {
    "harvest": marked("Waiting for the source"),
    "preserve": marked("Waiting for the preservation engine"),
    "archive": marked("Waiting for tape"),
    "publish": marked("Waiting for the access system"),
    "notify": marked("Waiting for the source"),
}


def appearance(state: ArchiveState | StepState | str | None, step: str | None = None) -> Appearance:
    """How a state is shown; a waiting `step` says what it waits for, None is a step whose turn has not come."""
    if state is None:
        return Appearance(translate("Not yet"), "dot", "idle")
    if state == StepState.WAITING and step in _WAITING_FOR:
        return Appearance(translate(_WAITING_FOR[step]), "hourglass", "wait")
    look = _STATES[ArchiveState(str(state))]
    return replace(look, words=translate(look.words))


def step_name(name: str) -> str:
    """A step as a heading."""
    return translate(_STEPS[name]) if name in _STEPS else word(name)


_WORDS = {
    "queued": marked("Queued"),
    "running": marked("Running"),
    "listing": marked("Listing"),
    "paused": marked("Paused"),
    "active": marked("Active"),
    "retired": marked("Retired"),
    "cancelled": marked("Cancelled"),
    "completed": marked("Completed"),
    "failed": marked("Failed"),
    "done": marked("Done"),
    "unchanged": marked("Unchanged"),
    "deleted": marked("Deleted at the source"),
    "waiting": marked("Waiting"),
    "completed_with_failures": marked("Completed with failures"),
    "denied": marked("Denied"),
    "day": marked("Day"),
    "week": marked("Week"),
    "month": marked("Month"),
    "retry": marked("Retry"),
    "skip": marked("Skip"),
    "cancel": marked("Cancel"),
    "run": marked("Run more"),
    "collect": marked("Add to a collection"),
    "take-out": marked("Take out of a collection"),
    "announce": marked("Announce"),
    "search": marked("By search"),
    "oai-pmh": marked("By OAI-PMH"),
    "import": marked("Import"),
}


def word(value: str) -> str:
    """The state of a job, schedule or run, or what a job does, in a word."""
    return translate(_WORDS[value]) if value in _WORDS else value.replace("-", " ").replace("_", " ").capitalize()


def short(digest: str, length: int = 12) -> str:
    """The beginning of a digest."""
    return digest if len(digest) <= length else f"{digest[:length]}…"
