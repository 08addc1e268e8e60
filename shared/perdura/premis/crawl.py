"""Taking over a running PREMIS Event Service by its feed (premis.md 4.6): by periods, counted, from where it stopped.

Its pages have no total order: while it is written to, and among equal times of recording, walking all of it skips and
repeats. So it is walked in periods of the event date; what a period gives is compared with what the service counts
there; a period that lacks events is halved until single days are walked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from urllib.parse import urlencode, urljoin, urlsplit

from lxml import etree
from sqlalchemy.engine import Engine

from perdura.errors import Rejected
from perdura.premis.importing import Foreign, Imported, from_element, record, record_agents
from perdura.premis.xml import events_in, parse, sent_identifier
from perdura.premis.xml.names import ATOM

Fetch = Callable[[str], bytes]
"""Reads a URL of the service; raises a PerduraError when it cannot be read."""

MOST_PAGES = 100_000
FIRST_DAYS = 28


class ServiceChanged(Rejected):
    """The service answered with something that is none of its documents."""

    code = "not-an-event-service"


@dataclass(slots=True)
class Crawl:
    """A walk through the service at `url`; `zone` is that of its dates without an offset."""

    engine: Engine
    fetch: Fetch
    url: str
    zone: tzinfo
    actor: str
    done: Imported = field(default_factory=Imported)
    lacking: list[str] = field(default_factory=list)

    def run(self, first: date, last: date) -> Iterator[date]:
        """Import every event of the days from `first` to `last`; gives each day that all is imported up to."""
        begin, days = first, FIRST_DAYS
        while begin <= last:
            end = min(last, begin + timedelta(days=days - 1))
            got, counted = self._period(begin, end)
            if got < counted and days > 1:
                days = max(1, days // 2)
                continue
            if got < counted:
                self.lacking.append(f"{begin}: {got} of {counted} events")
            yield end
            begin, days = end + timedelta(days=1), FIRST_DAYS

    def agents(self) -> int:
        """Import the registered agents; gives how many were new."""
        return sum(record_agents(self.engine, page) for page in self._pages("/APP/agent/?page=1"))

    def days(self) -> tuple[date, date] | None:
        """The first and the last day that events of the service are dated; None when it has none."""
        found = []
        for direction in ("ascending", "descending"):
            query = urlencode({"orderby": "event_date_time", "orderdir": direction})
            dates = [foreign.event.at for foreign in self._events(self._page(f"/APP/event/?{query}"))]
            if not dates:
                return None
            found.append(min(dates) if direction == "ascending" else max(dates))
        # A day on either side: the service counts days in its own zone.
        return (found[0] - timedelta(days=1)).date(), (found[1] + timedelta(days=1)).date()

    def _period(self, begin: date, end: date) -> tuple[int, int]:
        """(events imported of a period, events that the service counts there)."""
        # The seed service ends a period at the beginning of its last day; days that overlap are imported once.
        limits = {"start_date": f"{begin:%m/%d/%Y}", "end_date": f"{end + timedelta(days=1):%m/%d/%Y}"}
        seen: set[str] = set()
        for page in self._pages(f"/APP/event/?{urlencode(limits)}"):
            found = [each for each in self._events(page) if each.event.identifier_value not in seen]
            seen |= {each.event.identifier_value for each in found}
            self.done += record(self.engine, found, actor=self.actor)
        return len(seen), self._counted(limits)

    def _counted(self, limits: dict[str, str]) -> int:
        try:
            answer = json.loads(self.fetch(self._absolute(f"/event/search.json?{urlencode(limits)}")))
            return int(answer["feed"]["opensearch:totalResults"])
        except (ValueError, KeyError, TypeError) as error:
            raise ServiceChanged("/event/search.json does not say how many events there are.") from error

    def _pages(self, path: str) -> Iterator[etree._Element]:
        """A page and those that its links of relation `next` lead to, all on the same host."""
        seen: set[str] = set()
        following: str | None = path
        while following is not None and len(seen) < MOST_PAGES:
            if following in seen:
                raise ServiceChanged("The pages of the service lead back to themselves.")
            seen.add(following)
            page = self._page(following)
            yield page
            links = [link.get("href") for link in page.iterfind(f"{{{ATOM}}}link[@rel='next']")]
            following = links[0] if links and links[0] else None

    def _page(self, path: str) -> etree._Element:
        root = parse(self.fetch(self._absolute(path)))
        if root.tag != f"{{{ATOM}}}feed":
            raise ServiceChanged(f"{path[:200]} is no Atom feed.")
        return root

    def _events(self, page: etree._Element) -> Iterator[Foreign]:
        for element in events_in(page) if page.find(f"{{{ATOM}}}entry") is not None else ():
            try:
                yield from_element(element, origin=self.url, zone=self.zone)
            except Rejected as error:
                self.done.refused.append(
                    f"event {sent_identifier(element)[:200] or 'without identifier'}: {error.message}"
                )

    def _absolute(self, path: str) -> str:
        """A URL of the service; links that it writes with another host are followed on its own."""
        parts = urlsplit(path)
        if not parts.netloc:
            return self.url.rstrip("/") + path
        return urljoin(self.url, parts.path + (f"?{parts.query}" if parts.query else ""))


def resumed(text: str, url: str) -> date | None:
    """The day after the last one that a note of an earlier crawl of this service says is imported."""
    try:
        note = json.loads(text)
        return datetime.fromisoformat(note["imported_up_to"]).date() + timedelta(days=1) if note["url"] == url else None
    except (ValueError, KeyError, TypeError):
        return None


def noted(url: str, day: date) -> str:
    """The note that `resumed` reads."""
    return json.dumps({"url": url, "imported_up_to": day.isoformat()})
