"""Small objects by one signed request each over connections that stay open: a fifth of the client library's work.

A package of a thousand small files is a thousand of them. Only the plain case is done here; whatever does not go
smoothly is left to the client library, which knows redirects, retries and all that errors can mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from perdura import tracing
from perdura.settings import Settings
from perdura.storage.kept_connections import BROKEN_TRANSPORT, KeptConnections


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store says of an object it has taken."""

    etag: str
    version_id: str | None


class SmallPuts:
    """Sends to one endpoint with one pair of keys; safe to use from several threads."""

    def __init__(self, endpoint: str, credentials: Credentials, region: str, ca: str | None) -> None:
        parts = urlsplit(endpoint)
        self._base = endpoint.rstrip("/")
        self._scheme, self._netloc = parts.scheme, parts.netloc
        self._signer = S3SigV4Auth(credentials, "s3", region)
        self._connections = KeptConnections(ca)

    def send(self, bucket: str, key: str, data: bytes, headers: Mapping[str, str]) -> Stored | None:
        """Store an object; None when that did not go smoothly: it may be there or not, and is to be sent again."""
        request = AWSRequest(
            "PUT", f"{self._base}/{bucket}/{quote(key, safe='/-_.~')}", headers=dict(headers), data=data
        )
        self._signer.add_auth(request)
        path = request.url.removeprefix(f"{self._scheme}://{self._netloc}")
        connection = self._connections.take(self._scheme, self._netloc)
        whole = False
        try:
            with tracing.http("PUT", self._base):
                connection.request("PUT", path, body=data, headers=dict(request.headers.items()))
                answer = connection.getresponse()
                answer.read(1 << 16)
            whole = answer.isclosed() and not answer.will_close
        except BROKEN_TRANSPORT:
            return None
        finally:
            self._connections.give_back(connection, self._scheme, self._netloc, whole)
        etag = (answer.getheader("ETag") or "").strip('"')
        return Stored(etag, answer.getheader("x-amz-version-id")) if answer.status == 200 and etag else None

    def close(self) -> None:
        """Close the idle connections."""
        self._connections.close()


def small_puts(settings: Settings) -> SmallPuts | None:
    """For stores that the settings give an endpoint and keys for; None where the client library has to find them."""
    secret = settings.s3_secret_key
    if settings.s3_endpoint is None or settings.s3_access_key is None or secret is None:
        return None
    credentials = Credentials(settings.s3_access_key, secret.get_secret_value())
    return SmallPuts(settings.s3_endpoint, credentials, settings.s3_region, settings.s3_ca)
