"""Operations of the API as values: what routes them, checks them and documents them is read from one place.

A handler is a function whose annotations say what it takes: `call` (the request), `query` and `body` (pydantic
models, checked before it runs), and the variables of its path. What it returns is a pydantic model or a Response.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import Any, Self, get_type_hints
from uuid import UUID

from flask import Request
from pydantic import BaseModel
from sqlalchemy.engine import Connection

from perdura.accounts import rights
from perdura.accounts.principals import Permission, Principal
from perdura.api.services import Services
from perdura.cloudevents.message import CloudEvent
from perdura.registry.jobs import Asker
from perdura.runtime import faults

Handler = Callable[..., Any]


@dataclass
class Call:
    """One request to one operation, its caller known and allowed.

    As a context it is one transaction: committed when it is left, rolled back by an exception.
    """

    request: Request
    principal: Principal
    services: Services
    emitted: list[CloudEvent] = field(default_factory=list)
    """CloudEvents that were put into the outbox by this request; they are sent once it is committed."""
    objects: list[UUID] = field(default_factory=list)
    """Ids of the things that the request is about, for the audit log: those it named, and those it made."""
    detail: dict[str, Any] = field(default_factory=dict)
    """What else the audit log should say of a changing request; never a secret."""
    audited: bool = False
    """Whether it goes into the audit log although its method is a reading one."""
    _transaction: ExitStack = field(default_factory=ExitStack)

    @cached_property
    def connection(self) -> Connection:
        """The transaction's connection; taken from the pool when first used, so that no upstream is awaited on it."""
        return self._transaction.enter_context(self.services.engine.begin())

    def emit(self, events: Iterable[CloudEvent]) -> None:
        """Note events of the outbox for sending."""
        self.emitted.extend(events)

    def made(self, archive_id: UUID) -> None:
        """Note an Archive that this request has made: its caller may see it from now on."""
        rights.own(self.connection, self.principal, archive_id)
        self.objects.append(archive_id)

    @property
    def asker(self) -> Asker:
        """The caller as who asks for a job."""
        return Asker(self.principal.name, self.principal.account, self.principal.told_scopes)

    @property
    def changes(self) -> bool:
        """Whether it may change what is kept."""
        return self.request.method not in {"GET", "HEAD"}

    def __enter__(self) -> Self:
        if self.changes:
            faults.reach("before-effect")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.changes:
            faults.reach("after-effect")
        self._transaction.__exit__(kind, error, trace)
        if self.changes:
            faults.reach("after-commit")


@dataclass(frozen=True)
class Operation:
    """One method of one path. `permission` None means that anybody may call it."""

    method: str
    rule: str
    handler: Handler
    section: str
    permission: Permission | None
    status: int
    query: type[BaseModel] | None
    body: type[BaseModel] | None
    answer: type[BaseModel] | None
    media: tuple[str, ...] = ()
    """Media types of an answer that is not described by a model."""
    variables: tuple[tuple[str, type], ...] = ()
    confidential: bool = False
    """Whether its answer holds a secret, and is not kept for a repetition of the request."""
    conflicts: bool = False
    """Whether a reading operation, too, may be refused for the state of what is read."""

    @property
    def name(self) -> str:
        """The operation id."""
        return self.handler.__name__

    @property
    def summary(self) -> str:
        """First line of the handler's docstring."""
        return inspect.getdoc(self.handler).splitlines()[0] if self.handler.__doc__ else self.name  # type: ignore[union-attr]

    @property
    def description(self) -> str:
        """The rest of the handler's docstring."""
        return "\n".join((inspect.getdoc(self.handler) or "").splitlines()[1:]).strip()


@dataclass
class Section:
    """A group of operations below `/api/v1`, filled by its decorators."""

    name: str
    prefix: str = "/api/v1"
    operations: list[Operation] = field(default_factory=list)

    def get(self, rule: str, **options: Any) -> Callable[[Handler], Handler]:
        """Declare a reading operation."""
        return self._declare("GET", rule, **options)

    def post(self, rule: str, **options: Any) -> Callable[[Handler], Handler]:
        """Declare a changing operation."""
        return self._declare("POST", rule, **options)

    def put(self, rule: str, **options: Any) -> Callable[[Handler], Handler]:
        """Declare a replacing operation."""
        return self._declare("PUT", rule, **options)

    def patch(self, rule: str, **options: Any) -> Callable[[Handler], Handler]:
        """Declare an operation that changes the named members only."""
        return self._declare("PATCH", rule, **options)

    def delete(self, rule: str, **options: Any) -> Callable[[Handler], Handler]:
        """Declare a removing operation."""
        return self._declare("DELETE", rule, **options)

    def _declare(
        self,
        method: str,
        rule: str,
        *,
        permission: Permission | None,
        status: int = 200,
        media: tuple[str, ...] = (),
        confidential: bool = False,
        conflicts: bool = False,
    ) -> Callable[[Handler], Handler]:
        def declare(handler: Handler) -> Handler:
            hints = get_type_hints(handler)
            answer = hints.pop("return", None)
            query, body = hints.pop("query", None), hints.pop("body", None)
            hints.pop("call", None)
            self.operations.append(
                Operation(
                    method=method,
                    rule=self.prefix + rule,
                    handler=handler,
                    section=self.name,
                    permission=permission,
                    status=status,
                    query=query,
                    body=body,
                    answer=answer if isinstance(answer, type) and issubclass(answer, BaseModel) else None,
                    media=media,
                    variables=tuple(hints.items()),
                    confidential=confidential,
                    conflicts=conflicts,
                )
            )
            return handler

        return declare
