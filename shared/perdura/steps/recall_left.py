"""Calls off the requests that cancelled recalls left at the tape system, and removes what they had read."""

from __future__ import annotations

import logging
from datetime import timedelta

from perdura.errors import PerduraError, Rejected
from perdura.ports import LeftRecall, Ports, TapeSystem
from perdura.premis.model import Event
from perdura.steps.recall import Recall, taken_up, target_of
from perdura.steps.recall_events import failed
from perdura.steps.recall_reading import give_up
from perdura.steps.recall_request import done_or_over, let_go

log = logging.getLogger(__name__)
MOST = 50
"""Recalls called off in one round."""


def call_off(left: LeftRecall, tape: TapeSystem, ports: Ports) -> tuple[bool, Event | None]:
    """Whether nothing is left of a recall, and the event that tells so; asking again changes nothing.

    While the tape system or the store does not answer, something is left, until the patience with them has run out.
    """
    now = ports.clock.now()
    try:
        found = taken_up(left.archive)
    except Rejected as error:
        log.warning("a cancelled recall: %s", error.message, extra={"archive": left.archive.id})
        return True, None
    end = "nothing is left of it"
    try:
        _withdrawn(found, tape, ports)
    except PerduraError as error:
        log.warning("a cancelled recall: %s", error.message, extra={"archive": left.archive.id})
        if now - left.since <= timedelta(days=ports.settings.tape_patience_days):
            return False, None
        end = f"what is left of it is not known: {error.message}"
    message = f"called off by {left.by or 'a person'}; stage request {found.request}; {end}"
    return True, failed(found.archive, found.aip, now, found.copy.uri, "cancelled", message)


def _withdrawn(found: Recall, tape: TapeSystem, ports: Ports) -> None:
    request, paths = str(found.request), [found.path]
    let_go(tape, request, paths)
    if found.reading.upload is not None:
        done_or_over(lambda: give_up(target_of(found, ports), found.reading, ports))
