"""Which function emits a CloudEvent type and which acts on it: what Triggers are held against (architecture §4).

Tests compare the takers with the functions, and the emitters with what functions say in their logs that they emitted.
"""

from __future__ import annotations

from dataclasses import dataclass

from perdura.cloudevents.catalogue import CATALOGUE

CATCH_ALL = "premis-log"
"""The function that takes every type: what is neither routed nor a fact, and what could not be delivered."""

TICKED = frozenset({"relay", "archive-cta", "preserve"})
"""Functions that do something at a tick."""

_WORKERS = frozenset({"harvest", "ingest", "preserve", "archive-cta", "publish"})
"""Functions that run steps. Which step follows which is data: each may ask for any."""

_ANYBODY = _WORKERS | {"registry", "relay"}

_STEP = "a request names its step, and a step that is done is not done again"


@dataclass(frozen=True, slots=True)
class Route:
    """The functions at both ends of a type.

    `ends` says why it comes to an end where a function that emits the type takes it too; without it that is a loop.
    """

    emitters: frozenset[str]
    takers: frozenset[str] = frozenset()
    ends: str = ""


def _of(thing: str) -> str:
    return f"org.perdura.{thing}.v1"


def _step(taker: str, emitters: frozenset[str] = _ANYBODY) -> Route:
    return Route(emitters, frozenset({taker}), _STEP)


ROUTES: dict[str, Route] = {
    _of("harvest.requested"): _step("harvest"),
    _of("harvest.run.requested"): Route(
        frozenset({"registry", "relay", "harvest"}),
        frozenset({"harvest"}),
        "each listing goes on where the one before ended, until the source has no more",
    ),
    _of("ingest.requested"): _step("ingest"),
    _of("preserve.requested"): _step("preserve"),
    _of("preserve.outsized.requested"): Route(
        frozenset({"preserve"}),
        frozenset({"preserve"}),
        "a Job hands nothing to a Job, and a step is handed over thrice",
    ),
    _of("archive.requested"): _step("archive-cta"),
    _of("recall.requested"): _step("archive-cta"),
    _of("publish.requested"): _step("publish"),
    _of("notify.requested"): _step("publish"),
    _of("withdraw.requested"): _step("publish"),
    _of("fixity.requested"): Route(frozenset({"aip-gateway", "archive-cta"}), frozenset({"preserve"})),
    _of("verify.requested"): _step("preserve"),
    _of("premis.record.requested"): Route(frozenset(), frozenset({CATCH_ALL})),
    _of("sip.created"): Route(frozenset({"harvest"})),
    _of("sip.accepted"): Route(frozenset({"ingest"}), frozenset({"publish"})),
    _of("sip.rejected"): Route(frozenset({"ingest"})),
    _of("aip.created"): Route(frozenset({"preserve"}), frozenset({"publish"})),
    _of("aip.archived"): Route(frozenset({"archive-cta"}), frozenset({"publish"})),
    _of("aip.recalled"): Route(frozenset({"archive-cta"})),
    _of("dip.published"): Route(frozenset({"publish"})),
    _of("archive.withdrawn"): Route(
        frozenset({"publish"}), frozenset({"publish"}), "a withdrawal is told of once, and telling withdraws nothing"
    ),
    _of("fixity.failed"): Route(frozenset({"preserve", "archive-cta"})),
    _of("step.failed"): Route(
        _WORKERS,
        frozenset({"publish"}),
        "Sources are told of failures before publication only, never of those of publish",
    ),
    _of("archive.completed"): Route(
        _WORKERS, frozenset({"publish"}), "an Archive is completed once, and told of once; telling completes nothing"
    ),
    _of("premis.recorded"): Route(_WORKERS | {CATCH_ALL, "aip-gateway"}),
}


FUNCTIONS = frozenset[str]().union(*(route.emitters | route.takers for route in ROUTES.values())) | TICKED
"""Every function that has to do with CloudEvents."""


def takes(function: str, event_type: str) -> bool:
    """Whether a function of ours does something on a type; of types that are not in the catalogue nothing is known."""
    return function == CATCH_ALL or event_type not in CATALOGUE or function in ROUTES[event_type].takers


def goes_round(function: str, event_type: str) -> bool:
    """Whether a function that is given this type would get what it emits itself, without an end to it."""
    route = ROUTES.get(event_type)
    return route is not None and function in route.emitters and not (route.ends and function in route.takers)
