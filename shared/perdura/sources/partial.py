"""A file that is stored in part: what the next invocation needs to go on with it (harvesting.md 6.3)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from perdura.errors import NotStored
from perdura.storage.store import ObjectRef, Store


@dataclass(frozen=True, slots=True)
class Partial:
    """The upload that is open, how many bytes of the file it has, the strong ETag under which the upstream served
    them, what its headers declared, the states of the digests at that place, and whether the file was not what was
    declared when it was fetched before."""

    url: str
    upload: str
    position: int
    etag: str
    declared: Mapping[str, str]
    states: Mapping[str, str]
    again: bool = False


def keep(store: Store, bucket: str, key: str, partial: Partial) -> None:
    """Write it down; it is of use until the upload it names is over."""
    store.put(bucket, key, json.dumps(asdict(partial)).encode(), content_type="application/json")


def kept(store: Store, bucket: str, key: str, url: str) -> Partial | None:
    """What was written down for the file of that address; None when there is nothing that can be read."""
    try:
        found = Partial(**json.loads(store.read(ObjectRef(bucket, key))))
    except (NotStored, ValueError, TypeError):
        # The file is begun anew then: nothing is lost but time.
        return None
    return found if found.url == url else None
