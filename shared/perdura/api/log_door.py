"""The door of the PREMIS log: who writes and reads there, what is hidden from them, and the audit log of both."""

from __future__ import annotations

import json
from functools import lru_cache

from sqlalchemy import not_, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from perdura.accounts import audit, rights
from perdura.accounts.audit import DENIED, DONE, Act
from perdura.accounts.principals import ANONYMOUS, Permission, Principal
from perdura.api import limits
from perdura.api.addresses import address_of
from perdura.api.authentication import holder_of
from perdura.api.problems import Problem
from perdura.api.services import Services
from perdura.premis.query import Sight
from perdura.premis.service.door import Deed, Holder
from perdura.registry.tables import Archive

_encode = json.JSONEncoder(default=str).encode
_DIALECT = postgresql.dialect(paramstyle="format")  # type: ignore[no-untyped-call]


class LogDoor:
    """Tokens of all kinds count there, never a cookie: its pages are of another origin, without tokens in forms."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def holder(self, token: str | None) -> Holder | None:
        """Who holds a token of ours, of the identity provider, or the administrator's; a stranger without one.

        Raises UpstreamUnavailable when the provider's keys are needed and cannot be had.
        """
        principal = ANONYMOUS if token is None else holder_of(token, self._services)
        if principal is None:
            return None
        return Holder(
            principal.name,
            reads=principal.may(Permission.READ),
            writes=principal.may(Permission.OPERATE),
            sight=sight_of(principal),
            principal=principal,
        )

    def note(self, connection: Connection, holder: Holder, deed: Deed) -> None:
        """Keep a deed in the audit log; denials only as many as an address may get in a minute."""
        act = self._act(deed, DENIED if deed.status in {401, 403} else DONE)
        if act.outcome == DENIED:
            try:
                limits.spend(ANONYMOUS, act.address, self._services)
            except Problem:
                return
        audit.record(connection, holder.principal or ANONYMOUS, act)

    def entry(self, holder: Holder, deed: Deed) -> str | None:
        """The entry of a deed that is done, as JSON."""
        return _encode(audit.columns(holder.principal or ANONYMOUS, self._act(deed, DONE)))

    def _act(self, deed: Deed, outcome: str) -> Act:
        request, address = deed.request, address_of(deed.request, self._services.settings)
        return Act(deed.action, outcome, request.method, request.path, deed.status, deed.objects, address=address)


def sight_of(principal: Principal) -> Sight | None:
    """What somebody may not see of the log, None if they may see everything: the rule of `accounts.rights`."""
    if principal.may(Permission.READ_RESTRICTED):
        return None
    return _sight(principal)


@lru_cache(maxsize=256)
def _sight(principal: Principal) -> Sight:
    hidden = select(Archive.id).where(Archive.restricted, not_(rights.visible_archives(principal)))
    compiled = hidden.compile(dialect=_DIALECT)
    return Sight(str(compiled), tuple(compiled.params[name] for name in compiled.positiontup or ()))
