"""What earlier attempts of a step left: a job that is still followed, a file that is there, or neither.

Before that is known nothing is asked for: an endpoint that does not say where a file is has not said that it is gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from perdura.outcome import Outcome
from perdura.ports import Ports, Residency, TapeJobs, TapeSystem
from perdura.steps.archive_decisions import Act, on_residency
from perdura.steps.archive_looking import on_found
from perdura.steps.archive_outcomes import waiting
from perdura.steps.archive_transfer import Transfer, adopting, again


def sought(transfers: Sequence[Transfer], tape: TapeSystem, jobs: TapeJobs, ports: Ports) -> list[Transfer | Outcome]:
    """For each the transfer that goes on, with the job of an earlier attempt or with one to be asked for; else the
    outcome: what an earlier attempt put on tape, or waiting while the endpoint does not say.

    Raises what the tape system raises.
    """
    places = [_places(transfer, jobs) for transfer in transfers]
    followed = [_followed(each, jobs) for each in places]
    asked = {place.path for each, job in zip(places, followed, strict=True) if job is None for place in each}
    there = tape.residency(sorted(asked), ports.deadline) if asked else {}
    return [
        job or _found(transfer, each, there, tape, ports)
        for transfer, each, job in zip(transfers, places, followed, strict=True)
    ]


def _places(transfer: Transfer, jobs: TapeJobs) -> list[Transfer]:
    """Where earlier attempts may have put the AIP: into a container, where this one would put it, or as a `.tar`.

    A copy that is made again has a place of its own: at those before it is what was lost.
    """
    places = [transfer]
    if again(transfer.archive):
        return places
    held = jobs.slot(transfer.aip.id)
    if held is not None:
        inside = replace(transfer, path=held.path, size=held.size, adler32=held.adler32, slot=held.slot)
        places.insert(0, inside)
    before = f"{transfer.archive.id}/{transfer.aip.id}.tar"
    if transfer.path != before:
        places.append(replace(transfer, path=before))
    return places


def _followed(places: Sequence[Transfer], jobs: TapeJobs) -> Transfer | None:
    """The transfer whose job an earlier attempt asked for and nobody has seen end; None without one."""
    job = jobs.open_job([each.path for each in places])
    return None if job is None else next(adopting(each, job) for each in places if each.path == job.path)


def _found(
    transfer: Transfer, places: Sequence[Transfer], there: Mapping[str, Residency], tape: TapeSystem, ports: Ports
) -> Transfer | Outcome:
    for place in places:
        found = there.get(place.path)
        if found is not None and (found.on_disk or found.on_tape):
            return on_found(replace(place, phase="tape", looks=0), found, tape, ports)
    for place in places:
        decision = on_residency(there.get(place.path), place.expected, waited=timedelta(), patience=timedelta())
        if decision.act is Act.WAIT:
            later = replace(transfer, looks=transfer.looks + 1)
            said = f"{decision.message} ({place.path})"
            return waiting(later, ports.clock.now(), ports, decision.code, said=said)
    return replace(transfer, phase="submit", looks=0)
