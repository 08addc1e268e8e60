"""Writes the audit log of the API and the pages: what was done, in its own transaction, and what was denied."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from flask import Request
from sqlalchemy.exc import SQLAlchemyError

from perdura.accounts import audit, rights
from perdura.accounts.audit import DENIED, DONE, Act
from perdura.accounts.principals import LOCAL_ADMINISTRATOR, Principal, Role
from perdura.api.addresses import address_of
from perdura.api.naming import Hidden, SomebodyElses
from perdura.api.operations import Call
from perdura.api.problems import Problem
from perdura.api.services import Services
from perdura.api.sessions import SAFE_METHODS

_log = logging.getLogger("perdura.accounts")
_EVERYTHING = Principal("", frozenset({Role.ADMINISTRATOR}), "nothing", LOCAL_ADMINISTRATOR)


def done(call: Call, action: str, status: int) -> None:
    """Record a changing act in its transaction, or that a page has refused it."""
    request = call.request
    if request.method in SAFE_METHODS and not call.audited:
        return
    outcome = DENIED if status in {401, 403} else DONE
    act = Act(
        action, outcome, request.method, request.path, status, (str(identifier) for identifier in call.objects),
        call.detail, address_of(request, call.services.settings),
    )  # fmt: skip
    audit.record(call.connection, call.principal, act)


def denied(
    request: Request,
    services: Services,
    principal: Principal,
    action: str,
    problem: Problem,
    variables: Mapping[str, Any],
) -> None:
    """Record a refusal for want of a right; a 404 is one for what is hidden or another's alone.

    It is about what the `variables` of the path name, or what is hidden.
    """
    objects = tuple(str(value) for value in variables.values() if isinstance(value, UUID))
    try:
        with services.engine.begin() as connection:
            if isinstance(problem, Hidden):
                named = [(missing.thing, missing.id) for missing in problem.missing]
                hidden = rights.visible(connection, _EVERYTHING, named)
                objects = tuple(str(identifier) for _, identifier in hidden)
                if not objects:
                    return
            elif isinstance(problem, SomebodyElses):
                objects = (str(problem.id),)
            elif problem.status not in {401, 403}:
                return
            act = Act(
                action, DENIED, request.method, request.path, problem.status, objects,
                {"reason": problem.code}, address_of(request, services.settings),
            )  # fmt: skip
            audit.record(connection, principal, act)
    except SQLAlchemyError as error:
        _log.error("a denied act could not be recorded: %s", type(error).__name__)
