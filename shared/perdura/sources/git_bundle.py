"""The whole history of a Git repository as one bundle, streamed from its server (git bundle-format v2).

The smart HTTP protocol is spoken here (git http-protocol, pack-protocol v0): what every ref points at is asked for and
the pack is passed on as it comes. No clone, no disk, no program; a token travels in a header to its own origin and can
end in no `.git/config` (cern-oais-platform.md 15.7).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import urldefrag

from perdura.clients.http import Answer, HttpClient, Stream, UpstreamRefused, status_error
from perdura.errors import UpstreamUnavailable

SCHEME = "git+"
"""In front of the address of a repository (`git+https://…/project.git`): what `GitOrigin` makes a bundle of."""

REFS_BYTES = 64 * 2**20
"""Most bytes of a list of refs: half a million of them."""

_SERVICE = "git-upload-pack"
_TRAILER = 20


def refs(client: HttpClient, repository: str) -> tuple[Mapping[str, str], Answer]:
    """What each ref points at, by its name, and the answer; nothing for a repository that is empty.

    Raises UpstreamRefused, UpstreamUnavailable.
    """
    answer = client.get(f"{repository}/info/refs?service={_SERVICE}", body_bytes=REFS_BYTES)
    if answer.status != 200:
        raise status_error(answer.status, answer.headers, answer.url)
    found: dict[str, str] = {}
    for line in _packets(iter([answer.body])):
        if line is None or line.startswith(b"# "):
            continue
        head, _, _ = line.rstrip(b"\n").partition(b"\x00")
        value, _, name = head.decode("utf-8", "surrogateescape").partition(" ")
        if len(value) not in (40, 64) or not name:
            raise _not_git(repository)
        if not name.endswith("^{}") and name != "capabilities^{}":
            found[name] = value
    return found, answer


def address(repository: str, found: Mapping[str, str]) -> str:
    """The address under which `GitOrigin` gives the bundle of exactly these refs."""
    return f"{SCHEME}{repository}#{_fingerprint(found)}"


def _fingerprint(found: Mapping[str, str]) -> str:
    return hashlib.sha256(_lines(found)).hexdigest()


def _lines(found: Mapping[str, str]) -> bytes:
    text = "".join(f"{value} {name}\n" for name, value in sorted(found.items()))
    return text.encode("utf-8", "surrogateescape")


class GitOrigin:
    """An origin that knows Git beside HTTP: `git+https` addresses are bundles, all others go to the client.

    `git` has the credentials that the Git server wants, where they are others than those of its API.
    """

    def __init__(self, client: HttpClient, git: HttpClient | None = None) -> None:
        self._client = client
        self._git = git or client

    @contextmanager
    def stream(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        total_seconds: float | None = None,
        decode: bool = True,
    ) -> Iterator[Stream]:
        """Open a file or a bundle. Raises UpstreamRefused (`upstream-changed` when the refs are others by now)."""
        if not url.startswith(SCHEME):
            with self._client.stream(url, headers=headers, total_seconds=total_seconds, decode=decode) as stream:
                yield stream
            return
        repository, wanted = urldefrag(url.removeprefix(SCHEME))
        found, _ = refs(self._git, repository)
        if _fingerprint(found) != wanted:
            raise UpstreamRefused("The repository has other refs than were planned.", code="upstream-changed")
        asked = {"Content-Type": f"application/x-{_SERVICE}-request", "Accept": f"application/x-{_SERVICE}-result"}
        with self._git.stream(
            f"{repository}/{_SERVICE}",
            method="POST",
            headers=asked,
            content=_request(found),
            total_seconds=total_seconds,
        ) as stream:
            if stream.status != 200:
                yield stream
                return
            plain = (("content-type", "application/x-git-bundle"),)
            yield replace(stream, url=url, headers=plain, chunks=_bundle(found, stream.chunks, repository))


def _request(found: Mapping[str, str]) -> bytes:
    wanted = sorted(set(found.values()))
    first, *others = wanted
    lines = [f"want {first} side-band-64k ofs-delta no-progress agent=perdura\n"]
    lines += [f"want {value}\n" for value in others]
    return b"".join(_packet(line.encode()) for line in lines) + b"0000" + _packet(b"done\n")


def _packet(line: bytes) -> bytes:
    return f"{len(line) + 4:04x}".encode() + line


def _bundle(found: Mapping[str, str], chunks: Iterator[bytes], repository: str) -> Iterator[bytes]:
    """Header and pack of the bundle; the pack's own checksum is compared at its end."""
    yield b"# v2 git bundle\n" + _lines(found) + b"\n"
    digest, tail = hashlib.sha1(usedforsecurity=False), b""
    for data in _pack(chunks, repository):
        tail += data
        digest.update(tail[:-_TRAILER])
        tail = tail[-_TRAILER:]
        yield data
    if digest.digest() != tail:
        raise UpstreamUnavailable("The pack of the repository does not match its own checksum.")


def _pack(chunks: Iterator[bytes], repository: str) -> Iterator[bytes]:
    """The pack out of the side band (pack-protocol, "Packfile Data"): 1 data, 2 progress, 3 an error."""
    for line in _packets(chunks):
        if line is None or line.startswith((b"NAK", b"ACK")):
            continue
        band, data = line[:1], line[1:]
        if band == b"\x01":
            yield data
        elif band == b"\x03" or line.startswith(b"ERR"):
            raise UpstreamUnavailable("The Git server broke off with an error.")
        elif band != b"\x02":
            raise _not_git(repository)


def _packets(chunks: Iterator[bytes]) -> Iterator[bytes | None]:
    """The lines of a pkt-line stream; None for a flush. Raises UpstreamUnavailable when it ends in one."""
    buffer = b""
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= 4:
            try:
                length = int(buffer[:4], 16)
            except ValueError:
                raise UpstreamRefused("The answer is not Git's protocol.", code="upstream-not-git") from None
            if length < 4:
                buffer = buffer[4:]
                yield None
                continue
            if len(buffer) < length:
                break
            line, buffer = buffer[4:length], buffer[length:]
            yield line
    if buffer:
        raise UpstreamUnavailable("The Git server broke off in the middle of a line.")


def _not_git(repository: str) -> UpstreamRefused:
    return UpstreamRefused(f"{repository} does not answer in Git's protocol.", code="upstream-not-git")
