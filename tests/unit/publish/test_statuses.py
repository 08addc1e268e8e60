"""What a status of an InvenioRDM, or of a proxy before it, says of the request that it answers."""

from __future__ import annotations

import httpx
import pytest

from perdura.clients.inveniordm.wire import RdmUnavailable, RdmUnknown, Wire
from perdura.errors import Retryable


@pytest.mark.parametrize(
    ("method", "status", "means"),
    [
        ("POST", 429, RdmUnavailable),
        ("POST", 503, RdmUnavailable),
        *(("POST", status, RdmUnknown) for status in (408, 500, 502, 504)),
        *(("GET", status, RdmUnavailable) for status in (408, 429, 502, 503, 504)),
        ("GET", 500, RdmUnknown),
    ],
)
def test_a_request_that_changes_something_may_have_been_carried_out_behind_a_proxy_that_gave_up(
    method: str, status: int, means: type[Retryable]
) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, text="<html>"))
    with Wire("https://rdm.example.org", "token", transport=transport, sleep=lambda _: None) as wire:
        with pytest.raises(Retryable) as caught:
            wire.json(method, "/api/records")
        assert type(caught.value) is means
