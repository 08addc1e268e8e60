"""From a recognised record to its upstream: who plans, who is asked for the revision, where the bytes come from."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

from perdura.clients.http import Budget, HttpClient
from perdura.errors import Rejected
from perdura.settings import Settings
from perdura.sources import (
    codimd,
    doi,
    folder,
    gitlab,
    indico,
    inveniordm,
    marcxml,
    oai_record,
    opendata,
    prefix,
    signposting,
)
from perdura.sources.catalogue import Recognised
from perdura.sources.git_bundle import GitOrigin
from perdura.sources.gitlab_export import Drop, ExportOrigin
from perdura.sources.origin import Origin
from perdura.sources.plan import Plan
from perdura.storage.store import Store

Planner = Callable[[Recognised, HttpClient], Plan]
Revision = Callable[[Recognised, HttpClient], str | None]

PLANNERS: Mapping[str, Planner] = MappingProxyType(
    {
        "inveniordm": inveniordm.plan,
        "marcxml": marcxml.plan,
        "opendata": opendata.plan,
        "indico": indico.plan,
        "gitlab": gitlab.plan,
        "codimd": codimd.plan,
        "oai-pmh": oai_record.plan,
        "signposting": signposting.plan,
        "doi": doi.plan,
    }
)
"""One planner per protocol that is spoken over HTTP."""

REVISIONS: Mapping[str, Revision] = MappingProxyType(
    {
        "inveniordm": inveniordm.current_revision,
        "marcxml": marcxml.current_revision,
        "opendata": opendata.current_revision,
        "gitlab": gitlab.current_revision,
    }
)
"""Protocols that say with one request which revision a record has now."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """One record within reach: `plan` may raise Moved and Preparing; `revision` is None where nobody can tell."""

    origin: Origin
    plan: Callable[[], Plan]
    revision: Callable[[], str | None] | None = None
    client: HttpClient | None = None
    """Reads pages of the source, where it is spoken to over HTTP."""


@contextmanager
def connected(
    record: Recognised,
    settings: Settings,
    *,
    store: Store | None = None,
    token: str | None = None,
    budget: Budget | None = None,
    drop: Drop | None = None,
    withheld: prefix.Withheld | None = None,
    look_only: bool = False,
) -> Iterator[Upstream]:
    """The upstream of a record, for as long as the context lasts. `drop` is where GitLab may put an export.

    With `look_only` nothing is asked for that the upstream would have to make first.

    `withheld` says which objects of the drop zone are not there for whoever asked.

    Raises Rejected when a folder or prefix may not be harvested.
    """
    protocol = record.profile.protocol
    if protocol == "folder":
        path = folder.allowed(record.recid, settings)
        yield Upstream(folder.FolderOrigin(path), lambda: folder.plan(path, record.source))
    elif protocol == "prefix":
        bucket, below = prefix.allowed(record.recid, settings)
        if store is None:
            raise Rejected("A prefix is listed only while it is harvested.", code="unknown-source")
        objects = store
        yield Upstream(
            prefix.StoreOrigin(objects), lambda: prefix.plan(objects, bucket, below, record.source, withheld)
        )
    elif protocol == "gitlab":
        with (
            client_for(record, settings, token=token, budget=budget) as client,
            client_for(record, settings, token=token, budget=budget, basic=True) as git,
        ):
            yield Upstream(
                ExportOrigin(GitOrigin(client, git), drop),
                lambda: gitlab.plan(record, client, git, drop, look_only=look_only),
                lambda: gitlab.current_revision(record, client),
                client,
            )
    else:
        with client_for(record, settings, token=token, budget=budget) as client:
            ask = REVISIONS.get(protocol)
            yield Upstream(
                client,
                lambda: PLANNERS[protocol](record, client),
                None if ask is None else lambda: ask(record, client),
                client,
            )


def client_for(
    record: Recognised,
    settings: Settings,
    *,
    token: str | None = None,
    budget: Budget | None = None,
    basic: bool = False,
) -> HttpClient:
    """A client that reaches the hosts of this record's source, with credentials for its base address only.

    `basic` sends the token as the password of `oauth2`, as GitLab's Git server wants it.
    """
    profile = record.profile
    credentials = {}
    if token and basic:
        credentials = {"Authorization": f"Basic {b64encode(f'oauth2:{token}'.encode()).decode()}"}
    elif token and profile.auth == "bearer":
        credentials = {"Authorization": f"Bearer {token}"}
    elif token and profile.auth == "cookie" and profile.cookie:
        credentials = {"Cookie": f"{profile.cookie}={token}"}
    return HttpClient(
        profile.reach(record.base_url, settings),
        user_agent=settings.harvest_user_agent,
        credentials=credentials,
        credentials_origin=record.base_url,
        budget=budget,
        connections=profile.concurrency,
    )
