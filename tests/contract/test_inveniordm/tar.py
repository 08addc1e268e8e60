"""A small AIP: a tar of payload files, METS and manifest, with the index that tells where each lies."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zlib
from collections.abc import Mapping

from perdura.packages.aip_digests import MemberDigests
from perdura.packages.aip_index import Entry
from perdura.packages.aip_members import Member


def tar_of(
    base: str, files: Mapping[str, bytes], mets: bytes = b"<mets/>"
) -> tuple[bytes, list[Entry], dict[str, str]]:
    """The tar, its index entries and its digests; `files` are payload files by path below `data/objects/`."""
    members = {f"data/objects/{path}": data for path, data in files.items()}
    members["data/metadata/METS.xml"] = mets
    members["manifest-sha512.txt"] = b"".join(
        f"{hashlib.sha512(data).hexdigest()}  {path}\n".encode() for path, data in members.items()
    )
    buffer, entries = io.BytesIO(), []
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, data in members.items():
            info = tarfile.TarInfo(f"{base}/{path}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
            offset = buffer.tell() - -(-len(data) // 512) * 512
            digests = MemberDigests.of_hex(
                {
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "sha512": hashlib.sha512(data).hexdigest(),
                    "adler32": f"{zlib.adler32(data):08x}",
                }
            )
            entries.append(Entry(Member(path, offset, len(data), digests), "fmt/1", "Some Format"))
    whole = buffer.getvalue()
    return whole, entries, {"sha256": hashlib.sha256(whole).hexdigest()}
