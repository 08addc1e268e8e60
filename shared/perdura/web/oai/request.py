"""Arguments of an OAI-PMH request: read strictly, as §2.4, §2.5 and §3.6 of the protocol want them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from perdura.api import cursors
from perdura.api.problems import Problem
from perdura.recordable import storable
from perdura.web.oai.formats import FORMATS

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_SECOND = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
_LISTING = frozenset({"from", "until", "set", "metadataPrefix", "resumptionToken"})
_ARGUMENTS: dict[str, frozenset[str]] = {
    "Identify": frozenset(),
    "ListMetadataFormats": frozenset({"identifier"}),
    "ListSets": frozenset({"resumptionToken"}),
    "ListIdentifiers": _LISTING,
    "ListRecords": _LISTING,
    "GetRecord": frozenset({"identifier", "metadataPrefix"}),
}


class OaiError(Exception):
    """An error of the protocol; the answer is 200 and says it in XML."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Selection:
    """What a listing selects, and after which record it goes on; `until` includes its whole second or day."""

    prefix: str
    since: datetime | None = None
    until: datetime | None = None
    source: str | None = None
    after: tuple[datetime, UUID] | None = None

    def token(self, after: tuple[datetime, UUID]) -> str:
        """The resumption token that goes on after a record."""
        return cursors.encode(
            self.prefix,
            self.since.isoformat() if self.since else "",
            self.until.isoformat() if self.until else "",
            self.source or "",
            after[0].isoformat(),
            str(after[1]),
        )


def arguments_of(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The arguments by name, `verb` among them; raises badVerb or badArgument."""
    sent: dict[str, str] = {}
    repeated: set[str] = set()
    for name, value in pairs:
        if name in sent:
            repeated.add(name)
        sent[name] = value
    verb = sent.get("verb", "")
    if verb not in _ARGUMENTS or "verb" in repeated:
        raise OaiError("badVerb", "The verb is missing, repeated or unknown.")
    unknown = set(sent) - _ARGUMENTS[verb] - {"verb"}
    if unknown or repeated:
        raise OaiError("badArgument", "An argument is unknown or repeated.")
    if not all(map(storable, sent.values())):
        raise OaiError("badArgument", "An argument holds a forbidden character.")
    return sent


def format_named(prefix: str | None) -> str:
    """The metadata prefix, when there is such a format."""
    if not prefix:
        raise OaiError("badArgument", "metadataPrefix is missing.")
    if prefix not in FORMATS:
        raise OaiError("cannotDisseminateFormat", "There is no such metadata format here.")
    return prefix


def selection_of(sent: dict[str, str]) -> Selection:
    """What a listing selects, from its arguments or from a resumption token (which then has to be alone)."""
    if "resumptionToken" in sent:
        if set(sent) != {"verb", "resumptionToken"}:
            raise OaiError("badArgument", "resumptionToken excludes all other arguments.")
        return _resumed(sent["resumptionToken"])
    prefix = format_named(sent.get("metadataPrefix"))
    since, until = sent.get("from"), sent.get("until")
    if since is not None and until is not None and len(since) != len(until):
        raise OaiError("badArgument", "from and until have to be of the same granularity.")
    begin = _moment(since, end=False) if since is not None else None
    end = _moment(until, end=True) if until is not None else None
    if begin is not None and end is not None and begin > end:
        raise OaiError("badArgument", "from is later than until.")
    return Selection(prefix, begin, end, source_of(sent["set"]) if "set" in sent else None)


def source_of(set_spec: str) -> str:
    """The Source that a set stands for."""
    kind, _, name = set_spec.partition(":")
    if kind != "source" or not name:
        raise OaiError("noRecordsMatch", "There is no such set.")
    return name


def _moment(text: str, *, end: bool) -> datetime:
    try:
        if _DAY.fullmatch(text):
            day = datetime.fromisoformat(text).replace(tzinfo=UTC)
            return day + timedelta(days=1, microseconds=-1) if end else day
        if _SECOND.fullmatch(text):
            second = datetime.fromisoformat(text)
            return second + timedelta(microseconds=999_999) if end else second
    except (ValueError, OverflowError):
        pass
    raise OaiError("badArgument", "A date is not of the form YYYY-MM-DD or YYYY-MM-DDThh:mm:ssZ.")


def _resumed(token: str) -> Selection:
    try:
        prefix, since, until, source, moment, identifier = cursors.decode(token, 6)
        if prefix not in FORMATS:
            raise ValueError(prefix)
        return Selection(
            prefix,
            cursors.instant(since) if since else None,
            cursors.instant(until) if until else None,
            source or None,
            (cursors.instant(moment), UUID(identifier)),
        )
    except (Problem, ValueError):
        raise OaiError("badResumptionToken", "The resumption token is none of ours.") from None
