"""The AIP gateway: AIPs to those who may have them, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request, Response

from perdura.api.gateway import Access, Held, respond
from perdura.clients.tape_tokens import mint, read
from perdura.clients.tape_x509 import checked, sign_proxy
from perdura.settings import Settings
from perdura.storage.store import ObjectRef
from tests.unit.tape.fakes import AIP, ARCHIVE, NOW, PresigningStore, aip
from tests.unit.tape.pki import Pair, authority, robot
from tests.unit.tape.test_x509 import tampered

SECRET = "s" * 32
PATH = f"/aips/{AIP}.tar"
DATA = b"an AIP" * 1000
DN = "/DC=ch/DC=test/OU=Users/CN=000001/CN=Robot: Perdura"
MACAROON = {"Content-Type": "application/macaroon-request"}
WANTED = {"caveats": ["activity:LIST,DOWNLOAD"], "validity": "PT180M"}


@dataclass
class Gateway:
    """A gateway with one AIP, and what was audited."""

    proxy: bool = False
    audited: list[Access] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = PresigningStore()
        self.package = aip(self.store, DATA)
        settings = Settings(
            tape_gateway_secret=SECRET,
            tape_gateway_dns=f"/CN=somebody\n{DN}",
            tape_gateway_certificate_header="X-Client-Cert",
            tape_gateway_proxy=self.proxy,
        )
        self.services = SimpleNamespace(settings=settings, store=self.store)

    def find(self, _kind: str, package: UUID) -> Held | None:
        if package != AIP:
            return None
        p = self.package
        ref = ObjectRef(p.bucket, p.key, p.version_id, p.etag)
        return Held(AIP, ARCHIVE, ref, p.size, p.checksums["adler32"], NOW)

    def ask(
        self, method: str, path: str = PATH, *, token: str | None = None, pair: Pair | bytes | None = None, **more: Any
    ) -> Response:
        headers = dict(more.pop("headers", {}))
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if pair is not None:
            headers["X-Client-Cert"] = quote(pair if isinstance(pair, bytes) else pair.pem)
        data = more.pop("json", None)
        body = json.dumps(data) if data is not None else more.pop("data", None)
        request = Request(EnvironBuilder(path, method=method, headers=headers, data=body).get_environ())
        return respond(request, self.services, self.find, self.audited.append)


def token(path: str = PATH, methods: tuple[str, ...] = ("GET", "HEAD", "PROPFIND"), ahead: float = 60) -> str:
    import time

    return mint(SECRET, path, methods, int(time.time() + ahead), "job-1")


def test_head_tells_size_and_checksum_without_reading() -> None:
    gateway = Gateway()
    answer = gateway.ask("HEAD", token=token(), headers={"Want-Digest": "ADLER32"})
    assert answer.status_code == 200
    assert answer.headers["Content-Length"] == str(len(DATA))
    assert answer.headers["Digest"] == f"adler32={gateway.package.checksums['adler32']}"


def test_get_redirects_to_a_presigned_url() -> None:
    gateway = Gateway()
    answer = gateway.ask("GET", token=token())
    assert answer.status_code == 307
    assert "X-Amz-Signature" in answer.headers["Location"]
    (access,) = gateway.audited
    assert (access.who, access.bytes, access.status) == ("job-1", len(DATA), 307)


def test_get_streams_where_the_store_cannot_be_reached() -> None:
    gateway = Gateway(proxy=True)
    assert gateway.ask("GET", token=token()).get_data() == DATA
    part = gateway.ask("GET", token=token(), headers={"Range": "bytes=10-19"})
    assert part.status_code == 206
    assert part.get_data() == DATA[10:20]
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(DATA)}"
    assert gateway.ask("GET", token=token(), headers={"Range": "bytes=99999999-"}).status_code == 416


def test_propfind_describes_the_file() -> None:
    answer = Gateway().ask("PROPFIND", token=token(), headers={"Depth": "0"})
    assert answer.status_code == 207
    assert f"<D:getcontentlength>{len(DATA)}</D:getcontentlength>" in answer.get_data(as_text=True)


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (None, 401),
        ("nonsense", 403),
        (token(path=f"/aips/{ARCHIVE}.tar"), 403),
        (token(ahead=-1), 403),
        (token(methods=("HEAD",)), 403),
        (token()[:-2] + "AA", 403),
        ("x" * 100_000, 403),
    ],
)
def test_a_token_opens_one_path_for_some_methods_and_some_time(given: str | None, status: int) -> None:
    assert Gateway().ask("GET", token=given).status_code == status


@pytest.mark.parametrize("path", ["/", "/aips/", "/perdura-sips/x", f"/aips/{ARCHIVE}.tar", f"/aips/../aips/{AIP}.tar"])
def test_nothing_else_can_be_reached(path: str) -> None:
    assert Gateway().ask("GET", path, token=token(path=path)).status_code in (403, 404)


def test_repeated_slashes_mean_one() -> None:
    assert Gateway().ask("HEAD", f"/aips//{AIP}.tar", token=token()).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "COPY", "POST", "MKCOL"])
def test_nothing_can_be_changed(method: str) -> None:
    assert Gateway().ask(method, token=token()).status_code == 405


def test_a_robot_gets_a_token_that_only_reads() -> None:
    gateway = Gateway()
    answer = gateway.ask("POST", pair=robot(), json=WANTED, headers=MACAROON)
    assert answer.status_code == 200
    given = json.loads(answer.get_data())
    assert given["expires_in"] == 180 * 60
    assert gateway.ask("GET", token=given["macaroon"]).status_code == 307
    claim = read(SECRET, given["macaroon"], 0)
    assert claim is not None
    assert (claim.path, claim.subject) == (PATH, DN)


def test_a_proxy_of_the_robot_is_the_robot() -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    from tests.unit.tape.pki import name, rsa_key

    csr = x509.CertificateSigningRequestBuilder().subject_name(name("O=Dummy")).sign(rsa_key(5), hashes.SHA256())
    pem = csr.public_bytes(serialization.Encoding.PEM)
    proxy = sign_proxy(checked([robot().certificate], robot().key), pem, timedelta(hours=1))
    leaf = proxy.partition(b"-----END CERTIFICATE-----\n")
    answer = Gateway().ask("POST", pair=leaf[0] + leaf[1], json=WANTED, headers=MACAROON)
    assert answer.status_code == 200
    # Looks like a proxy by its name only: without the extension it is another subject, and a stranger.
    stranger = tampered(pem).partition(b"-----END CERTIFICATE-----\n")
    assert Gateway().ask("POST", pair=stranger[0] + stranger[1], json=WANTED, headers=MACAROON).status_code == 403


def test_macaroon_requests_are_checked() -> None:
    gateway = Gateway()
    assert gateway.ask("POST", json=WANTED, headers=MACAROON).status_code == 401
    assert gateway.ask("POST", pair=authority(), json=WANTED, headers=MACAROON).status_code == 403
    assert gateway.ask("POST", pair=robot(), data="{", headers=MACAROON).status_code == 400
    assert gateway.ask("POST", pair=robot(), json={"validity": "soon"}, headers=MACAROON).status_code == 400
    upload = {"caveats": ["activity:UPLOAD"], "validity": "PT1H"}
    assert gateway.ask("POST", pair=robot(), json=upload, headers=MACAROON).status_code == 403
    long = {"caveats": ["activity:DOWNLOAD"], "validity": "PT999H"}
    answer = gateway.ask("POST", pair=robot(), json=long, headers=MACAROON)
    assert json.loads(answer.get_data())["expires_in"] == 12 * 3600


def test_there_is_no_tape_api_here() -> None:
    assert Gateway().ask("GET", "/.well-known/wlcg-tape-rest-api", token=token()).status_code == 404


def test_without_a_secret_there_is_no_gateway() -> None:
    gateway = Gateway()
    gateway.services.settings = Settings()
    assert gateway.ask("GET", token=token()).status_code == 404


def test_error_bodies_are_short() -> None:
    assert len(Gateway().ask("GET").get_data()) < 64
