"""The cases of the corpus: each a bag (or an archive) and the verdict and rules that it must get.

Cases of `BAGS` are judged alike in every container; those of `ARCHIVES` are about one container. `expected` are the
rules that must be reported, and no others may be.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from perdura.packages.limits import LIMITS, Limits
from perdura.packages.profiles import Profile, parse_profile
from tests.corpus.tree import (
    OLD_DECLARATION,
    PAYLOAD,
    Files,
    as_tar,
    as_zip,
    bag,
    manifest,
    with_tag_manifest,
)


@dataclass(frozen=True)
class BagCase:
    """A bag as files; `not_in` names containers that cannot hold it."""

    name: str
    verdict: str
    expected: frozenset[str]
    files: Files
    not_in: frozenset[str] = frozenset()
    base: str = "bag/"
    limits: Limits = LIMITS
    profile: Profile | None = None


@dataclass(frozen=True)
class ArchiveCase:
    """An archive as bytes, with the suffix its name has."""

    name: str
    suffix: str
    verdict: str
    expected: frozenset[str]
    data: Callable[[], bytes]
    limits: Limits = LIMITS


BAGS: list[BagCase] = []
ARCHIVES: list[ArchiveCase] = []
ON_DISK = frozenset({"directory"})
"""Containers that a file system's own rules apply to."""


def _bag(
    name: str, verdict: str, expected: str, files: Files, not_in: frozenset[str] = frozenset(), **more: Any
) -> None:
    BAGS.append(BagCase(name, verdict, frozenset(expected.split()), files, not_in, **more))


def _archive(name: str, suffix: str, verdict: str, expected: str, data: Callable[[], bytes], **more: Any) -> None:
    ARCHIVES.append(ArchiveCase(name, suffix, verdict, frozenset(expected.split()), data, **more))


def _edited(line: Callable[[str, str], str], payload: dict[str, bytes] | None = None, **changes: bytes) -> Files:
    """A bag whose manifest lines are written by `line(digest, path)`."""
    payload = dict(PAYLOAD) if payload is None else payload
    lines = manifest(payload).decode().splitlines()
    text = "".join(line(*entry.split("  ", 1)) + "\n" for entry in lines)
    return bag(payload, manifest_sha256_txt=text.encode(), **changes)


_ABSENT = "".join(f"{0:064x}  data/absent/{number}\n" for number in range(9)).encode()
_TWO = bag(algorithms=("sha256", "sha512"))
_SUM = manifest({"data/hello.txt": b"hello\n"}).decode().split()[0]

# --- valid, some of them odd ------------------------------------------------------------------------------------
_bag("plain", "valid", "", bag())
_bag("tag-manifest", "valid", "", with_tag_manifest(bag()))
_bag("version-0.97", "valid", "", bag(declaration=OLD_DECLARATION))
_bag("sha512", "valid", "", bag(algorithms=("sha512",)))
_bag("several-algorithms", "valid", "", bag(algorithms=("md5", "sha1", "sha224", "sha256", "sha384", "sha512")))
_bag("no-bag-info", "valid", "", bag(bag_info_txt=None))
_bag("crlf-manifest", "valid", "", bag(manifest_sha256_txt=manifest(PAYLOAD).replace(b"\n", b"\r\n")))
_bag("cr-manifest", "valid", "", bag(manifest_sha256_txt=manifest(PAYLOAD).replace(b"\n", b"\r")))
_bag("no-last-line-end", "valid", "", bag(manifest_sha256_txt=manifest(PAYLOAD).rstrip()))
_bag("upper-case-digests", "valid", "", _edited(lambda digest, path: f"{digest.upper()}  {path}"))
_bag("tab-separator", "valid", "", _edited(lambda digest, path: f"{digest}\t{path}"))
_bag("one-space-separator", "valid", "", _edited(lambda digest, path: f"{digest} {path}"))
_bag("spaces-in-name", "valid", "", bag({"data/a b  c.txt": b"x"}))
_bag("unicode-name", "valid", "", bag({"data/Übung/日本語.txt": b"x"}))
_bag("tilde-name", "valid", "", bag({"data/~root/x": b"x"}))
_bag("hidden-file", "valid", "", bag({"data/.hidden": b"x"}))
_bag("dots-in-name", "valid", "", bag({"data/..a/b..c": b"x", "data/a.b.c": b"y"}))
_bag("unicode-space-name", "valid", "", bag({"data/a\u00a0b\u2003c\u2028d.txt": b"x"}))
_bag("empty-file", "valid", "", bag({"data/empty": b""}))
_bag("percent-encoded", "valid", "", bag({"data/100%.txt": b"x", "data/a%41b": b"y"}))
_bag("percent-looks-like-path", "valid", "", bag({"data/..%2f..%2fetc": b"x"}))
_bag(
    "percent-literal-old",
    "valid",
    "",
    bag(
        {"data/a%20b": b"x"},
        declaration=OLD_DECLARATION,
        manifest_sha256_txt=manifest({"data/a%20b": b"x"}).replace(b"%25", b"%"),
    ),
)
_bag("other-tag-directory", "valid", "", bag() | {"metadata/dc.xml": b"<dc/>"})
_bag("folded-bag-info", "valid", "", bag(info=b"External-Description: one\n  two\n\tthree\nX: y\n"))
_bag("repeated-elements", "valid", "", bag(info=b"Contact-Name: a\nContact-Name: b\n"))
_bag(
    "latin-1",
    "valid",
    "",
    bag(
        {"data/é.txt": b"x"},
        declaration=b"BagIt-Version: 1.0\nTag-File-Character-Encoding: ISO-8859-1\n",
        info="Contact-Name: André\n".encode("latin-1"),
        manifest_sha256_txt=manifest({"data/é.txt": b"x"}).decode().encode("latin-1"),
    ),
)
_bag(
    "utf-16",
    "valid",
    "",
    bag(
        declaration=b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-16\n",
        info="Payload-Oxum: 12.2\n".encode("utf-16"),
        manifest_sha256_txt=manifest(PAYLOAD).decode().encode("utf-16"),
    ),
)
_bag(
    "old-partial-manifests",
    "valid",
    "",
    bag(
        declaration=OLD_DECLARATION,
        algorithms=("sha256", "sha512"),
        manifest_sha512_txt=manifest({"data/hello.txt": b"hello\n"}, "sha512"),
    ),
)

