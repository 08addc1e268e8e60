"""Admission: what comes from outside becomes an Archive and a proper request, once (architecture §4)."""

from __future__ import annotations

from collections.abc import Sequence

from perdura.cloudevents.catalogue import FixityRequested, HarvestRequested, IngestRequested
from perdura.cloudevents.message import CloudEvent
from perdura.errors import NotStored, Rejected
from perdura.ids import derived_id
from perdura.registry import archives, checks, deposits
from perdura.registry.checks import LOCATIONS, STORE, TAPE
from perdura.runtime.answers import Answer
from perdura.runtime.delivery import Delivered
from perdura.runtime.environment import Environment
from perdura.storage.store import is_package_key


def admit_harvest(environment: Environment, event: CloudEvent, data: HarvestRequested) -> Sequence[CloudEvent]:
    """Begin an Archive for a harvest that somebody asked for by CloudEvent; the same event is the same Archive."""
    if not data.url and not (data.source and data.recid):
        raise Rejected("A harvest needs a url, or a source and a recid.", code="incomplete-request")
    with environment.engine.begin() as connection:
        begun = archives.start_harvest(
            connection,
            archives.HarvestWanted(url=data.url, source=data.source, recid=data.recid),
            archive=derived_id("request", event.source, event.id),
        )
    return begun.events


def admit_fixity(environment: Environment, event: CloudEvent) -> Delivered:
    """Begin the check of a copy that a CloudEvent asks for: of the stored one, unless it names another.

    The same event is the same check. Raises Rejected for a location that is none, or a package that is no AIP.
    """
    data = FixityRequested.model_validate(event.data)
    location = data.location or STORE
    if location not in LOCATIONS:
        raise Rejected(f"There are no copies at {location!r}.", code="unknown-location")
    step = derived_id("fixity", event.source, event.id)
    with environment.engine.begin() as connection:
        begun = checks.check_copy(connection, data.package, on_tape=location == TAPE, step=step)
    return Delivered(Answer.DONE, begun.events)


def admit_ingest(environment: Environment, data: IngestRequested) -> Sequence[CloudEvent]:
    """Begin an Archive for an object of the drop zone that somebody reported by CloudEvent."""
    if not data.bucket or not data.key:
        raise Rejected("An ingest needs a bucket and a key.", code="incomplete-request")
    return arrived(environment, data.bucket, data.key)


def arrived(environment: Environment, bucket: str, key: str) -> Sequence[CloudEvent]:
    """Begin the ingest of an object that somebody reports, if it is there and lies in the drop zone.

    Nothing but bucket and key is believed: the store is asked for the rest (serverless.md 3.2). Other buckets are
    refused, or a notification could have any object of the store ingested and published.
    """
    if bucket != environment.settings.bucket_incoming or not is_package_key(key):
        return ()
    try:
        info = environment.store.head(bucket, key)
    except NotStored:
        return ()
    arrival = deposits.Arrival(bucket, key, info.ref.version_id, info.ref.etag, info.size)
    with environment.engine.begin() as connection:
        return deposits.receive(connection, arrival, source="/perdura/ingest").events
