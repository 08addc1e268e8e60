"""Ends requests for files on the tape system's disk that nobody needs any more: what they hold can be evicted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from perdura.errors import Broken, NotStored
from perdura.ports import TapeSystem

log = logging.getLogger(__name__)


def let_go(tape: TapeSystem, request: str, paths: Sequence[str]) -> None:
    """Withdraw a stage request and release what it brought to disk; doing it again changes nothing.

    Raises Retryable when the tape system does not answer.
    """
    done_or_over(lambda: tape.unstage(request, paths))
    done_or_over(lambda: tape.release(request, paths))


def done_or_over(act: Callable[[], None]) -> None:
    """Do something that may have been done before; what cannot be had any more needs no end."""
    try:
        act()
    except (NotStored, Broken) as error:
        log.info("nothing to be called off: %s", error.message)
