"""Asking a server for many things in one request, so that one of them that spoils the answer is told apart."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from perdura.errors import PerduraError
from perdura.ports import Deadline

Told = TypeVar("Told")
IN_VAIN = 17
"""Requests that may fail before anything is told."""
FAILURES = 40
"""Requests that may fail in all. With both, five things that spoil an answer are found among two hundred."""


def told_together(
    items: Sequence[str],
    ask: Callable[[Sequence[str]], Mapping[str, Told]],
    untold: Callable[[str, str], Told],
    spoilt: Callable[[PerduraError], bool],
    deadline: Deadline | None = None,
) -> dict[str, Told]:
    """What `ask` tells of `items`, asked for in one request.

    Where that fails by an answer that is `spoilt`, halves are asked for, and halves of these, until what spoils it is
    found, or the deadline is near; that, and what an answer left out, comes as `untold` with a sentence why. Raises
    what `ask` raises where nothing is told at all: then the server is at fault.
    """
    told: dict[str, Told] = {}
    failures, said = 0, "it is not in the answer"
    last: PerduraError | None = None
    left = deque([items] if items else [])
    while left and failures < FAILURES:
        if told and failures and deadline is not None and deadline.near():
            said = "no time was left to ask for it"
            break
        # Straight to the smallest until one is told, then the largest first: most is told when time is over.
        part = left.popleft() if told else left.pop()
        try:
            told |= ask(part)
        except PerduraError as error:
            failures, said, last = failures + 1, error.message, error
            over = not spoilt(error) or (deadline is not None and deadline.near())
            if over or (not told and failures >= IN_VAIN):
                break
            half = len(part) // 2
            left.extend(each for each in (part[:half], part[half:]) if half and each)
    if last is not None and not told:
        raise last
    return {item: told[item] if item in told else untold(item, said) for item in items}
