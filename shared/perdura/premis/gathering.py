"""Concurrent writers share statements: what comes while one statement runs is added together by the next.

A commit waits for the disk, and a statement for one event costs PostgreSQL several times what an event of many does.
So no writer waits for more than the statement under way and its own, and a single writer waits for nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError

from perdura.errors import Retryable
from perdura.premis import log
from perdura.premis.log import Stored
from perdura.premis.model import Event
from perdura.premis.packed import packed
from perdura.premis.rows import row
from perdura.prepared import Held

MOST = 200
"""Events that one statement adds."""

T = TypeVar("T")

_gatherings: WeakKeyDictionary[Engine, Gathering] = WeakKeyDictionary()
_making = threading.Lock()


@dataclass(slots=True, eq=False)
class _Waiting(Generic[T]):
    """One event of one writer, what became of it, and the signal that it is done, or that its writer leads."""

    event: Event
    sent: str | None
    shown: str | None
    actor: str
    told: str | None
    noted: str | None
    answer: Callable[[Stored], T]
    woken: threading.Lock = field(default_factory=threading.Lock)
    done: bool = False
    stored: Stored | None = None
    answered: T | None = None
    error: Exception | None = None

    def foresee(self, stored: Stored) -> None:
        """Make the answer."""
        self.answered = self.answer(stored)


class Gathering:
    """Adds single events to the log of one engine, whose statements must each be their own transaction."""

    def __init__(self, engine: Engine) -> None:
        self._held = Held(engine)
        self._lock = threading.Lock()
        self._waiting: list[_Waiting[Any]] = []
        self._led = False

    def add(
        self,
        event: Event,
        *,
        actor: str,
        answer: Callable[[Stored], T],
        sent: str | None = None,
        shown: str | None = None,
        told: str | None = None,
        noted: str | None = None,
    ) -> T | None:
        """Add one event, committed when this returns, and give back what `answer` makes of it; None when it was there.

        `answer` may be called before the event is recorded, and in vain. `sent`, `shown`, `told` and `noted`
        are those of `log.append_one`. Raises what the database raises; nothing is then stored.
        """
        mine = _Waiting(event, sent, shown, actor, told, noted, answer)
        mine.woken.acquire()
        with self._lock:
            self._waiting.append(mine)
            leads = not self._led
            self._led = True
        if not leads:
            mine.woken.acquire()
        if not mine.done:
            self._lead(mine)
        if mine.error is not None:
            raise mine.error
        if mine.stored is None:
            return None
        if mine.answered is None:
            mine.foresee(mine.stored)
        return mine.answered

    def _lead(self, mine: _Waiting[Any]) -> None:
        """Add everything that waits, my own first among it; then wake those it was of, and a next leader."""
        with self._lock:
            taken, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        try:
            self._record(taken)
        except BaseException:
            for each in taken:
                each.error = each.error or Retryable("The event was not recorded: the process ends.")
            raise
        finally:
            with self._lock:
                follower = self._waiting[0] if self._waiting else None
                self._led = follower is not None
            for each in taken:
                each.done = True
                if each is not mine:
                    each.woken.release()
            if follower is not None:
                follower.woken.release()

    def _record(self, waiting: Sequence[_Waiting[Any]]) -> None:
        for actor in dict.fromkeys(each.actor for each in waiting):
            of_actor = [each for each in waiting if each.actor == actor]
            if len(of_actor) > 1 and self._together(of_actor, actor):
                continue
            for each in of_actor:
                self._alone(each)

    def _together(self, waiting: Sequence[_Waiting[Any]], actor: str) -> bool:
        """Whether several events were added at once; if not, nothing was."""
        now = datetime.now(UTC)
        told = [f'{{"id":"{each.event.id}","event":{each.told}}}' for each in waiting if each.told]
        noted = [f'{{"number":{number},{each.noted[1:]}' for number, each in enumerate(waiting, 1) if each.noted]
        rows = [row(each.event, sent=each.sent, shown=each.shown, recorded_at=now, actor=actor) for each in waiting]
        try:
            taken = log.append_packed(
                self._held,
                packed(rows),
                actor=actor,
                recorded_at=now,
                told=f"[{','.join(told)}]" if told else None,
                noted=f"[{','.join(noted)}]" if noted else None,
            )
        except DBAPIError:
            return False
        for position, each in enumerate(waiting):
            each.stored = None if position in taken else log.fresh(each.event, rows[position], now)
        return True

    def _alone(self, waiting: _Waiting[Any]) -> None:
        try:
            waiting.stored = log.append_one(
                self._held,
                waiting.event,
                actor=waiting.actor,
                sent=waiting.sent,
                shown=waiting.shown,
                told=waiting.told,
                noted=waiting.noted,
                meanwhile=waiting.foresee,
            )
        except Exception as error:
            waiting.error = error


def gathering(engine: Engine) -> Gathering:
    """The gathering of an engine, the same for all its threads."""
    with _making:
        found = _gatherings.get(engine)
        if found is None:
            found = _gatherings[engine] = Gathering(engine)
        return found
