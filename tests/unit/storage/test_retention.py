"""What a store's refusal to lock an object means: that it has no locks, or that it would and we may not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from botocore.stub import Stubber

from perdura.errors import Broken, NotStored, PerduraError, StoreUnavailable
from perdura.settings import Settings
from perdura.storage.s3 import S3Store
from perdura.storage.store import ObjectRef

REF = ObjectRef("aips", "a.tar", "v1")
UNTIL = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def store() -> Iterator[S3Store]:
    """A store whose answers a test scripts; nothing is sent."""
    given = {"s3_endpoint": "http://127.0.0.1:9", "s3_access_key": "key", "s3_secret_key": "secret"}
    made = S3Store(Settings.model_validate(given))
    yield made
    made.close()


def refused(stubber: Stubber, operation: str, code: str, status: int) -> None:
    stubber.add_client_error(operation, code, http_status_code=status)


def test_an_object_without_a_lock_gets_one_and_a_lock_that_lasts_is_left(store: S3Store) -> None:
    with Stubber(store.client) as answers:
        refused(answers, "get_object_retention", "NoSuchObjectLockConfiguration", 404)
        answers.add_response("put_object_retention", {})
        assert store.retain(REF, UNTIL)
        held = {"Retention": {"Mode": "GOVERNANCE", "RetainUntilDate": UNTIL + timedelta(days=1)}}
        answers.add_response("get_object_retention", held)
        assert store.retain(REF, UNTIL)


@pytest.mark.parametrize("asked", [("NoSuchObjectLockConfiguration", 404), ("InternalError", 500)])
@pytest.mark.parametrize(("code", "status"), [("InvalidRequest", 400), ("NotImplemented", 501)])
def test_a_store_that_cannot_lock_is_no_error(store: S3Store, asked: tuple[str, int], code: str, status: int) -> None:
    with Stubber(store.client) as answers:
        refused(answers, "get_object_retention", *asked)
        refused(answers, "put_object_retention", code, status)
        assert not store.retain(REF, UNTIL)
        refused(answers, "get_object_retention", code, status)
        assert not store.retain(REF, UNTIL)


@pytest.mark.parametrize(
    ("code", "status", "error", "meaning"),
    [
        ("AccessDenied", 403, Broken, "store-denied"),
        ("MissingContentMD5", 400, Broken, "store-refused"),
        ("InvalidArgument", 400, Broken, "store-refused"),
        ("NoSuchBucket", 404, Broken, "no-such-bucket"),
        ("NoSuchVersion", 404, NotStored, "not-stored"),
        ("SlowDown", 503, StoreUnavailable, "store-unavailable"),
    ],
)
def test_a_lock_that_was_refused_is_an_error_and_never_a_store_without_locks(
    store: S3Store, code: str, status: int, error: type[PerduraError], meaning: str
) -> None:
    with Stubber(store.client) as answers:
        refused(answers, "get_object_retention", "AccessDenied", 403)
        refused(answers, "put_object_retention", code, status)
        with pytest.raises(error) as raised:
            store.retain(REF, UNTIL)
    assert raised.value.code == meaning
