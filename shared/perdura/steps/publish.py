"""publish: an AIP becomes findable and usable at every destination that is meant for it.

Each destination is published on by itself: what fails at one does not keep another from its record, and a step that is
run again finds what was done and does it not twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from perdura.clients.destinations import ACCESS_PAGES, WHERE_PUBLISHED, Destination, access_configuration
from perdura.clients.inveniordm.wire import Wire
from perdura.errors import Broken, PerduraError, Rejected, Retryable
from perdura.outcome import ArchiveView, Fact, Finding, Outcome, Package, PackageKind, StepState
from perdura.ports import Ports
from perdura.steps import publish_invenio, publish_pages
from perdura.steps.publish_decided import may_begin
from perdura.steps.publish_result import Result, failed

DONE = "done"
"""Key in the checkpoint: what was told of destinations that are reached, by their ids."""

FAILED = "failed"
"""Key in the checkpoint: what failed at destinations while others are waited for, and when, by their ids."""

AGAIN = timedelta(hours=1)
"""Until a destination that failed is asked again while others are waited for, which may take weeks."""

SOON = 30.0
"""Seconds until a destination is asked again that does not say itself when to come back."""

Connect = Callable[[Destination], Wire]


def connect(destination: Destination) -> Wire:
    """A connection to the InvenioRDM of a destination; raises Broken when its token is missing."""
    token = destination.token.read() if destination.token else ""
    return Wire(destination.url, token, upload_hosts=destination.upload_hosts, verify=destination.ca or True)


def run(archive: ArchiveView, ports: Ports, connect: Connect = connect) -> Outcome:
    """Publish the Archive's AIP at its destinations.

    Input: `where` "published" brings what was decided anew to the access systems where the Archive is already, and
    publishes it nowhere else.

    What was reached is recorded while another destination has to be asked again later, or needs more than this
    invocation, and is not done again in this step. What fails meanwhile is told and tried again now and then; it is
    recorded when the step ends.
    Raises Broken when there is no AIP, Retryable when nothing more was reached and one has to be asked again.
    """
    aip = archive.package(PackageKind.AIP)
    if aip is None:
        raise Broken("There is no AIP to publish.", code="no-aip")
    done: Mapping[str, Any] = archive.step.checkpoint.get(DONE, {})
    destinations, results = _meant(archive, aip, ports)
    for destination in destinations:
        if destination.id in done:
            results.append(Result(destination.id, output=done[destination.id]))
        else:
            results.append(_result(archive, aip, destination, ports, connect))
    later = next((result.later for result in results if result.later is not None), None)
    at_once = any(result.goes_on for result in results)
    if later is None and not at_once and not any(result.look_at is not None for result in results):
        return _outcome(archive, results)
    checkpoint = _checkpoint(archive, results, ports)
    before = {name: archive.step.checkpoint.get(name, {}) for name in checkpoint}
    unfinished = [_as_far(result) for result in results if result.error is None or result.packages]
    if later is not None and checkpoint == before and not any(result.packages for result in unfinished):
        raise later
    outcome = replace(_outcome(archive, unfinished), checkpoint=checkpoint, **_told(results, later))
    if later is not None:
        soon = ports.clock.now() + timedelta(seconds=later.retry_after or SOON)
        return replace(outcome, state=StepState.WAITING, poll_at=soon)
    return replace(outcome, state=StepState.QUEUED, poll_at=None) if at_once else outcome


def _result(archive: ArchiveView, aip: Package, destination: Destination, ports: Ports, connect: Connect) -> Result:
    """What becomes of it at a destination; one that failed a moment ago is not asked again yet."""
    known = archive.step.checkpoint.get(FAILED, {}).get(destination.id)
    if known is not None and ports.clock.now() - datetime.fromisoformat(known["at"]) < AGAIN:
        kind = Broken if known["blocked"] else Rejected
        return failed(archive, aip, destination.id, kind(known["message"], code=known["code"]), ports)
    try:
        return _published(archive, aip, destination, ports, connect)
    except Retryable as error:
        return Result(destination.id, later=error)
    except PerduraError as error:
        return failed(archive, aip, destination.id, error, ports)


def _checkpoint(archive: ArchiveView, results: Sequence[Result], ports: Ports) -> dict[str, Any]:
    """What is known for the next invocation: what was reached, how far files were sent, and what failed when."""
    earlier = archive.step.checkpoint
    done = earlier.get(DONE, {}) | {
        result.destination: {**result.output, **({"url": result.url} if result.url else {})}
        for result in results
        if result.is_recorded
    }
    sent = earlier.get(publish_invenio.SENT, {}) | {
        result.destination: result.sent for result in results if result.sent is not None
    }
    now, known = ports.clock.now().isoformat(), earlier.get(FAILED, {})
    refused = {
        result.destination: {
            "at": now,
            "code": result.error.code,
            "message": result.error.message,
            "blocked": isinstance(result.error, Broken),
        }
        for result in results
        if result.error is not None
    }
    for name, told in refused.items():
        if name in known and datetime.fromisoformat(now) - datetime.fromisoformat(known[name]["at"]) < AGAIN:
            told["at"] = known[name]["at"]
    return {
        DONE: done,
        publish_invenio.SENT: {name: told for name, told in sent.items() if name not in done},
        FAILED: refused,
    }


def _as_far(result: Result) -> Result:
    """A result as it is recorded while the step goes on: of what failed, the DIP that was stored for it."""
    return result if result.error is None else replace(result, error=None, failure=None, findings=(), sent=None)


def _told(results: Sequence[Result], later: Retryable | None) -> dict[str, Any]:
    """Why the step is not at its end, where there is more to tell than that somebody has to accept."""
    errors = {result.destination: result.error for result in results if result.error is not None}
    said = [f"{name}: {error.message}" for name, error in errors.items()] + ([later.message] if later else [])
    first = next(iter(errors.values()), later)
    return {"error_code": first.code, "message": "; ".join(said)} if first is not None else {}


def _meant(archive: ArchiveView, aip: Package, ports: Ports) -> tuple[Sequence[Destination], list[Result]]:
    """Where the Archive is to be published or changed, and a failure for where it is and cannot be reached."""
    configuration, placements = access_configuration(ports.settings.access), ports.placements
    everywhere = placements.everywhere(archive.id) if placements else {}
    collections = placements.collections(archive.id) if placements else ()
    today = configuration.destinations(archive.source, collections, everywhere)
    if archive.step.input.get("where") != WHERE_PUBLISHED or placements is None:
        return today, []
    placed = [name for name, each in everywhere.items() if name != ACCESS_PAGES and each.state != "withdrawn"]
    by_id = {destination.id: destination for destination in today}
    meant = [by_id.get(entry.id, entry) for entry in configuration.destination if entry.id in placed]
    unknown = Broken("It is configured no longer, so nothing changes there.", code="destination-unknown")
    lost = [name for name in placed if name not in {destination.id for destination in meant}]
    return meant, [failed(archive, aip, name, unknown, ports) for name in lost]


def _published(archive: ArchiveView, aip: Package, destination: Destination, ports: Ports, connect: Connect) -> Result:
    if archive.step.input.get("where") != WHERE_PUBLISHED:
        may_begin(archive, destination, ports)
    if destination.type == "access-pages":
        return publish_pages.publish(archive, aip, destination, ports)
    with connect(destination) as wire:
        return publish_invenio.publish(archive, aip, destination, wire, ports)


def _outcome(archive: ArchiveView, results: Sequence[Result]) -> Outcome:
    """What the destinations come to: failed or blocked when one is, waiting while one waits, else completed."""
    failures = [(result.destination, result.error) for result in results if result.error is not None]
    waiting = [result.look_at for result in results if result.look_at is not None]
    findings = tuple(finding for result in results for finding in result.findings)
    state, code, message = StepState.COMPLETED, None, None
    if failures:
        blocked = any(isinstance(error, Broken) for _, error in failures)
        state = StepState.BLOCKED if blocked else StepState.FAILED
        code = failures[0][1].code
        message = "; ".join(f"{name}: {error.message}" for name, error in failures)
    elif waiting:
        state = StepState.WAITING
    elif any(finding.severity == "warning" for finding in findings):
        state = StepState.COMPLETED_WITH_WARNINGS
    return Outcome(
        state=state,
        output={
            "publications": [
                {"destination": result.destination, "url": url}
                for result in results
                if (url := result.url or result.output.get("url"))
            ],
            "destinations": {result.destination: dict(result.output) for result in results},
        },
        published={result.destination: result.url for result in results if result.url},
        packages=tuple(package for result in results for package in result.packages),
        events=tuple(event for result in results for event in (*result.events, result.failure) if event is not None),
        facts=tuple(
            Fact(
                "org.perdura.dip.published.v1",
                {"archive": str(archive.id), "destination": result.destination, "url": result.url},
            )
            for result in results
            if result.url
        ),
        findings=findings if not failures else (*findings, *_as_findings(failures)),
        poll_at=min(waiting) if waiting and not failures else None,
        error_code=code,
        message=message,
    )


def _as_findings(failures: Sequence[tuple[str, PerduraError]]) -> Sequence[Finding]:
    return [Finding(error.code, error.message, path=name) for name, error in failures]
