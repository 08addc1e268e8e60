"""The boto3 client of one object store, and what its answers mean in our error tree."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ParamValidationError, SSLError

from perdura import tracing
from perdura.errors import Broken, Conflict, NotStored, ObjectChanged, PerduraError, StoreFull, StoreUnavailable
from perdura.settings import Settings

_FULL_CODES = frozenset({"XMinioStorageFull", "StorageFull", "InsufficientStorage", "QuotaExceeded"})
_FULL_WORDS = ("no space left", "no free volume", "no writable volume", "disk full", "not enough space")
_ABSENT_CODES = frozenset({"NoSuchKey", "NoSuchVersion", "NoSuchUpload", "404", "NotFound"})
_BUSY_CODES = frozenset({"SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "TooManyRequests"})
_DENIED_CODES = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "403", "Forbidden"})


def is_trusted_path(endpoint: str | None) -> bool:
    """Whether requests need no payload signature: inside TLS, or never leaving this machine (packages.md 5.3)."""
    if endpoint is None:
        return True
    parts = urlsplit(endpoint)
    if parts.scheme == "https":
        return True
    host = parts.hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def new_client(settings: Settings, endpoint: str | None) -> Any:
    """A boto3 S3 client for that endpoint URL (None: AWS); safe to share between threads.

    Checksums only where the protocol requires them, unless the settings say otherwise: servers older than 2025 answer
    411 to checksum trailers (embedded-services.md 4.3). Addressing is by path:
    bucket names need no DNS then.
    """
    config = Config(
        region_name=settings.s3_region,
        signature_version="s3v4",
        connect_timeout=5,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 4},
        max_pool_connections=32,
        request_checksum_calculation=settings.s3_checksums,
        response_checksum_validation="when_required",
        s3={"addressing_style": "path", "payload_signing_enabled": not is_trusted_path(endpoint)},
    )
    secret = settings.s3_secret_key.get_secret_value() if settings.s3_secret_key else None
    session = boto3.session.Session()
    client = session.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=secret,
        verify=settings.s3_ca,
        config=config,
    )
    if tracing.enabled():
        _trace(client)
    return client


def _trace(client: Any) -> None:
    """Make a span of each operation, from the call to the head of its answer; keys and bodies are no part of it."""

    def begin(model: Any, context: Any, **_: Any) -> None:
        context["span"] = tracing.span(f"S3 {model.name}", tracing.Kind.CLIENT, {"rpc.system": "aws-api"})
        context["span"].__enter__()

    def end(context: Any, exception: BaseException | None = None, **_: Any) -> None:
        if (span := context.pop("span", None)) is not None:
            span.__exit__(type(exception) if exception else None, exception, None)

    client.meta.events.register("before-call.s3", begin)
    client.meta.events.register("after-call.s3", end)
    client.meta.events.register("after-call-error.s3", end)


def meaning(status: int, code: str, text: str) -> PerduraError:
    """The error that a refusal of the store stands for; `text` is read, never passed on."""
    lowered = text.lower()
    if status == 507 or code in _FULL_CODES or any(words in lowered for words in _FULL_WORDS):
        return StoreFull("the object store has no room left")
    if status == 412 or code == "PreconditionFailed":
        return ObjectChanged("the object was replaced while it was being used")
    if code in _ABSENT_CODES or (status == 404 and code != "NoSuchBucket"):
        return NotStored("there is no such object in the store")
    if code == "NoSuchBucket":
        return Broken("a bucket is missing from the object store: create the buckets first", code="no-such-bucket")
    if status in (401, 403) or code in _DENIED_CODES:
        return Broken("the object store refused our credentials or rights", code="store-denied")
    if status == 409:
        return Conflict("the object store is in another state than was expected", code="store-conflict")
    if status == 501 or code == "NotImplemented":
        return Broken("the object store does not offer what was asked of it", code="store-cannot")
    if status >= 500 or status in (408, 429) or code in _BUSY_CODES:
        return StoreUnavailable("the object store could not do it now")
    return Broken(f"the object store refused a request ({status} {code[:60]})", code="store-refused")


@contextmanager
def translated() -> Iterator[None]:
    """Turns what boto3 raises inside the block into our errors."""
    try:
        yield
    except ClientError as error:
        answer = error.response.get("Error", {})
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        raise meaning(status, str(answer.get("Code", "")), str(answer.get("Message", ""))) from error
    except NoCredentialsError as error:
        # Where a machine gives them out it may do so a moment later.
        raise StoreUnavailable("there are no credentials for the object store") from error
    except ParamValidationError as error:
        raise Broken("no object store has a bucket or a key of such a name", code="store-refused") from error
    except SSLError as error:
        raise StoreUnavailable("the certificate of the object store could not be verified") from error
    except BotoCoreError as error:
        raise StoreUnavailable("the object store does not answer") from error
