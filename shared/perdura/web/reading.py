"""One request of a reader of the access pages."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from flask import Request, Response
from sqlalchemy.engine import Connection

from perdura.api.queries.rows import AnyRow
from perdura.api.services import Services
from perdura.settings import Settings
from perdura.storage.store import Store
from perdura.web.description import Description, describe
from perdura.web.language import language_headers
from perdura.web.templates import render


@dataclass
class Reading:
    """A request for published material; as a context it is one transaction."""

    request: Request
    services: Services
    _transaction: ExitStack = field(default_factory=ExitStack)

    @cached_property
    def connection(self) -> Connection:
        """The transaction's connection, taken when first used."""
        return self._transaction.enter_context(self.services.engine.begin())

    @property
    def settings(self) -> Settings:
        """The settings of this process."""
        return self.services.settings

    @property
    def store(self) -> Store:
        """The object store."""
        return self.services.store

    @property
    def root(self) -> str:
        """Address of the access pages, without a slash at its end."""
        return self.settings.access_url.rstrip("/")

    def archive_url(self, archive_id: UUID) -> str:
        """Address of the landing page of an Archive."""
        return f"{self.root}/archives/{archive_id}"

    def describe(self, row: AnyRow) -> Description:
        """What a published Archive is about."""
        return describe(row, self.archive_url(row.id), self.settings.organisation)

    def page(self, template: str, **context: Any) -> Response:
        """A rendered page."""
        body = render(template, organisation=self.settings.organisation, **context)
        return Response(body, mimetype="text/html", headers={"Cache-Control": "no-cache", **language_headers()})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transaction.__exit__(kind, error, trace)
