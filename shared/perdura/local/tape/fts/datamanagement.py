"""A look at a storage through the transfer service: `/dm/stat` and `/dm/list` (fts-cta.md 2.14)."""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import unquote, urlsplit

from lxml import etree

from perdura.local.tape import clock
from perdura.local.tape.fts.identity import Identity
from perdura.local.tape.fts.ledger import Ledger
from perdura.local.tape.fts.problems import Refused
from perdura.local.tape.fts.storage import BODY_LIMIT, ERRNO, Storages
from perdura.local.tape.http import Request, Response, as_json
from perdura.local.tape.transfer import RemoteFailure

EPERM, ENOENT, EIO, EAGAIN, EACCES, EBUSY, ENOTDIR = 1, 2, 5, 11, 13, 16, 20
EPROTONOSUPPORT, ETIMEDOUT, EHOSTDOWN = 93, 110, 112
STATUS = {
    EPERM: 403, EACCES: 403, ENOENT: 404, EAGAIN: 503, EBUSY: 503, ETIMEDOUT: 503, ENOTDIR: 400, EPROTONOSUPPORT: 400,
}  # fmt: skip
"""HTTP statuses of the errors that have one; all others are a 500."""
DAV = "{DAV:}"


@dataclass(frozen=True, slots=True)
class Found:
    """A file or directory; size in bytes, time of the last change in seconds since 1970."""

    path: str
    directory: bool
    size: int
    modified: int

    @property
    def mode(self) -> int:
        """As `stat` would show it."""
        return stat.S_IFDIR | 0o755 if self.directory else stat.S_IFREG | 0o644


def handle(ledger: Ledger, identity: Identity, storages: Storages, act: str, asked: Request) -> Response:
    """Answer `stat` or `list` of the `surl` that is asked for; raises Refused."""
    surl = asked.argument("surl")
    if not surl:
        raise Refused(400, "Missing surl parameter")
    if surl.startswith("file:"):
        raise Refused(400, "Forbiden SURL scheme")
    held = ledger.note("proxy", identity.dn)
    if identity.method == "certificate" and (held is None or held["expires"] < clock.now()):
        raise Refused(419, "No delegated proxy available")
    own, *inside = _propfind(storages, surl, "0" if act == "stat" else "1")
    if act == "stat":
        times = dict.fromkeys(("atime", "mtime", "ctime"), own.modified)
        return as_json({"mode": own.mode, "nlink": 1, "size": own.size, **times})
    if not own.directory:
        raise _failure(ENOTDIR, "Not a directory")
    return as_json(
        {
            posixpath.basename(each.path.rstrip("/")) + ("/" if each.directory else ""): {
                "size": each.size, "mode": each.mode, "mtime": each.modified,
            }
            for each in inside
        }
    )  # fmt: skip


def _propfind(storages: Storages, surl: str, depth: str) -> list[Found]:
    """What the storage says of the place itself, and then of what is in it; raises Refused."""
    try:
        answer = storages.ask("PROPFIND", surl, {"Depth": depth})
    except RemoteFailure as error:
        if "not supported" in str(error):
            raise _failure(EPROTONOSUPPORT, str(error)) from error
        raise _failure(EHOSTDOWN, "Result Could not connect to server after 1 attempts") from error
    with answer:
        if answer.status == 404:
            raise _failure(ENOENT, "Result HTTP 404 : File not found  after 1 attempts")
        if answer.status != 207:
            raise _failure(ERRNO.get(answer.status, EIO), f"Result HTTP {answer.status} after 1 attempts")
        try:
            body = answer.read(BODY_LIMIT)
            parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
            found = list(_entries(etree.fromstring(body, parser)))
        except (OSError, ValueError, etree.XMLSyntaxError) as error:
            raise _failure(EIO, "Result Malformed server response after 1 attempts") from error
    own = urlsplit(surl).path.rstrip("/")
    found.sort(key=lambda each: each.path.rstrip("/") != own)
    if not found:
        raise _failure(EIO, "Result Malformed server response after 1 attempts")
    return found


def _entries(tree: etree._Element) -> Iterator[Found]:
    for response in tree.iterfind(f"{DAV}response"):
        size = response.findtext(f".//{DAV}getcontentlength") or "0"
        modified = response.findtext(f".//{DAV}getlastmodified")
        yield Found(
            unquote(urlsplit(response.findtext(f"{DAV}href") or "").path),
            response.find(f".//{DAV}resourcetype/{DAV}collection") is not None,
            int(size),
            int(parsedate_to_datetime(modified).timestamp()) if modified else 0,
        )


def _failure(errno: int, text: str) -> Refused:
    return Refused(STATUS.get(errno, 500), f"[{errno}] {text}")
