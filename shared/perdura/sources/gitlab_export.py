"""The export of a GitLab project: made by GitLab when it is asked to, and put by it straight into our bucket.

What it is given is an address that takes this one object, for a day, and nothing else. Where GitLab cannot reach our
store, or its upload does not arrive, the export is downloaded (harvesting.md 1.2).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import quote, urldefrag, urlencode, urlsplit

from perdura.clients.http import Answer, HttpClient, Stream, status_error
from perdura.errors import NotStored
from perdura.settings import Settings
from perdura.sources.catalogue import Recognised, loopback_allowed
from perdura.sources.json_values import text
from perdura.sources.origin import Origin
from perdura.sources.plan import Capture, Preparing, UpstreamFile
from perdura.sources.prefix import StoreOrigin
from perdura.storage.store import ObjectInfo, ObjectRef, Store

MEDIA_TYPE = "application/gzip"
"""What GitLab sends; it is part of the signature."""

SECONDS = 24 * 3600
"""How long GitLab may take to make and upload the export."""

UPLOADS = 2
"""How often GitLab is asked to upload before the export is downloaded instead."""

POLL_SECONDS = 20
"""How long to wait before an export is looked at again."""


_DOWNLOAD = "/export/download"


@dataclass(frozen=True, slots=True)
class Drop:
    """Where the export of one harvest may be put: a key in our bucket, of which the harvest takes note beside it."""

    store: Store
    bucket: str
    prefix: str

    @property
    def key(self) -> str:
        """Key of the export."""
        return f"{self.prefix}export.tar.gz"

    def arrived(self) -> ObjectInfo | None:
        """The export, when it is there whole."""
        try:
            return self.store.head(self.bucket, self.key)
        except NotStored:
            return None

    def asked(self) -> int:
        """How often GitLab was asked to upload."""
        try:
            return int(json.loads(self.store.read(ObjectRef(self.bucket, self._note)))["asked"])
        except (NotStored, ValueError, KeyError, TypeError):
            return 0

    def note(self, asked: int) -> None:
        """Note that it was asked."""
        self.store.put(self.bucket, self._note, json.dumps({"asked": asked}).encode(), content_type="application/json")

    @property
    def _note(self) -> str:
        return f"{self.prefix}export.json"


def reachable(record: Recognised, settings: Settings) -> bool:
    """Whether the GitLab of this record can be expected to reach our store: by its public endpoint, or AWS's own."""
    endpoint = settings.s3_public_endpoint
    if not endpoint:
        return not settings.s3_endpoint
    host = urlsplit(endpoint).hostname or ""
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    return not local or loopback_allowed(record.base_url, settings)


def export(api: str, key: str, client: HttpClient, drop: Drop | None) -> tuple[Capture, UpstreamFile] | None:
    """The status of a finished export and the file it is; None when we may not have one.

    Raises Preparing while it is made or uploaded, UpstreamRefused, UpstreamUnavailable.
    """
    answer = client.get(f"{api}/export")
    if answer.status in (401, 403, 404):
        return None
    status = text(_json(answer), "export_status")
    capture = Capture.of(answer, "export.json")
    asked = drop.asked() if drop else 0
    if drop is not None and asked and (info := drop.arrived()) is not None:
        url = f"{api}{_DOWNLOAD}#{info.ref.etag}"
        return capture, UpstreamFile(key, url, size=info.size, media_type=MEDIA_TYPE, made_anew=True)
    if drop is not None and status in (None, "none", "finished") and asked < UPLOADS:
        # One that is finished already may be of any age: a new one is asked for.
        _ask(api, client, drop.store.presigned_put(drop.bucket, drop.key, SECONDS, content_type=MEDIA_TYPE))
        drop.note(asked + 1)
    elif status == "finished":
        return capture, UpstreamFile(key, f"{api}{_DOWNLOAD}", media_type=MEDIA_TYPE, made_anew=True)
    elif status in (None, "none"):
        _ask(api, client, None)
    raise Preparing("GitLab makes the project export", POLL_SECONDS)


def _ask(api: str, client: HttpClient, upload: str | None) -> None:
    """Ask for an export. Asking twice makes one more, nothing else: idempotent for us."""
    form = {"upload[http_method]": "PUT", "upload[url]": upload} if upload else {}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    content = urlencode(form).encode()
    _json(client.read("POST", f"{api}/export", headers=headers, content=content, idempotent=True))


def _json(answer: Answer) -> object:
    if answer.status not in (200, 201, 202):
        raise status_error(answer.status, answer.headers, answer.url)
    return answer.json()


class ExportOrigin:
    """An origin that opens the export which GitLab put into our bucket: the address of its download, with the ETag of
    our object as fragment. All other addresses go to `inner`."""

    def __init__(self, inner: Origin, drop: Drop | None) -> None:
        self._inner = inner
        self._drop = drop

    @contextmanager
    def stream(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        total_seconds: float | None = None,
        decode: bool = True,
    ) -> Iterator[Stream]:
        """Open a file."""
        origin, etag = self._inner, urldefrag(url)[1]
        if self._drop is not None and etag and urldefrag(url)[0].endswith(_DOWNLOAD):
            origin, url = StoreOrigin(self._drop.store), f"s3://{self._drop.bucket}/{quote(self._drop.key)}#{etag}"
        with origin.stream(url, headers=headers, total_seconds=total_seconds, decode=decode) as stream:
            yield stream
