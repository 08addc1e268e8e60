"""Objects below a prefix of the drop zone, harvested as they lie there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from urllib.parse import quote, unquote, urlsplit

from perdura.clients.http import Stream
from perdura.errors import ObjectChanged, Rejected
from perdura.settings import Settings
from perdura.sources import ranges
from perdura.sources.folder import FILES
from perdura.sources.plan import Capture, Plan, UpstreamFile, planned
from perdura.storage import drop_zone
from perdura.storage.store import ObjectInfo, ObjectRef, Store

Withheld = Callable[[Sequence[ObjectInfo]], bool]
"""Whether any of these objects belongs to an Archive whose files are not open to whoever asked for the harvest."""


def allowed(url: str, settings: Settings) -> tuple[str, str]:
    """Bucket and prefix of an `s3:` address; raises Rejected unless they lie in the drop zone and may be named."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise Rejected("The address is not a valid URL.", code="unknown-source") from error
    prefix = unquote(parts.path.lstrip("/"))
    if parts.netloc != settings.bucket_incoming:
        raise Rejected("Only prefixes of the drop zone are harvested.", code="destination-refused")
    if not prefix.strip("/"):
        raise Rejected("The address names no prefix.", code="unknown-source")
    prefix = prefix.rstrip("/") + "/"
    drop_zone.check(parts.netloc, prefix, settings)
    return parts.netloc, prefix


def plan(store: Store, bucket: str, prefix: str, source: str, withheld: Withheld | None = None) -> Plan:
    """Plan every object below the prefix, pinned by ETag; raises Rejected when there is none.

    What is withheld is not there, and a part of what lies there is no record: nothing is planned then either.
    """
    files: list[UpstreamFile] = []
    found: list[ObjectInfo] = []
    listing = []
    for item in store.list(bucket, prefix):
        key = item.ref.key.removeprefix(prefix)
        if not key or key.endswith("/"):
            continue
        if len(files) >= FILES:
            raise Rejected(f"The prefix has more than {FILES} objects.", code="too-many-files")
        found.append(item)
        listing.append({"key": key, "size": item.size, "etag": item.ref.etag})
        address = f"s3://{bucket}/{quote(item.ref.key)}#{quote(item.ref.etag or '')}"
        files.append(UpstreamFile(key=key, url=address, size=item.size))
    if not files or (withheld is not None and withheld(found)):
        raise Rejected("There is nothing below this prefix.", code="upstream-not-found")
    body = json.dumps(listing, ensure_ascii=False, indent=1).encode()
    address = f"s3://{bucket}/{quote(prefix)}"
    return Plan(
        source=source,
        recid=hashlib.sha256(address.encode()).hexdigest()[:32],
        url=address,
        title=prefix.rstrip("/").rpartition("/")[2],
        captures=(Capture("listing.json", address, 200, (), datetime.now(UTC), body),),
        files=planned(files),
        revision=hashlib.sha256(body).hexdigest(),
    )


class StoreOrigin:
    """Opens objects of the store by the addresses of a plan, in the state they had when they were listed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @contextmanager
    def stream(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        total_seconds: float | None = None,  # noqa: ARG002 - the interface of Origin
        decode: bool = True,  # noqa: ARG002
    ) -> Iterator[Stream]:
        """Open an object; reading raises Rejected when it is gone or no longer the one that was listed."""
        parts = urlsplit(url)
        ref = ObjectRef(parts.netloc, unquote(parts.path.lstrip("/")), etag=unquote(parts.fragment) or None)
        try:
            size = self._store.head(ref.bucket, ref.key).size if headers and "Range" in headers else 0
            ranged = ranges.answer(headers, f'"{ref.etag}"', size)
            chunks = self._store.stream(ref, ranged.first)
            yield Stream(url, ranged.status, ranged.headers, (bytes(chunk) for chunk in chunks))
        except ObjectChanged as changed:
            raise Rejected(f"{ref.key} was replaced while it was harvested.", code="upstream-changed") from changed
