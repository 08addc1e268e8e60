"""Tape: what is on its way there and back, and what waits for a person."""

from __future__ import annotations

from flask import Response

from perdura.accounts.principals import Permission
from perdura.api import presentation
from perdura.api.queries import tape_steps
from perdura.web.visit import Visit

SHOWN = 50


def show(visit: Visit) -> Response:
    """Steps of the tape system that are under way, and those that ended last."""
    visit.require(Permission.READ)
    settings = visit.services.settings
    under_way = tape_steps.under_way(visit.connection, visit.principal, SHOWN + 1)
    return visit.page(
        "tape.html",
        configured=settings.tape_fts_url is not None,
        paused=settings.tape_paused,
        status_url=settings.tape_status_url,
        under_way=[(row, presentation.step(row)) for row in under_way[:SHOWN]],
        more=len(under_way) > SHOWN,
        recalled=[
            (row, presentation.step(row)) for row in tape_steps.recalls(visit.connection, visit.principal, SHOWN)
        ],
    )
