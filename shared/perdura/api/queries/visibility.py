"""Who may see which Archive: the one place where it is decided, part of every query that names Archives."""

from __future__ import annotations

from sqlalchemy import ColumnElement, true

from perdura.api.principals import Permission, Principal
from perdura.registry.tables import Archive


def visible_to(principal: Principal) -> ColumnElement[bool]:
    """The condition on `archive` rows that the principal may see; what is not visible does not exist for them."""
    if principal.may(Permission.READ_RESTRICTED):
        return true()
    return Archive.restricted.is_(False)
