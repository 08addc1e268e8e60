"""The plan of a harvest in the store: written once an attempt, read by whoever goes on with it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

from perdura.clients.http import HttpClient
from perdura.errors import Broken, NotStored
from perdura.outcome import ArchiveView
from perdura.ports import Ports
from perdura.sources.plan import Capture, Plan, from_value, to_value
from perdura.sources.protocols import Upstream
from perdura.sources.warc import landing_page
from perdura.storage.store import ObjectRef

REPLANS = 3
"""Times a harvest begins anew because its record changed meanwhile."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A plan in the store. `generation` counts the plans of an Archive that differ: each fills a prefix of its own,
    so that no file of an older one is ever left in a SIP."""

    plan: Plan
    attempt: int
    generation: int

    @property
    def fingerprint(self) -> str:
        """Same for plans that lead to the same files."""
        content = [
            (f.key, f.path) if f.made_anew else (f.key, f.url, f.path, f.size, sorted(f.checksums.items()))
            for f in self.plan.files
        ]
        text = json.dumps([self.plan.source, self.plan.recid, self.plan.revision, content])
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def folder(self) -> str:
        """Name of the SIP's prefix below the Archive's."""
        return "sip" if self.generation == 1 else f"sip-{self.generation}"


class RecordChanged(Exception):
    """The upstream's record is no longer the one that was planned."""


def _plan_key(archive: ArchiveView) -> str:
    return f"{archive.id}/plan.json"


def planned(archive: ArchiveView, ports: Ports, upstream: Upstream) -> Stored:
    """The stored plan of this attempt, or a new one. A new plan that leads to other files begins a new generation."""
    before = _read_plan(archive, ports)
    replans = int(archive.step.checkpoint.get("replans", 0))
    attempt = archive.step.attempt * (REPLANS + 1) + replans
    # A plan of closed files is only good for one look: the embargo may be over at the next.
    if before is not None and before.attempt == attempt and before.plan.closed is None:
        return before
    ports.progress("plan", 0, None)
    plan = upstream.plan()
    if archive.step.input.get("warc") and upstream.client is not None:
        plan = _with_page(plan, upstream.client)
    stored = Stored(plan, attempt, before.generation if before else 1)
    if before is not None and before.fingerprint != stored.fingerprint:
        stored = Stored(plan, attempt, before.generation + 1)
    wrapped = {"attempt": attempt, "generation": stored.generation, "plan": to_value(plan)}
    data = json.dumps(wrapped, ensure_ascii=False).encode("utf-8", "surrogatepass")
    ports.store.put(ports.settings.bucket_sips, _plan_key(archive), data, content_type="application/json")
    return stored


def _with_page(plan: Plan, client: HttpClient) -> Plan:
    answer, data = landing_page(client, plan.url)
    page = replace(Capture.of(answer, "landing-page.warc"), body=data)
    return replace(plan, captures=(*plan.captures, page))


def _read_plan(archive: ArchiveView, ports: Ports) -> Stored | None:
    try:
        data = ports.store.read(ObjectRef(ports.settings.bucket_sips, _plan_key(archive)))
    except NotStored:
        return None
    try:
        wrapped = json.loads(data)
        return Stored(from_value(wrapped["plan"]), int(wrapped["attempt"]), int(wrapped["generation"]))
    except (ValueError, KeyError, TypeError) as error:
        raise Broken("The stored plan of this harvest cannot be read.") from error


def check_unchanged(plan: Plan, upstream: Upstream) -> None:
    """Raise RecordChanged when the upstream says another revision than the plan was made of."""
    if upstream.revision is not None and plan.revision is not None and upstream.revision() != plan.revision:
        raise RecordChanged
