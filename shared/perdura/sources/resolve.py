"""What a harvest would fetch, shown before anything is fetched (`POST /api/v1/harvests/resolve`)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from perdura.clients.http import Budget
from perdura.errors import Rejected
from perdura.settings import Settings
from perdura.sources.catalogue import recognise
from perdura.sources.plan import Moved, Plan
from perdura.sources.profile import Profile
from perdura.sources.protocols import connected
from perdura.storage.store import Store

MOVES = 3
"""How often a record may say that it lives elsewhere (a DOI, an old address of a moved repository)."""


def preview(
    text: str,
    settings: Settings,
    *,
    store: Store | None = None,
    token: Callable[[str], str | None] | None = None,
    budget: Callable[[Profile], AbstractContextManager[Budget | None]] | None = None,
) -> Plan:
    """Recognise a URL, DOI or id, ask the upstream what is there, and say what a harvest would do. Nothing is stored.

    What a repository would have to make first (GitLab's export) is not in it. `token` gives the credential for a
    source, `budget` what its hosts allow. Raises UnknownSource, UpstreamRefused (not found, deleted, closed) and
    UpstreamUnavailable.
    """
    for _ in range(MOVES + 1):
        record = recognise(text, settings)
        secret = token(record.source) if token else None
        with (
            budget(record.profile) if budget else nullcontext() as allowed,
            connected(record, settings, store=store, token=secret, budget=allowed, look_only=True) as upstream,
        ):
            try:
                return upstream.plan()
            except Moved as moved:
                text = moved.url
    raise Rejected("The record says too often that it lives elsewhere.", code="upstream-redirect")
