"""Looks that a step takes itself, right after it asked a tape system that is a fast one: nobody waits for a tick."""

from __future__ import annotations

from collections.abc import Sequence

from perdura.settings import Settings

FAST = 1.0
"""A tape system that may be asked again after so many seconds counts as fast."""
PAUSES = (0.25, 0.4)


def pauses(settings: Settings) -> Sequence[float]:
    """Seconds to wait before each such look; none where the tape system is a slow one."""
    return PAUSES if settings.tape_poll_seconds <= FAST else ()
