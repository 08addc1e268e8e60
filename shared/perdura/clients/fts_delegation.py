"""Delegation: FTS gets a proxy of our certificate and keeps it fresh while jobs are open (fts-cta.md 2.4)."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from perdura.clients.fts import FtsClient
from perdura.clients.fts_answers import FtsRefused, Identity, said
from perdura.clients.tape_x509 import Robot, sign_proxy

log = logging.getLogger(__name__)
LIFETIME = timedelta(hours=48)
RENEW_BELOW = timedelta(hours=36)
"""Delegated anew at every look that finds less than this: a missed run costs nothing."""


class ProxyDelegator:
    """Delegates for one robot certificate."""

    def __init__(self, robot: Robot, lifetime: timedelta = LIFETIME) -> None:
        self.robot, self._lifetime = robot, lifetime

    def delegate(self, client: FtsClient, identity: Identity) -> None:
        """Give FTS a new proxy; raises FtsUnavailable or FtsRefused."""
        there = f"/delegation/{identity.delegation_id}"
        asked = client.request("GET", f"{there}/request")
        if asked.status_code != 200:
            raise FtsRefused(f"FTS gives no certificate request: {said(asked)}", asked.status_code)
        proxy = sign_proxy(self.robot, asked.content, self._lifetime)
        put = client.request(
            "PUT", f"{there}/credential", content=proxy, headers={"Content-Type": "application/x-pem-file"}
        )
        if put.status_code != 201:
            raise FtsRefused(f"FTS refuses our proxy: {said(put)}", put.status_code)
        log.info("delegated a proxy of %s to FTS", self.robot.dn)

    def keep_fresh(self, client: FtsClient, now: datetime | None = None) -> datetime:
        """Delegate when the proxy at FTS is missing or runs out soon; gives back when the present one ends.

        To be called on a timer while any job is unfinished: archive monitoring stops without a proxy.
        """
        now = now or datetime.now(UTC)
        identity = client.identity()
        ends = termination(client, identity)
        if ends is None or ends - now < RENEW_BELOW:
            self.delegate(client, identity)
            ends = termination(client, identity)
        return ends or now


def termination(client: FtsClient, identity: Identity) -> datetime | None:
    """When the proxy at FTS ends; None when there is none (FTS answers `[]` or `null`)."""
    answer = client.request("GET", f"/delegation/{identity.delegation_id}")
    try:
        found = answer.json()
        return datetime.fromisoformat(found["termination_time"]).replace(tzinfo=UTC)
    except (ValueError, TypeError, KeyError):
        return None
