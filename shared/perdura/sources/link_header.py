"""Web links: the `Link` header (RFC 8288) and linksets (RFC 9264), every link kept.

httpx keeps one link per relation and loses the others (harvesting.md 4), therefore our own reader.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perdura.clients.addresses import joined
from perdura.clients.http import UpstreamRefused
from perdura.sources.json_values import items, mapping

LINKS = 100_000
"""Most links that are read of one header or linkset."""

_LINK = re.compile(
    r"<(?P<target>[^<>]*)>(?P<parameters>(?:\s*;\s*[^\s=;,]+\s*(?:=\s*(?:\"(?:[^\"\\]|\\.)*\"|[^\s;,\"]*))?)*)"
)
_PARAMETER = re.compile(
    r";\s*(?P<name>[^\s=;,]+)\s*(?:=\s*(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<plain>[^\s;,\"]*)))?"
)


@dataclass(frozen=True, slots=True)
class Link:
    """One link: absolute target, one relation, media type and profile where given."""

    target: str
    relation: str
    type: str | None = None
    profile: str | None = None


def parse_header(value: str, base: str) -> list[Link]:
    """All links of a `Link` header, one for each relation; those with another anchor are left out."""
    found: list[Link] = []
    for match in _LINK.finditer(value):
        parameters: dict[str, str] = {}
        for part in _PARAMETER.finditer(match["parameters"]):
            text = part["plain"] if part["quoted"] is None else re.sub(r"\\(.)", r"\1", part["quoted"])
            parameters.setdefault(part["name"].lower(), text or "")
        if "anchor" in parameters and joined(base, parameters["anchor"]) != base:
            continue
        target = joined(base, match["target"])
        for relation in parameters.get("rel", "").lower().split():
            found.append(Link(target, relation, parameters.get("type"), parameters.get("profile")))
        if len(found) > LINKS:
            break
    return found


def parse_linkset(data: bytes, anchor: str, base: str) -> list[Link]:
    """The links of a JSON linkset whose context is `anchor`; raises UpstreamRefused when it is no linkset."""
    try:
        contexts = items(mapping(json.loads(data)).get("linkset"))
    except (ValueError, RecursionError) as error:
        raise UpstreamRefused("The linkset is not JSON.", code="upstream-not-json") from error
    found: list[Link] = []
    for context in map(mapping, contexts):
        if joined(base, str(context.get("anchor", ""))) != anchor:
            continue
        for relation, targets in context.items():
            if relation != "anchor":
                found += [_target(item, relation, base) for item in items(targets)]
        if len(found) > LINKS:
            break
    return found


def _target(item: Any, relation: str, base: str) -> Link:
    value: Mapping[str, Any] = mapping(item)
    kind, profile = value.get("type"), value.get("profile")
    return Link(
        joined(base, str(value.get("href", ""))),
        relation.lower(),
        kind if isinstance(kind, str) else None,
        profile if isinstance(profile, str) else None,
    )
