"""publish: an AIP becomes findable and usable at every destination that is meant for it.

Each destination is published on by itself: what fails at one does not keep another from its record, and a step that is
run again finds what was done and does it not twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from perdura.clients.destinations import ACCESS_PAGES, WHERE_PUBLISHED, Destination, access_configuration
from perdura.clients.inveniordm.wire import Wire
from perdura.errors import Broken, PerduraError, Retryable
from perdura.outcome import ArchiveView, Fact, Finding, Outcome, Package, PackageKind, StepState
from perdura.ports import Ports
from perdura.steps import publish_invenio, publish_pages
from perdura.steps.publish_decided import may_begin
from perdura.steps.publish_result import Result, failed

DONE = "done"
"""Key in the checkpoint: what was told of destinations that are reached, by their ids."""

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
    invocation, and is not done again in this step. What fails is recorded when the step ends.
    Raises Broken when there is no AIP, Retryable when nothing more was reached and one has to be asked again.
    """
    aip = archive.package(PackageKind.AIP)
    if aip is None:
        raise Broken("There is no AIP to publish.", code="no-aip")
    done: Mapping[str, Any] = archive.step.checkpoint.get(DONE, {})
    destinations, results = _meant(archive, aip, ports)
    later: Retryable | None = None
    for destination in destinations:
        if destination.id in done:
            results.append(Result(destination.id, output=done[destination.id]))
            continue
        try:
            results.append(_published(archive, aip, destination, ports, connect))
        except Retryable as error:
            later = later or error
        except PerduraError as error:
            results.append(failed(archive, aip, destination.id, error, ports))
    later = later or next((result.later for result in results if result.later is not None), None)
    reached = {
        result.destination: {**result.output, **({"url": result.url} if result.url else {})}
        for result in results
        if result.is_recorded
    }
    known = archive.step.checkpoint.get(publish_invenio.SENT, {})
    sent = known | {result.destination: result.sent for result in results if result.sent is not None}
    sent = {name: told for name, told in sent.items() if name not in reached}
    checkpoint = {DONE: {**done, **reached}, publish_invenio.SENT: sent}
    at_once = any(result.goes_on for result in results)
    if later is None and not at_once and not any(result.at_work for result in results):
        outcome = _outcome(archive, results)
        return replace(outcome, checkpoint=checkpoint) if outcome.state is StepState.WAITING else outcome
    if later is not None and not reached and sent == known and not any(result.packages for result in results):
        raise later
    outcome = _outcome(archive, [result for result in results if result.error is None])
    if at_once and later is None:
        return replace(outcome, state=StepState.QUEUED, poll_at=None, checkpoint=checkpoint)
    if later is None:
        return replace(outcome, checkpoint=checkpoint)
    soon = ports.clock.now() + timedelta(seconds=later.retry_after or SOON)
    return replace(
        outcome,
        state=StepState.WAITING,
        poll_at=soon,
        checkpoint=checkpoint,
        error_code=later.code,
        message=later.message,
    )


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
        events=tuple(event for result in results for event in result.events),
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