# --- warnings ---------------------------------------------------------------------------------------------------
_bag("md5-only", "warnings", "algorithm-weak", bag(algorithms=("md5",)))
_bag("unknown-algorithm-beside", "warnings", "manifest-algorithm", bag() | {"manifest-whirlpool.txt": b"00  data/x\n"})
_bag("xof-algorithm-beside", "warnings", "manifest-algorithm", bag() | {"manifest-shake128.txt": b"00  data/x\n"})
_bag("upper-case-manifest-name", "warnings", "manifest-name-case", bag() | {"Manifest-SHA512.txt": b""})
_bag("payload-empty", "warnings", "payload-empty", bag({}, info=b"") | {"data/": b""})
_bag("blank-lines", "warnings", "blank-line", bag(manifest_sha256_txt=b"\n" + manifest(PAYLOAD)))
_bag("dot-slash", "warnings", "manifest-path-dot", _edited(lambda digest, path: f"{digest}  ./{path}"))
_bag("asterisk", "warnings", "manifest-asterisk", _edited(lambda digest, path: f"{digest} *{path}"))
_bag(
    "percent-raw",
    "warnings",
    "manifest-percent",
    bag({"data/a%25b": b"x"}, manifest_sha256_txt=manifest({"data/a%25b": b"x"}).replace(b"%2525", b"%25")),
)
_bag(
    "repeat-old",
    "warnings",
    "manifest-repeat",
    bag(declaration=OLD_DECLARATION, manifest_sha256_txt=manifest(PAYLOAD) + manifest({"data/hello.txt": b"hello\n"})),
)
_bag(
    "normalised-listing",
    "warnings",
    "name-normalised",
    bag({"data/e\u0301.txt": b"x"}, manifest_sha256_txt=manifest({"data/é.txt": b"x"})),
)
_bag("normal-twins", "warnings", "name-normal-twin", bag({"data/e\u0301": b"x", "data/é": b"y"}))
_bag("case-twins", "warnings", "name-case-twin", bag({"data/README": b"x", "data/readme": b"y"}))
_bag("control-name", "warnings", "name-control", bag({"data/a\x01b": b"x"}))
_bag("bidi-name", "warnings", "name-control", bag({"data/a\u202eb": b"x"}))
_bag("line-feed-name", "warnings", "name-control", bag({"data/a\nb\rc": b"x"}))
_bag("device-name", "warnings", "name-not-portable", bag({"data/aux.txt": b"x"}))
_bag("colon-name", "warnings", "name-not-portable", bag({"data/a:b": b"x"}))
_bag("trailing-dot", "warnings", "name-not-portable", bag({"data/a./b": b"x"}))
_bag("trailing-space", "warnings", "name-not-portable", bag({"data/a ": b"x"}))
_bag("long-component", "warnings", "name-component-long", bag({"data/" + "a" * 256: b"x"}), ON_DISK)
_bag("tag-file-unlisted", "warnings", "tagmanifest-unlisted", with_tag_manifest(bag()) | {"extra.txt": b"x"})
_bag(
    "tag-manifests-differ",
    "warnings",
    "tagmanifest-differ",
    with_tag_manifest(_TWO | {"x.txt": b"x"})
    | {"tagmanifest-sha512.txt": manifest({k: v for k, v in _TWO.items() if not k.startswith("data/")}, "sha512")},
)
_bag("tag-manifest-other-algorithm", "warnings", "tagmanifest-algorithms", with_tag_manifest(bag(), "sha512"))
_bag("two-spaces-in-bag-info", "warnings", "bag-info-space", bag(info=b"Contact-Name:  x\n"))
_bag("no-space-in-bag-info", "warnings", "bag-info-space", bag(info=b"Contact-Name:x\n"))
_bag(
    "date-repeated", "warnings", "bag-info-repeated", bag(info=b"Bagging-Date: 2020-01-01\nBagging-Date: 2020-01-02\n")
)
_bag("long-value", "warnings", "limit-bag-info-value", bag(info=b"Note: " + b"x" * 70_000 + b"\n"))
_bag("fetch-present", "warnings", "fetch-present", bag(fetch_txt=b"http://example.org/x 6 data/hello.txt\n"))
_bag(
    "fetch-other-length",
    "warnings",
    "fetch-present fetch-length",
    bag(fetch_txt=b"http://example.org/x 7 data/hello.txt\n"),
)
_bag("profile-unknown", "warnings", "profile-unknown", bag(info=b"BagIt-Profile-Identifier: http://example.org/p\n"))

