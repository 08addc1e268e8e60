"""What a request may use of the outside world; the process's environment provides it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy.engine import Engine
from werkzeug.wrappers import Response

from perdura.cloudevents.message import CloudEvent
from perdura.settings import Settings
from perdura.storage.store import Store


class Emission(Protocol):
    """Sends CloudEvents of the outbox once a response is on its way."""

    def after_response(self, response: Response, events: Sequence[CloudEvent]) -> Response:
        """Emit `events` when `response` has been sent."""
        ...


class Services(Protocol):
    """Settings, database, object store and the way to the broker."""

    @property
    def settings(self) -> Settings:
        """The settings of this process."""
        ...

    @property
    def engine(self) -> Engine:
        """The database."""
        ...

    @property
    def store(self) -> Store:
        """The object store."""
        ...

    @property
    def emitter(self) -> Emission:
        """The way to the broker."""
        ...
