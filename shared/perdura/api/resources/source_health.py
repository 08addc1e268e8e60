"""How harvesting each source is going."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from perdura.accounts.principals import Permission
from perdura.api import links
from perdura.api.models.source_health import SourceHealth, SourceHealthList
from perdura.api.operations import Call, Section
from perdura.api.queries import facets, sources
from perdura.registry.transitions import ArchiveState
from perdura.sources import search
from perdura.sources.profile import profiles

section = Section("Sources")

STOPPED = frozenset({ArchiveState.FAILED, ArchiveState.REJECTED, ArchiveState.BLOCKED})


def listing(call: Call) -> list[SourceHealth]:
    """All sources with what was harvested of them."""
    settings = call.services.settings
    known = profiles(settings)
    searchable = {profile.id for profile in search.searchable(settings)}
    numbers: dict[str, list[int]] = {}
    for cell in facets.visible_cells(call.connection, call.principal):
        entry = numbers.setdefault(cell.values["source"], [0, 0])
        entry[0] += cell.archives
        entry[1] += cell.archives if cell.values["state"] in STOPPED else 0
    names = sorted({*known, *(name for name in numbers if name)})
    latest = sources.latest(call.connection, call.principal, names)
    due, resting = sources.due(call.connection), sources.resting(call.connection)
    found = []
    for name in names:
        host = urlsplit(known[name].base_url).hostname if name in known else None
        rests = resting.get(host or "")
        profile, last, (archives, stopped) = known.get(name), latest.get(name), numbers.get(name, (0, 0))
        found.append(
            SourceHealth(
                id=name,
                name=profile.name if profile is not None else name,
                url=(profile.base_url or None) if profile is not None else None,
                searchable=name in searchable,
                requests_per_minute=profile.requests_per_minute if profile is not None else 0,
                concurrency=profile.concurrency if profile is not None else 0,
                archives=archives,
                stopped=stopped,
                last_harvest=last.at if last is not None else None,
                next_harvest=due.get(name),
                health=_health(last.state if last is not None else None, rests=rests is not None),
                rests_until=rests,
                links={
                    "archives": f"{links.API}/archives?source={name}",
                    **({"search": f"{links.API}/sources/{name}/search"} if name in searchable else {}),
                },
            )
        )
    return found


def _health(state: str | None, *, rests: bool) -> Literal["good", "failing", "resting", "unused"]:
    if rests:
        return "resting"
    if state is None:
        return "unused"
    return "failing" if state in STOPPED else "good"


@section.get("/sources/health", permission=Permission.READ)
def get_source_health(call: Call) -> SourceHealthList:
    """All sources: what they are, what was harvested of them, and how it went last."""
    return SourceHealthList(items=listing(call))