# --- invalid ----------------------------------------------------------------------------------------------------
_bag("flipped-byte", "invalid", "checksum-mismatch", bag() | {"data/hello.txt": b"hellp\n"})
_bag(
    "tag-file-changed",
    "invalid",
    "checksum-mismatch",
    with_tag_manifest(bag(bag_info_txt=None))
    | {
        "manifest-sha256.txt": manifest(PAYLOAD)
        .upper()
        .replace(b"DATA/HELLO.TXT", b"data/hello.txt")
        .replace(b"DATA/MORE/NUMBERS.CSV", b"data/more/numbers.csv")
    },
)
_bag("file-missing", "invalid", "file-missing oxum-mismatch", {k: v for k, v in bag().items() if k != "data/hello.txt"})
_bag("file-unlisted", "invalid", "payload-unlisted oxum-mismatch", bag() | {"data/extra": b"x"})
_bag(
    "only-in-tag-manifest",
    "invalid",
    "payload-unlisted oxum-mismatch tagmanifest-lists-payload",
    bag()
    | {"data/extra": b"x"}
    | {
        "tagmanifest-sha256.txt": manifest(
            {k: v for k, v in bag().items() if not k.startswith("data/")} | {"data/extra": b"x"}
        )
    },
)
_bag("no-declaration", "invalid", "declaration-missing", bag(bagit_txt=None))
_bag(
    "declaration-swapped",
    "invalid",
    "declaration-malformed",
    bag(declaration=b"Tag-File-Character-Encoding: UTF-8\nBagIt-Version: 1.0\n"),
)
_bag(
    "declaration-third-line",
    "invalid",
    "declaration-malformed",
    bag(declaration=b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\nX: y\n"),
)
_bag(
    "declaration-space",
    "invalid",
    "declaration-malformed",
    bag(declaration=b"BagIt-Version : 1.0\nTag-File-Character-Encoding: UTF-8\n"),
)
_bag(
    "declaration-large",
    "invalid",
    "declaration-malformed",
    bag(declaration=b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n" + b"\n" * 1000),
)
_bag(
    "declaration-bom",
    "invalid",
    "declaration-bom",
    bag(declaration=b"\xef\xbb\xbfBagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"),
)
_bag(
    "version-2",
    "invalid",
    "version-unsupported",
    bag(declaration=b"BagIt-Version: 2.0\nTag-File-Character-Encoding: UTF-8\n"),
)
_bag(
    "encoding-codec",
    "invalid",
    "encoding-unsupported",
    bag(declaration=b"BagIt-Version: 1.0\nTag-File-Character-Encoding: unicode_escape\n"),
)
_bag("no-payload-directory", "invalid", "payload-directory-missing", bag({}, info=b""))
_bag("no-manifest", "invalid", "payload-manifest-missing", bag(manifest_sha256_txt=None))
_bag(
    "unsupported-manifest",
    "invalid",
    "payload-manifest-unsupported manifest-algorithm",
    bag(manifest_sha256_txt=None) | {"manifest-adler32.txt": b"00000001  data/hello.txt\n"},
)
_bag("wrong-encoding", "invalid", "tag-file-encoding", bag(info=b"Contact-Name: Andr\xe9\n"))
_bag("manifest-wrong-encoding", "invalid", "tag-file-encoding", bag(manifest_sha256_txt=b"\xff" + manifest(PAYLOAD)))
_bag("manifest-bom", "invalid", "tag-file-bom", bag(manifest_sha256_txt=b"\xef\xbb\xbf" + manifest(PAYLOAD)))
_bag(
    "manifest-without-path",
    "invalid",
    "manifest-line",
    bag(manifest_sha256_txt=manifest(PAYLOAD) + _SUM.encode() + b"\n"),
)
_bag(
    "manifest-short-digest",
    "invalid",
    "manifest-line",
    bag(manifest_sha256_txt=manifest(PAYLOAD) + b"abc  data/hello.txt\n"),
)
_bag(
    "manifest-escaped",
    "invalid",
    "manifest-escaped-line",
    bag(manifest_sha256_txt=manifest(PAYLOAD) + b"\\" + _SUM.encode() + b"  data/x\n"),
)
_bag(
    "manifest-long-line",
    "invalid",
    "limit-line",
    bag(manifest_sha256_txt=manifest(PAYLOAD) + _SUM.encode() + b"  data/" + b"x" * 5000 + b"\n"),
)
_bag(
    "manifest-traversal",
    "invalid",
    "manifest-path-unsafe",
    bag(manifest_sha256_txt=manifest(PAYLOAD) + _SUM.encode() + b"  ../bag-other/x\n"),
)
_bag(
    "manifest-inner-traversal",
    "invalid",
    "manifest-path-unsafe",
    bag(manifest_sha256_txt=manifest(PAYLOAD) + _SUM.encode() + b"  data/../data/hello.txt\n"),
)
_bag(
    "manifest-absolute",
    "invalid",
    "manifest-path-unsafe",
    bag(manifest_sha256_txt=manifest(PAYLOAD) + _SUM.encode() + b"  /etc/passwd\n"),
)
_bag(
    "manifest-drive",
    "invalid",
    "manifest-path-unsafe",
    bag(manifest_sha256_txt=manifest(PAYLOAD) + _SUM.encode() + b"  C:/x\n"),
)
_bag(
    "manifest-unc",
    "invalid",
    "manifest-path-unsafe",
    bag(manifest_sha256_txt=manifest(PAYLOAD) + _SUM.encode() + b"  \\\\?\\C:\\x\n"),
)
_bag(
    "manifest-outside-payload",
    "invalid",
    "manifest-path-outside",
    bag(manifest_sha256_txt=manifest(PAYLOAD) + _SUM.encode() + b"  bagit.txt\n"),
)
_bag(
    "manifest-directory",
    "invalid",
    "manifest-lists-directory",
    bag(manifest_sha256_txt=manifest(PAYLOAD) + _SUM.encode() + b"  data/more\n"),
)
_bag(
    "manifest-duplicate",
    "invalid",
    "manifest-duplicate",
    bag(manifest_sha256_txt=manifest(PAYLOAD) + manifest({"data/hello.txt": b"hello\n"})),
)
_bag(
    "manifest-conflict-old",
    "invalid",
    "manifest-duplicate",
    bag(declaration=OLD_DECLARATION, manifest_sha256_txt=manifest(PAYLOAD) + manifest({"data/hello.txt": b"other"})),
)
_bag(
    "manifests-disagree",
    "invalid",
    "manifest-incomplete",
    bag(algorithms=("sha256", "sha512"), manifest_sha512_txt=manifest({"data/hello.txt": b"hello\n"}, "sha512")),
)
_bag(
    "nfd-twin-unlisted",
    "invalid",
    "payload-unlisted name-normal-twin oxum-mismatch",
    bag({"data/é": b"x"}) | {"data/e\u0301": b"x"},
)
_bag(
    "tag-manifest-without-manifest",
    "invalid",
    "tagmanifest-incomplete",
    bag() | {"tagmanifest-sha256.txt": manifest({k: bag()[k] for k in ("bagit.txt", "bag-info.txt")})},
)
_bag(
    "tag-manifest-lists-itself",
    "invalid",
    "tagmanifest-lists-tagmanifest",
    bag()
    | {
        "tagmanifest-sha256.txt": manifest({k: v for k, v in bag().items() if not k.startswith("data/")})
        + _SUM.encode()
        + b"  tagmanifest-sha256.txt\n"
    },
)
_bag(
    "tag-file-missing",
    "invalid",
    "file-missing",
    {k: v for k, v in with_tag_manifest(bag() | {"extra.txt": b"x"}).items() if k != "extra.txt"},
)
_bag("bag-info-no-colon", "invalid", "bag-info-line", bag(info=b"no colon here\n"))
_bag("bag-info-continuation-first", "invalid", "bag-info-line", bag(info=b" first\nX: y\n"))
_bag("bag-info-label-space", "invalid", "bag-info-label", bag(info=b"Contact-Name : x\n"))
_bag("bag-info-too-large", "invalid", "limit-tag-file", bag(info=b"X: y\n" * 900_000))
_bag("bag-info-too-many", "invalid", "limit-bag-info-elements", bag(info=b"X: y\n" * 10_001))
_bag("oxum-twice", "invalid", "oxum-repeated", bag(info=b"Payload-Oxum: 12.2\nPayload-Oxum: 12.2\n"))
_bag("oxum-no-dot", "invalid", "oxum-malformed", bag(info=b"Payload-Oxum: 12\n"))
_bag("oxum-wrong", "invalid", "oxum-mismatch", bag(info=b"payload-oxum: 13.2\n"))
_bag(
    "fetch-incomplete",
    "invalid",
    "fetch-incomplete oxum-mismatch",
    {k: v for k, v in bag(fetch_txt=b"http://example.org/x - data/hello.txt\n").items() if k != "data/hello.txt"},
)
_bag("fetch-two-fields", "invalid", "fetch-line", bag(fetch_txt=b"http://example.org/x data/hello.txt\n"))
_bag("fetch-relative", "invalid", "fetch-url fetch-present", bag(fetch_txt=b"//example.org/x 6 data/hello.txt\n"))
_bag(
    "fetch-metadata-service",
    "invalid",
    "fetch-incomplete fetch-unlisted",
    bag(fetch_txt=b"http://169.254.169.254/latest 6 data/creds\n"),
)
_bag("fetch-traversal", "invalid", "fetch-path", bag(fetch_txt=b"http://example.org/x 6 data/../../etc/x\n"))
_bag("fetch-tag-file", "invalid", "fetch-path", bag(fetch_txt=b"http://example.org/x 6 bag-info.txt\n"))
_bag(
    "fetch-repeated",
    "invalid",
    "fetch-repeated fetch-present",
    bag(fetch_txt=b"http://example.org/x 6 data/hello.txt\n" * 2),
)
_bag("many-findings", "invalid", "payload-unlisted oxum-mismatch", bag() | {f"data/x{n}": b"x" for n in range(400)})

# --- CERN SIPs ----------------------------------------------------------------------------------------------------
_CONTENT = {"data/content/a.txt": b"hello\n"}


def cern_sip(**changes: object) -> Files:
    """A sound SIP with these changes in its sip.json (`entry_…`: in the entry of its file)."""
    entries = [
        {"origin": {"url": "https://example.org/a.txt", "filename": "a.txt", "path": ""}, "size": 6,
         "bagpath": "data/content/a.txt", "metadata": False, "downloaded": True,
         "checksum": ["md5:b1946ac92492d2347c6235b4d2611184"]},
        {"origin": {"filename": "sip.json", "path": ""}, "metadata": False, "downloaded": True,
         "bagpath": "data/meta/sip.json"},
    ]  # fmt: skip
    first = {key[6:]: value for key, value in changes.items() if key.startswith("entry_")}
    entries[0] = {key: value for key, value in (entries[0] | first).items() if value != "absent"}
    value = {
        "created_by": "test 1", "source": "zenodo", "recid": "1", "contentFiles": entries,
        "audit": [{"tool": {"name": "t", "version": "1", "params": {"dry_run": False}}, "action": "sip_create",
                   "timestamp": 1, "message": ""}],
        "sip_creation_timestamp": 1,
    } | {key: value for key, value in changes.items() if not key.startswith("entry_")}  # fmt: skip
    value = {key: item for key, item in value.items() if item != "absent"}
    return bag(_CONTENT | {"data/meta/sip.json": json.dumps(value).encode()})


_bag("sip", "valid", "", cern_sip())
_bag("sip-extension", "valid", "", cern_sip(perdura={"title": "x"}))
_bag(
    "sip-old-names",
    "warnings",
    "sip-deviation",
    cern_sip(
        recid="absent",
        resource_id="1",
        contentFiles="absent",
        files=json.loads(cern_sip()["data/meta/sip.json"])["contentFiles"],
    ),
)
_bag("sip-size-text", "warnings", "sip-deviation", cern_sip(entry_size="6"))
_bag("sip-size-other", "warnings", "sip-size-mismatch", cern_sip(entry_size=0))
_bag(
    "sip-file-unlisted",
    "warnings",
    "sip-file-unlisted",
    bag(_CONTENT | {"data/content/b.txt": b"x", "data/meta/sip.json": cern_sip()["data/meta/sip.json"]}),
)
_bag("sip-metadata-only", "warnings", "sip-no-content", cern_sip(entry_metadata=True))
_bag(
    "sip-not-downloaded",
    "warnings",
    "sip-not-downloaded sip-file-unlisted sip-no-content sip-deviation",
    cern_sip(entry_bagpath="absent", entry_downloaded=False),
)
_bag("sip-unknown-field", "invalid", "sip-json-field", cern_sip(surprise=1))
_bag("sip-no-recid", "invalid", "sip-json-field", cern_sip(recid="absent"))
_bag("sip-wrong-kind", "invalid", "sip-json-field", cern_sip(sip_creation_timestamp="1"))
_bag(
    "sip-bad-path",
    "invalid",
    "sip-json-field sip-not-downloaded sip-file-unlisted sip-no-content",
    cern_sip(entry_bagpath="data/content/../../x"),
)
_bag("sip-checksum", "invalid", "sip-checksum-mismatch", cern_sip(entry_checksum=["md5:" + "0" * 32]))
_bag("sip-adler32", "invalid", "sip-checksum-mismatch", cern_sip(entry_checksum="adler32:00000001"))
_bag("sip-adler32-right", "valid", "", cern_sip(entry_checksum=f"adler32:{zlib.adler32(b'hello' + bytes([10])):08x}"))
_bag(
    "sip-adler32-only",
    "invalid",
    "payload-manifest-unsupported manifest-algorithm sip-repairable",
    {
        path.replace("sha256", "adler32"): data
        for path, data in cern_sip(entry_checksum=f"adler32:{zlib.adler32(b'hello' + bytes([10])):08x}").items()
    },
)
_bag(
    "sip-light",
    "invalid",
    "sip-light",
    cern_sip(
        audit=[
            {"tool": {"name": "t", "version": "1", "params": {"dry_run": True}}, "action": "sip_create", "timestamp": 1}
        ]
    ),
)
_bag("sip-file-missing", "invalid", "sip-file-missing sip-file-unlisted", cern_sip(entry_bagpath="data/content/b.txt"))
_bag(
    "sip-json-of-many-files",
    "invalid",
    "sip-json-malformed",
    bag(_CONTENT | {"data/meta/sip.json": b"[" + b" " * 5_000_000 + b"]"}),
)
_bag(
    "sip-json-too-large",
    "warnings",
    "sip-json-not-read",
    bag(_CONTENT | {"data/meta/sip.json": b" " * (16 * 2**20 + 1)}),
)
_bag(
    "sip-json-of-too-many-values",
    "warnings",
    "sip-json-not-read",
    bag(_CONTENT | {"data/meta/sip.json": b"[" + b"{}," * 500 + b"{}]"}),
    limits=Limits(sip_json_values=1000),
)
_bag("sip-not-json", "invalid", "sip-json-malformed", bag(_CONTENT | {"data/meta/sip.json": b"{"}))
_bag("sip-twice-named", "invalid", "sip-json-malformed", bag(_CONTENT | {"data/meta/sip.json": b'{"a": {}, "a": {}}'}))
_bag(
    "sip-profile-version",
    "invalid",
    "profile-version",
    cern_sip() | {"bagit.txt": b"BagIt-Version: 0.96\nTag-File-Character-Encoding: UTF-8\n"},
)
_bag("sip-without-oxum", "invalid", "profile-bag-info-required", cern_sip() | {"bag-info.txt": b"X: y\n"})
_bag(
    "sip-named-but-missing",
    "invalid",
    "sip-json-missing",
    bag(info=b"BagIt-Profile-Identifier: urn:perdura:bagit-profile:cern-sip:1\nPayload-Oxum: 12.2\n"),
)
_bag(
    "generic-profile",
    "warnings",
    "profile-bag-info-recommended",
    bag(info=b"BagIt-Profile-Identifier: urn:perdura:bagit-profile:generic:1\n"),
)

# --- profiles -----------------------------------------------------------------------------------------------------


def _profile(**keys: object) -> Profile:
    keys = {name.replace("_", "-").replace("Fetch-txt", "Fetch.txt"): value for name, value in keys.items()}
    fixed = {"BagIt-Profile-Info": {"BagIt-Profile-Identifier": "http://example.org/profile"}}
    return parse_profile(json.dumps(fixed | {"Accept-BagIt-Version": ["1.0"]} | keys).encode())


_bag(
    "profile-kept",
    "valid",
    "",
    with_tag_manifest(bag(info=b"Contact-Name: a\n") | {"metadata/dc.xml": b""}),
    profile=_profile(
        Bag_Info={"Contact-Name": {"required": True, "values": ["a"], "repeatable": False}},
        Manifests_Required=["sha256"],
        Manifests_Allowed=["sha256"],
        Tag_Manifests_Required=["sha256"],
        Tag_Manifests_Allowed=["sha256"],
        Tag_Files_Required=["metadata/dc.xml"],
        Tag_Files_Allowed=["metadata/*"],
        Allow_Fetch_txt=False,
    ),
)
_bag(
    "profile-other",
    "invalid",
    "profile-identifier",
    bag(info=b"BagIt-Profile-Identifier: http://example.org/other\n"),
    profile=_profile(),
)
_bag(
    "profile-element-value",
    "invalid",
    "profile-bag-info-value",
    bag(info=b"Contact-Name: b\n"),
    profile=_profile(Bag_Info={"Contact-Name": {"values": ["a"]}}),
)
_bag(
    "profile-element-repeated",
    "invalid",
    "profile-bag-info-repeated",
    bag(info=b"Contact-Name: a\nContact-Name: a\n"),
    profile=_profile(Bag_Info={"Contact-Name": {"repeatable": False}}),
)
_bag(
    "profile-element-missing",
    "invalid",
    "profile-bag-info-required",
    bag(),
    profile=_profile(Bag_Info={"Contact-Name": {"required": True}}),
)
_bag(
    "profile-manifest-required",
    "invalid",
    "profile-manifest-required",
    bag(),
    profile=_profile(Manifests_Required=["sha512"]),
)
_bag(
    "profile-manifest-allowed",
    "invalid",
    "profile-manifest-allowed",
    bag(),
    profile=_profile(Manifests_Allowed=["sha512"]),
)
_bag(
    "profile-tagmanifest-required",
    "invalid",
    "profile-tagmanifest-required",
    bag(),
    profile=_profile(Tag_Manifests_Required=["sha256"]),
)
_bag(
    "profile-tagmanifest-allowed",
    "invalid",
    "profile-tagmanifest-allowed",
    with_tag_manifest(bag()),
    profile=_profile(Tag_Manifests_Allowed=["sha512"]),
)
_bag(
    "profile-tag-file-required",
    "invalid",
    "profile-tag-file-required",
    bag(),
    profile=_profile(Tag_Files_Required=["metadata/dc.xml"]),
)
_bag(
    "profile-tag-file-allowed",
    "invalid",
    "profile-tag-file-allowed",
    bag() | {"x.txt": b""},
    profile=_profile(Tag_Files_Allowed=["metadata/*"]),
)
_bag(
    "profile-fetch",
    "invalid",
    "profile-fetch fetch-present",
    bag(fetch_txt=b"http://example.org/x 6 data/hello.txt\n"),
    profile=_profile(Allow_Fetch_txt=False),
)
_bag(
    "profile-archive-forbidden",
    "invalid",
    "profile-serialization",
    bag(),
    ON_DISK | {"prefix"},
    profile=_profile(Serialization="forbidden"),
)
_bag(
    "profile-media-type",
    "invalid",
    "profile-serialization",
    bag(),
    ON_DISK | {"prefix"},
    profile=_profile(Accept_Serialization=["application/x-7z-compressed"]),
)
_bag(
    "profile-archive-required",
    "invalid",
    "profile-serialization",
    bag(),
    frozenset({"zip", "deflated", "tar", "tar.gz"}),
    profile=_profile(Serialization="required"),
)

# --- limits -------------------------------------------------------------------------------------------------------
_bag("limit-members", "rejected", "limit-members", bag(), limits=Limits(members=3))
_bag(
    "limit-paths",
    "rejected",
    "limit-paths",
    bag({f"data/{number}/{'long' * 50}/{'name' * 50}": b"" for number in range(3000)}),
    limits=Limits(members=5000, path_memory=1),
)
_bag("limit-size", "rejected", "limit-size", bag(), limits=Limits(package_size=100))
_bag("limit-manifest", "invalid", "limit-manifest", bag(), limits=Limits(manifest=100))
_bag(
    "limit-missing",
    "invalid",
    "limit-missing file-missing",
    bag() | {"manifest-sha256.txt": bag()["manifest-sha256.txt"] + _ABSENT},
    limits=Limits(missing=1000),
)
_bag(
    "limit-digests",
    "invalid",
    "limit-digests",
    bag({f"data/{number}": b"" for number in range(9000)}, algorithms=("sha384", "sha512", "sha256")),
    limits=Limits(members=9005, digest_memory=1),
)
_bag("limit-path", "rejected", "name-too-long", bag(), limits=Limits(path_bytes=20))
_bag(
    "empty-payload-refused",
    "invalid",
    "payload-empty",
    bag({}, info=b"") | {"data/": b""},
    limits=Limits(refuse_empty_payload=True),
)
_bag(
    "desktop-junk",
    "warnings",
    "desktop-junk",
    {"__MACOSX/._bag": b"x", ".DS_Store": b"x"} | {"bag/" + path: data for path, data in bag().items()},
    base="",
    limits=Limits(ignore_desktop_junk=True),
)
_bag(
    "desktop-junk-not-ignored",
    "rejected",
    "bag-place",
    {"__MACOSX/._bag": b"x"} | {"bag/" + path: data for path, data in bag().items()},
    base="",
)

# --- rejected, in every container that can hold it -------------------------------------------------------------------
_bag(
    "two-bags",
    "rejected",
    "bag-place",
    {f"{side}/{path}": data for side in "ab" for path, data in bag().items()},
    base="",
)
_bag("file-and-directory", "rejected", "member-file-and-directory", bag() | {"data/more": b"x"}, ON_DISK)
_bag("name-traversal", "rejected", "name-unsafe", bag() | {"data/../../x": b"x"}, ON_DISK)
_bag("name-dot", "rejected", "name-unsafe", bag() | {"data/./x": b"x"}, ON_DISK)
_bag("name-backslash", "rejected", "name-unsafe", bag() | {"data/a\\b": b"x"})
_bag("name-empty-component", "rejected", "name-unsafe", bag() | {"data//x": b"x"}, ON_DISK)
_bag("name-too-long", "rejected", "name-too-long", bag() | {"data/" + "abcdefgh/" * 110 + "x": b"x"}, ON_DISK)
_bag("name-too-deep", "rejected", "name-too-long", bag() | {"data/" + "a/" * 101 + "x": b"x"})

# --- archives -------------------------------------------------------------------------------------------------------


def _patched(data: bytes, old: bytes, new: bytes, count: int = -1) -> bytes:
    assert old in data
    return data.replace(old, new, count)


def _zip_with(**attributes: int) -> bytes:
    """A zip whose second member has other attributes (flag_bits, external_attr, create_system …)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, data in bag().items():
            info = zipfile.ZipInfo("bag/" + path, (2020, 1, 1, 0, 0, 0))
            info.external_attr = 0o100644 << 16
            archive.writestr(info, data)
        for name, value in attributes.items():
            setattr(archive.filelist[1], name, value)
    return out.getvalue()


def _central(start: int, value: bytes) -> bytes:
    """A zip whose first entry of the central directory holds other bytes."""
    data = bytearray(as_zip(bag()))
    at = data.find(b"PK\x01\x02") + start
    data[at : at + len(value)] = value
    return bytes(data)


def _zip_twice() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in [*bag(), "data/hello.txt"]:
            info = zipfile.ZipInfo("bag/" + name, (2020, 1, 1, 0, 0, 0))
            archive.NameToInfo.pop("bag/" + name, None)
            archive.writestr(info, bag()[name])
    return out.getvalue()


def _zip_streamed(deflated: bool, files: Files | None = None) -> bytes:
    """A zip with data descriptors, as a writer makes it that cannot seek."""

    class Stream(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            self.data += bytes(data)  # type: ignore[call-overload]
            return len(bytes(data))  # type: ignore[call-overload]

    out = Stream()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        for path, data in (files or bag()).items():
            archive.writestr(zipfile.ZipInfo("bag/" + path, (2020, 1, 1, 0, 0, 0)), data)
    return bytes(out.data)


def _zip_extra(extra: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, data in bag().items():
            info = zipfile.ZipInfo("bag/" + path, (2020, 1, 1, 0, 0, 0))
            archive.writestr(info, data)
        archive.filelist[1].extra = extra
    return out.getvalue()


def _zip_latin(name: bytes) -> bytes:
    return _patched(as_zip(bag({"data/hello.txt": b"x"})), b"data/hello.txt", b"data/" + name.ljust(9, b"x"))


def _zip_bomb() -> bytes:
    return as_zip(bag({"data/zeros": bytes(80 * 2**20)}), deflated=True)


def _overlapping() -> bytes:
    """Two entries of the central directory that share one local member."""
    data = as_zip(bag())
    start = data.rfind(b"PK\x05\x06")
    count, size, offset = struct.unpack("<HII", data[start + 10 : start + 20])
    central = data[offset : offset + size]
    first = central[: central.find(b"PK\x01\x02", 4)]
    twin = first.replace(b"bag/bagit.txt", b"bag/bagit.tx2")
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count + 1, count + 1, size + len(twin), offset, 0)
    return data[:offset] + central + twin + end


def _zip64(shift: int, length: int) -> bytes:
    """A zip with zip64 end records; the locator may point elsewhere, the record may be of another length."""
    data = as_zip(bag())
    start = data.rfind(b"PK\x05\x06")
    count, size, offset = struct.unpack("<HII", data[start + 10 : start + 20])
    record = struct.pack("<IQHHIIQQQQ", 0x06064B50, length, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<IIQI", 0x07064B50, 0, start + shift, 1)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:start] + record + locator + end


def _deflated_size(change: int) -> bytes:
    """A deflated zip that announces another unpacked size for one member, in both headers."""
    data = bytearray(as_zip(bag({"data/hello.txt": b"hello" * 100}, info=b""), deflated=True))
    local = data.find(b"bag/data/hello.txt") - 30
    central = data.rfind(b"bag/data/hello.txt") - 46
    for place in (local + 22, central + 24):
        data[place : place + 4] = struct.pack("<I", 500 + change)
    return bytes(data)


def _deflate_damaged() -> bytes:
    data = bytearray(as_zip(bag({"data/hello.txt": bytes(range(256)) * 4}), deflated=True))
    body = data.find(b"bag/data/hello.txt") + len(b"bag/data/hello.txt")
    data[body] = 0xFF
    return bytes(data)


def _hidden_member() -> bytes:
    """A member that lies in the archive but not in its central directory."""
    data = as_zip(bag())
    start = data.rfind(b"PK\x05\x06")
    size, offset = struct.unpack("<II", data[start + 12 : start + 20])
    hidden = as_zip({"data/hidden": b"x"})
    hidden = hidden[: hidden.find(b"PK\x01\x02")]
    end = data[start : start + 16] + struct.pack("<IH", offset + len(hidden), 0)
    return data[:offset] + hidden + data[offset : offset + size] + end


def _local_name() -> bytes:
    data = as_zip(bag())
    return _patched(data, b"bag/data/hello.txt", b"bag/data/hellp.txt", 1)


def _tar_type(kind: bytes, name: str = "bag/data/link", size: int = 0) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, data in bag().items():
            info = tarfile.TarInfo("bag/" + path)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        info = tarfile.TarInfo(name)
        info.type = kind
        info.linkname = "hello.txt"
        archive.addfile(info)
    return out.getvalue()


def _tar_pax(kind: bytes, headers: dict[str, str]) -> bytes:
    out = io.BytesIO()
    globals_ = headers if kind == tarfile.XGLTYPE else {}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers=globals_) as archive:
        for path, data in bag().items():
            info = tarfile.TarInfo("bag/" + path)
            info.size = len(data)
            if kind == tarfile.XHDTYPE:
                info.pax_headers = dict(headers)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _tar_edit(edit: Callable[[bytearray], None]) -> bytes:
    """A tar whose first header was edited, with a right checksum."""
    data = bytearray(as_tar(bag()))
    head = data[:512]
    edit(head)
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    data[:512] = head
    return bytes(data)


def _set(start: int, value: bytes) -> Callable[[bytearray], None]:
    def edit(head: bytearray) -> None:
        head[start : start + len(value)] = value

    return edit


def _tar_gnu() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, data in bag({"data/" + "long/" * 40 + "x": b"x"}).items():
            info = tarfile.TarInfo("./bag/" + path)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _tar_signed() -> bytes:
    """A tar whose first header sums its bytes as signed ones, as some old writers did."""
    data = bytearray(as_tar(bag()))
    data[265:267] = "é".encode()  # the owner's name, which counts for nothing
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(byte - 256 * (byte > 127) for byte in data[:512])
    return bytes(data)


def _tar_old() -> bytes:
    """A tar of before ustar: no magic, and a directory known by its slash only."""
    data = bytearray(_tar_type(b"0", "bag/empty/"))
    for at in range(0, len(data), 512):
        if data[at + 257 : at + 262] == b"ustar":
            data[at + 257 : at + 512] = bytes(255)
            data[at + 156] = 0
            data[at + 148 : at + 156] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    return bytes(data)


def _tar_two_names() -> bytes:
    """A member that a pax record and a GNU header name differently."""
    data = _tar_gnu()
    pax = tarfile.TarInfo("x")
    pax.type, record = tarfile.XHDTYPE, b"15 path=bag/abc\n"
    record = b"%d path=bag/abc\n" % (len(record) + 1)
    pax.size = len(record)
    at = data.index(b"././@LongLink")
    return data[:at] + pax.tobuf(tarfile.USTAR_FORMAT) + record.ljust(512, b"\0") + data[at:]


LONG = {"data/long.bin": bytes(range(256)) * 2800}
"""Longer than what is looked at in one piece."""


def _zip_long(*, deflated: bool = False, streamed: bool = False, **edit: int) -> bytes:
    """A zip with one long member; `edit` sets bytes of its local header (by field) or the one behind its bytes."""
    data = bytearray(_zip_streamed(deflated, bag(LONG)) if streamed else as_zip(bag(LONG), deflated=deflated))
    head = data.index(b"bag/data/long.bin") - 30
    places = {"method": head + 8, "crc": head + 14, "name": head + 30, "extra": head + 29, "body": head + 700}
    places["descriptor"] = data.index(b"PK\x07\x08", head) if streamed else 0
    for field, value in edit.items():
        data[places[field]] ^= value
    return bytes(data)


def _unicode_path(name: bytes, real: bytes, crc: int | None = None, times: int = 1) -> bytes:
    """A zip in which an extra field says how a name is really spelt (Info-ZIP, 0x7075)."""
    value = struct.pack("<BI", 1, zlib.crc32(name) if crc is None else crc) + real
    extra = (struct.pack("<HH", 0x7075, len(value)) + value) * times
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, data in bag({"data/xy": b"x"}, manifest_sha256_txt=manifest({"data/é": b"x"})).items():
            info = zipfile.ZipInfo("bag/" + path, (2020, 1, 1, 0, 0, 0))
            if path == "data/xy":
                info.extra = extra
            archive.writestr(info, data)
    return out.getvalue().replace(b"bag/data/xy", name)


_archive("zip-at-top", ".zip", "valid", "", lambda: as_zip(bag(), ""))
_archive("tar-at-top", ".tar", "valid", "", lambda: as_tar(bag(), "./"))
_archive("zip-streamed", ".zip", "valid", "", lambda: _zip_streamed(False))
_archive("zip-streamed-deflated", ".zip", "valid", "", lambda: _zip_streamed(True))
_archive("zip-comment", ".zip", "valid", "", lambda: as_zip(bag())[:-2] + b"\x05\x00hello")
_archive("zip-called-tar", ".tar", "warnings", "container-name", lambda: as_zip(bag()))
_archive("tar-gnu-long-name", ".tar", "valid", "", _tar_gnu)
_archive("tar-git-comment", ".tar", "valid", "", lambda: _tar_pax(tarfile.XGLTYPE, {"comment": "0" * 40}))
_archive("tar-mtime-records", ".tar", "valid", "", lambda: _tar_pax(tarfile.XHDTYPE, {"mtime": "1.5"}))
_archive(
    "gzip-two-members",
    ".tar.gz",
    "valid",
    "",
    lambda: gzip.compress(as_tar(bag())[:3000]) + gzip.compress(as_tar(bag())[3000:]),
)
_archive("gzip-empty-members", ".tar.gz", "valid", "", lambda: 3 * gzip.compress(b"") + gzip.compress(as_tar(bag())))
_archive(
    "gzip-too-many-members",
    ".tar.gz",
    "rejected",
    "limit-gzip-members",
    lambda: 3 * gzip.compress(b"") + gzip.compress(as_tar(bag())),
    limits=Limits(gzip_members=3),
)
_archive(
    "gzip-named",
    ".tar.gz",
    "valid",
    "",
    lambda: b"\x1f\x8b\x08\x18" + bytes(6) + b"n" * 1000 + b"\0note\0" + gzip.compress(as_tar(bag()))[10:],
)
_archive("gzip-padding", ".tar.gz", "valid", "", lambda: gzip.compress(as_tar(bag())) + bytes(1000))

_archive("nothing", ".zip", "rejected", "container-empty", lambda: b"")
_archive("text", ".zip", "rejected", "container-unknown", lambda: b"hello")
_archive("bzip2", ".tar.bz2", "rejected", "container-compression", lambda: b"BZh9" + bytes(600))
_archive("seven-zip", ".7z", "rejected", "container-compression", lambda: b"7z\xbc\xaf\x27\x1c" + bytes(600))
_archive("zip-empty", ".zip", "rejected", "container-empty", lambda: b"PK\x05\x06" + bytes(18))
_archive("zip-truncated", ".zip", "rejected", "zip-end-record", lambda: as_zip(bag())[:-30])
_archive("zip-trailing", ".zip", "rejected", "zip-end-record", lambda: as_zip(bag()) + b"x")
_archive(
    "zip-two-ends",
    ".zip",
    "rejected",
    "zip-end-record",
    lambda: as_zip(bag())[:-2] + struct.pack("<H", 22) + as_zip(bag())[-22:],
)
_archive("zip-prefixed", ".zip", "rejected", "zip-directory", lambda: b"PK\x03\x04stub" + as_zip(bag()))
_archive("zip-concatenated", ".zip", "rejected", "zip-directory", lambda: as_zip(bag()) + as_zip(bag()))
_archive("zip-hidden-member", ".zip", "rejected", "zip-tiling", _hidden_member)
_archive("zip-overlap", ".zip", "rejected", "zip-tiling", _overlapping)
_archive("zip-local-name", ".zip", "rejected", "zip-local-header", _local_name)
_archive("zip-crc", ".zip", "rejected", "member-checksum", lambda: _patched(as_zip(bag()), b"hello\n", b"hellp\n"))
_archive("zip-encrypted", ".zip", "rejected", "member-encrypted", lambda: _zip_with(flag_bits=1))
_archive("zip-method", ".zip", "rejected", "zip-method", lambda: _zip_with(compress_type=12))
_archive("zip-symlink", ".zip", "rejected", "member-type", lambda: _zip_with(external_attr=0o120777 << 16))
_archive(
    "zip-directory-attribute", ".zip", "rejected", "zip-file-type", lambda: _zip_with(external_attr=0o040755 << 16)
)
_archive("zip-disk", ".zip", "rejected", "zip-end-record", lambda: _central(34, b"\x03\x00"))
_archive("zip-duplicate", ".zip", "rejected", "member-duplicate", _zip_twice)
_archive("zip-not-utf8", ".zip", "rejected", "zip-name", lambda: _zip_latin(b"\xe9"))
_archive("zip-extra-malformed", ".zip", "rejected", "zip-extra", lambda: _zip_extra(b"\x01\x02\x03"))
_archive("zip-extra-zip64-twice", ".zip", "rejected", "zip-extra", lambda: _zip_extra(struct.pack("<HH", 1, 0) * 2))
_archive("zip-extra-aes", ".zip", "rejected", "member-encrypted", lambda: _zip_extra(struct.pack("<HH", 0x9901, 0)))
_archive("zip-bomb", ".zip", "rejected", "limit-ratio", _zip_bomb)
_archive(
    "zip-directory-large",
    ".zip",
    "rejected",
    "limit-zip-directory",
    lambda: as_zip(bag()),
    limits=Limits(zip_directory=100),
)
_archive("zip-stored-sizes", ".zip", "rejected", "member-size", lambda: _central(20, b"\x01"))
_archive("zip-inflates-to-more", ".zip", "rejected", "member-size", lambda: _deflated_size(-1))
_archive("zip-inflates-to-less", ".zip", "rejected", "zip-deflate", lambda: _deflated_size(1))
_archive("zip-deflate-damaged", ".zip", "rejected", "zip-deflate", _deflate_damaged)
_archive(
    "zip-descriptor",
    ".zip",
    "rejected",
    "zip-descriptor",
    lambda: _patched(_zip_streamed(False), b"PK\x07\x08", b"PK\x07\x09", 1),
)
_archive("zip64-locator", ".zip", "rejected", "zip64-record", lambda: _zip64(1, 44))
_archive("zip64-size", ".zip", "rejected", "zip64-record", lambda: _zip64(0, 45))
_archive("zip64", ".zip", "valid", "", lambda: _zip64(0, 44))
_archive(
    "gzip-large",
    ".tar.gz",
    "rejected",
    "limit-gzip-size",
    lambda: gzip.compress(as_tar(bag())),
    limits=Limits(gzip_package_size=1000),
)
_archive(
    "zip-flag-missing",
    ".zip",
    "warnings",
    "zip-name-flag",
    lambda: as_zip(bag({"data/é": b"x"})).replace(b"\x00\x08\x00\x00", b"\x00\x00\x00\x00"),
)
_archive("tar-symlink", ".tar", "rejected", "tar-type", lambda: _tar_type(tarfile.SYMTYPE))
_archive("tar-hardlink", ".tar", "rejected", "tar-type", lambda: _tar_type(tarfile.LNKTYPE))
_archive("tar-fifo", ".tar", "rejected", "tar-type", lambda: _tar_type(tarfile.FIFOTYPE))
_archive("tar-device", ".tar", "rejected", "tar-type", lambda: _tar_type(tarfile.CHRTYPE))
_archive("tar-sparse", ".tar", "rejected", "tar-type", lambda: _tar_pax(tarfile.XHDTYPE, {"GNU.sparse.major": "1"}))
_archive("tar-linkpath", ".tar", "rejected", "tar-type", lambda: _tar_pax(tarfile.XHDTYPE, {"linkpath": "x"}))
_archive("tar-global-path", ".tar", "rejected", "tar-metadata", lambda: _tar_pax(tarfile.XGLTYPE, {"path": "x"}))
_archive(
    "tar-metadata-large",
    ".tar",
    "rejected",
    "limit-tar-metadata",
    lambda: _tar_pax(tarfile.XHDTYPE, {"comment": "x" * (2**20 + 1)}),
)
_archive("tar-pax-size-long", ".tar", "rejected", "tar-size", lambda: _tar_pax(tarfile.XHDTYPE, {"size": "9" * 5000}))
_archive("tar-pax-size-two", ".tar", "rejected", "tar-size", lambda: _tar_pax(tarfile.XHDTYPE, {"size": "7"}))
_archive(
    "tar-header-damaged",
    ".tar",
    "rejected",
    "tar-header",
    lambda: _patched(as_tar(bag()), b"bag/data/hello.txt", b"bag/data/hellp.txt"),
)
_archive("tar-size-lie", ".tar", "rejected", "tar-truncated", lambda: _tar_edit(_set(124, b"77777777777\0")))
_archive("tar-size-negative", ".tar", "rejected", "tar-size", lambda: _tar_edit(_set(124, b"\xff" * 12)))
_archive("tar-name-latin", ".tar", "rejected", "tar-name", lambda: _tar_edit(_set(0, b"bag/b\xe9git.txt")))
_archive("tar-absolute", ".tar", "rejected", "name-unsafe", lambda: _tar_edit(_set(0, b"/bag/bagit.txt\0")))
_archive("tar-no-end", ".tar", "rejected", "tar-end", lambda: as_tar({"bagit.txt": bytes(512)})[:1024])
_archive("tar-trailing", ".tar", "rejected", "tar-end", lambda: as_tar(bag()) + b"x" * 512)
_archive("tar-concatenated", ".tar", "rejected", "tar-end", lambda: as_tar(bag()) + as_tar(bag()))
_archive("tar-truncated", ".tar", "rejected", "tar-truncated", lambda: as_tar(bag())[:700])
_archive(
    "tar-duplicate", ".tar", "rejected", "member-duplicate", lambda: _tar_type(tarfile.REGTYPE, "bag/data/hello.txt")
)
_archive("tar-directory-data", ".tar", "rejected", "directory-with-data", lambda: _tar_edit(_set(156, b"5")))
_archive("gzip-truncated", ".tar.gz", "rejected", "gzip-damaged", lambda: gzip.compress(as_tar(bag()))[:-20])
_archive("gzip-crc", ".tar.gz", "rejected", "gzip-damaged", lambda: gzip.compress(as_tar(bag()))[:-8] + bytes(8))
_archive("gzip-trailing", ".tar.gz", "rejected", "container-extra-bytes", lambda: gzip.compress(as_tar(bag())) + b"x")
_archive("gzip-of-zip", ".tar.gz", "rejected", "tar-header", lambda: gzip.compress(as_zip(bag())))
_archive(
    "gzip-bomb",
    ".tar.gz",
    "rejected",
    "limit-ratio",
    lambda: gzip.compress(as_tar(bag({"data/zeros": bytes(80 * 2**20)}))),
)
_archive(
    "gzip-header-large", ".tar.gz", "rejected", "gzip-header", lambda: b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 70_000
)
_archive("tar-signed-checksum", ".tar", "valid", "", _tar_signed)
_archive("tar-before-ustar", ".tar", "valid", "", _tar_old)
_archive(
    "tar-base-256",
    ".tar",
    "valid",
    "",
    lambda: _tar_edit(_set(124, b"\x80" + len(bag()["bagit.txt"]).to_bytes(11, "big"))),
)
_archive("tar-two-names", ".tar", "rejected", "tar-metadata", _tar_two_names)
_archive(
    "zip-unicode-path",
    ".zip",
    "warnings",
    "zip-name-flag",
    lambda: _unicode_path(b"bag/data/\x82z", "bag/data/é".encode()),
)
_archive(
    "zip-unicode-path-of-another-name",
    ".zip",
    "rejected",
    "zip-name",
    lambda: _unicode_path(b"bag/data/\x82z", "bag/data/é".encode(), crc=1),
)
_archive(
    "zip-unicode-path-contradicts",
    ".zip",
    "rejected",
    "zip-name",
    lambda: _unicode_path(b"bag/data/ab", b"bag/data/cd"),
)
_archive(
    "zip-unicode-path-twice",
    ".zip",
    "rejected",
    "zip-extra",
    lambda: _unicode_path(b"bag/data/ab", b"bag/data/ab", times=2),
)
_archive("zip-long", ".zip", "valid", "", _zip_long)
_archive("zip-long-deflated", ".zip", "valid", "", lambda: _zip_long(deflated=True))
_archive("zip-long-streamed", ".zip", "valid", "", lambda: _zip_long(streamed=True))
_archive("zip-long-streamed-deflated", ".zip", "valid", "", lambda: _zip_long(streamed=True, deflated=True))
_archive("zip-long-method", ".zip", "rejected", "zip-local-header", lambda: _zip_long(method=8))
_archive("zip-long-local-crc", ".zip", "rejected", "zip-local-header", lambda: _zip_long(crc=1))
_archive("zip-long-name", ".zip", "rejected", "zip-local-header", lambda: _zip_long(name=1))
_archive("zip-long-gap", ".zip", "rejected", "zip-extra", lambda: _zip_long(extra=1))
_archive("zip-long-crc", ".zip", "rejected", "member-checksum", lambda: _zip_long(body=1))
_archive("zip-long-streamed-crc", ".zip", "rejected", "member-checksum", lambda: _zip_long(streamed=True, body=1))
_archive("zip-long-descriptor", ".zip", "rejected", "zip-descriptor", lambda: _zip_long(streamed=True, descriptor=1))
