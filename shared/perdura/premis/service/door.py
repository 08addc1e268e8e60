"""Who comes, what they may do here and see: decided by the installation, or, without one, by the configured token."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.engine import Connection
from werkzeug.wrappers import Request

from perdura.premis.query import Sight
from perdura.settings import Settings


@dataclass(frozen=True, slots=True)
class Holder:
    """Who sent a request, and what they may. `sight` None sees everything; `principal` is the installation's own."""

    name: str
    reads: bool = False
    writes: bool = False
    sight: Sight | None = None
    principal: Any = None


@dataclass(frozen=True, slots=True)
class Deed:
    """What a request has done, or was denied, for the audit log."""

    action: str
    request: Request
    status: int
    objects: Sequence[str] = ()


class Door(Protocol):
    """What the installation decides and keeps."""

    def holder(self, token: str | None) -> Holder | None:
        """Who holds a token, None if it is not good; without a token the stranger."""
        ...

    def note(self, connection: Connection, holder: Holder, deed: Deed) -> None:
        """Keep a deed in the audit log, in the caller's transaction; not every denial where there are many."""
        ...

    def entry(self, holder: Holder, deed: Deed) -> str | None:
        """The entry of the audit log for a deed that is done, as JSON of its columns; None without such a log."""
        ...


class OwnDoor:
    """The door of a log that stands alone: the administrator's token, good only while no identity provider is set."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def holder(self, token: str | None) -> Holder | None:
        """The administrator, or the stranger; nothing is hidden from either."""
        if token is None:
            return Holder("")
        own = self._settings.admin_token
        if own is None or self._settings.oidc_issuer:
            return None
        same = hmac.compare_digest(token.encode(), own.get_secret_value().encode())
        return Holder("administrator", reads=True, writes=True) if same else None

    def note(self, connection: Connection, holder: Holder, deed: Deed) -> None:
        """A log that stands alone has no audit log: its own rows say who wrote them."""

    def entry(self, holder: Holder, deed: Deed) -> str | None:  # noqa: ARG002
        """None: there is no audit log."""
        return None
