"""Readiness: whether the database has the schema that this revision needs.

Knative gives a new revision its share of requests when a pod of it is ready, so what is not brought to its schema, or
cannot log in, gets none, and the revision before goes on. Once it was so it stays so: schemas only grow, and a pod that
left the traffic whenever the database is away would take all others with it. What is away then is said by each answer
(503, to be sent again), not by the probe.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import cache

_log = logging.getLogger(__name__)

WAIT = 0.3
"""Seconds that one probe waits for a look at the database; Kubernetes waits for a second."""

AGAIN = 1.0
"""Seconds between two looks, however often is asked."""


class Readiness:
    """Looks at the schema, in a thread of its own and one look at a time, until it is there; never again then."""

    def __init__(
        self, schema: Callable[[], str | None], needed: str, *, wait: float = WAIT, again: float = AGAIN
    ) -> None:
        self._schema, self._needed, self._wait, self._again = schema, needed, wait, again
        self._lock, self._ready = threading.Lock(), threading.Event()
        self._looking, self._next, self._reason = False, 0.0, ""

    def ready(self) -> bool:
        """Whether requests can be worked on; answers within `wait` seconds whatever the database does."""
        if self._ready.is_set():
            return True
        with self._lock:
            if not self._looking and time.monotonic() >= self._next:
                self._looking = True
                threading.Thread(target=self._look, name="readiness", daemon=True).start()
        return self._ready.wait(self._wait)

    def _look(self) -> None:
        try:
            found = self._schema()
            reason = f"the schema is at {found}, this version needs {self._needed}"
            if found is not None and found >= self._needed:
                self._ready.set()
                return
        except Exception as error:
            reason = f"the database cannot be asked: {type(error).__name__}"
        finally:
            with self._lock:
                self._looking, self._next = False, time.monotonic() + self._again
        if reason != self._reason:
            self._reason = reason
            _log.warning("not ready: %s", reason)


@cache
def readiness() -> Readiness:
    """That of this process."""
    from perdura.registry.migrate import HEAD  # a probe of liveness needs no database

    return Readiness(_schema, HEAD)


def _schema() -> str | None:
    from perdura.registry.migrate import current
    from perdura.runtime.environment import environment

    with environment().engine.connect() as connection:
        return current(connection)
