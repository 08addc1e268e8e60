"""Every rule a package can break: its stable code, how grave that is, where it is written, and what it says.

`docs/package-rules.md` is this table for people; a test compares them. Clauses beginning with a letter are this
project's own (packages.md 2), the rest are sections of RFC 8493.
"""

from __future__ import annotations

from typing import NamedTuple

from perdura.errors import Rejected

WARNING, INVALID, REJECTED = "warning", "invalid", "rejected"


class Rule(NamedTuple):
    """One rule: `severity` is what breaking it makes of the package."""

    severity: str
    clause: str
    message: str


RULES: dict[str, Rule] = {
    # Containers
    "container-unknown": Rule(REJECTED, "C1", "This is neither a zip, nor a tar, nor a gzipped tar archive."),
    "container-name": Rule(WARNING, "C1", "The file's name announces another kind of archive than it is."),
    "container-compression": Rule(
        REJECTED, "G2", "This compression is not accepted; send a zip, a tar or a tar.gz archive."
    ),
    "container-empty": Rule(REJECTED, "C5", "The archive holds nothing."),
    "container-extra-bytes": Rule(REJECTED, "C4", "The archive holds bytes that belong to none of its members."),
    "member-type": Rule(REJECTED, "C2", "Only regular files and directories are accepted, no links or devices."),
    "member-encrypted": Rule(REJECTED, "C2", "The member is encrypted."),
    "member-duplicate": Rule(REJECTED, "C3", "Two members have the same path."),
    "member-file-and-directory": Rule(REJECTED, "C3", "The path is a file and also the directory of another file."),
    "member-checksum": Rule(REJECTED, "C5, Z11", "The member's CRC-32 is not that of its bytes."),
    "member-size": Rule(REJECTED, "C5", "The member has another size than the archive says."),
    "directory-with-data": Rule(REJECTED, "C6", "A directory member carries data."),
    "zip-end-record": Rule(REJECTED, "Z1", "The end record of the zip archive is missing, doubtful or split."),
    "zip64-record": Rule(REJECTED, "Z2", "The zip64 records contradict the end record or lie in the wrong place."),
    "zip-directory": Rule(REJECTED, "Z3", "The central directory is not what the end record announces."),
    "zip-tiling": Rule(REJECTED, "Z4", "Members overlap, or bytes lie hidden between, before or after them."),
    "zip-local-header": Rule(REJECTED, "Z5", "The member's local header contradicts the central directory."),
    "zip-descriptor": Rule(REJECTED, "Z6", "The member's data descriptor contradicts the central directory."),
    "zip-method": Rule(REJECTED, "Z7", "The member is compressed by a method other than stored or deflate."),
    "zip-deflate": Rule(REJECTED, "Z7", "The member's deflate stream is damaged or of another length."),
    "zip-name": Rule(REJECTED, "Z8", "The member's name is not UTF-8, or two names of it differ."),
    "zip-name-flag": Rule(WARNING, "Z8", "Names are UTF-8 but not marked as such."),
    "zip-extra": Rule(REJECTED, "Z9", "The member's extra fields are malformed or contradict its header."),
    "zip-file-type": Rule(REJECTED, "Z10", "The member's name and its file type disagree."),
    "tar-header": Rule(REJECTED, "T1", "A tar header is damaged."),
    "tar-type": Rule(REJECTED, "C2, T2", "Only regular files and directories are accepted, no links or devices."),
    "tar-metadata": Rule(REJECTED, "T3", "The extended header of a member is malformed or contradicts itself."),
    "tar-size": Rule(REJECTED, "T4", "The member's size is malformed or given twice with different values."),
    "tar-truncated": Rule(REJECTED, "T5", "A member is larger than what is left of the archive."),
    "tar-end": Rule(REJECTED, "T6", "The archive does not end in zero blocks and nothing else."),
    "tar-name": Rule(REJECTED, "T7", "The member's name is not UTF-8."),
    "gzip-damaged": Rule(REJECTED, "G1", "The gzip stream is damaged or cut off."),
    "gzip-header": Rule(REJECTED, "G1", "The gzip header is malformed or too large."),
    # Names
    "name-unsafe": Rule(REJECTED, "5.1, N1", "The path could point outside the bag or mean different things."),
    "name-encoding": Rule(REJECTED, "T7", "The name is not UTF-8."),
    "name-too-long": Rule(REJECTED, "N2", "The path is too long or too deep."),
    "name-component-long": Rule(WARNING, "N2", "A component of the path has more than 255 bytes."),
    "name-control": Rule(WARNING, "N4", "The name holds control or bidirectional characters."),
    "name-not-portable": Rule(WARNING, "N4", "The name cannot be kept on some file systems."),
    "name-case-twin": Rule(WARNING, "6.1.1, N4", "Another name differs from this one only in case."),
    "name-normal-twin": Rule(WARNING, "6.1.1, M5", "Another name differs from this one only in Unicode form."),
    # Limits
    "limit-members": Rule(REJECTED, "2.9", "The package has more members than are accepted."),
    "limit-paths": Rule(REJECTED, "N2, 2.9", "The paths of all members together are longer than is accepted."),
    "limit-size": Rule(REJECTED, "2.9", "The package is larger, unpacked, than is accepted."),
    "limit-gzip-size": Rule(REJECTED, "2.9", "The tar.gz is larger, unpacked, than is accepted; send zip or tar."),
    "limit-gzip-members": Rule(REJECTED, "G1, 2.9", "The gzip stream has more members than are accepted."),
    "limit-ratio": Rule(REJECTED, "C7, 2.9", "The package unpacks to far more than its own size."),
    "limit-tar-metadata": Rule(REJECTED, "T3, 2.9", "The extended header of a member is larger than is accepted."),
    "limit-zip-directory": Rule(REJECTED, "2.9", "The central directory is larger than is accepted."),
    "limit-manifest": Rule(INVALID, "2.9", "The manifest is larger than is accepted."),
    "limit-digests": Rule(INVALID, "2.9", "The manifests hold more digests than are accepted; this one was not read."),
    "limit-missing": Rule(INVALID, "3, 2.9", "The manifests list more missing files than can be kept in mind."),
    "limit-line": Rule(INVALID, "2.9", "A line of the file is longer than is accepted."),
    "limit-tag-file": Rule(INVALID, "2.9", "The tag file is larger than is accepted."),
    "limit-bag-info-elements": Rule(INVALID, "2.9", "bag-info.txt has more elements than are accepted."),
    "limit-bag-info-value": Rule(WARNING, "2.9", "The value of a bag-info element is cut in the index."),
    # Structure of the bag
    "bag-place": Rule(REJECTED, "2, N5", "The bag is neither at the top nor in one single top-level directory."),
    "desktop-junk": Rule(WARNING, "N5", "A file that a desktop left behind was ignored."),
    "declaration-missing": Rule(INVALID, "2.1.1", "bagit.txt is missing."),
    "declaration-malformed": Rule(INVALID, "2.1.1, M9", "bagit.txt is not exactly its two lines."),
    "declaration-bom": Rule(INVALID, "2.1.1", "bagit.txt begins with a byte-order mark."),
    "version-unsupported": Rule(INVALID, "2.1.1", "There is no such BagIt version, or it is not supported."),
    "encoding-unsupported": Rule(INVALID, "2.1.1, M10", "The declared encoding is unknown or no character set."),
    "payload-directory-missing": Rule(INVALID, "2.1.2", "The payload directory data/ is missing."),
    "payload-empty": Rule(WARNING, "2.1.2, N6", "The payload directory holds no file."),
    "payload-manifest-missing": Rule(INVALID, "2.1.3", "There is no payload manifest."),
    "payload-manifest-unsupported": Rule(INVALID, "2.4, M8", "No payload manifest has a supported algorithm."),
    "manifest-algorithm": Rule(WARNING, "2.4, M8", "The algorithm of the manifest is not supported; not checked."),
    "algorithm-weak": Rule(WARNING, "2.4, M8", "Payload is protected by md5 or sha1 only."),
    "manifest-name-case": Rule(WARNING, "2.1.3, M13", "Looks like a manifest, but manifests have lower-case names."),
    # Manifests
    "tag-file-encoding": Rule(INVALID, "2.1.1, M10", "The file is not in the declared encoding."),
    "tag-file-bom": Rule(INVALID, "2.3", "A UTF-8 tag file begins with a byte-order mark."),
    "manifest-line": Rule(INVALID, "2.1.3, M2", "A line is not a digest of this algorithm and a path."),
    "manifest-escaped-line": Rule(INVALID, "2.1.3, M3", "A line is escaped as md5sum does it."),
    "blank-line": Rule(WARNING, "2.1.3, M2", "The tag file has blank lines."),
    "manifest-path-unsafe": Rule(INVALID, "5.1, M3", "The manifest lists a path that could point outside the bag."),
    "manifest-path-outside": Rule(INVALID, "2.1.3", "A payload manifest lists a file outside data/."),
    "manifest-lists-directory": Rule(INVALID, "2.1.3", "The manifest lists a directory."),
    "manifest-path-dot": Rule(WARNING, "2.1.3, M3", "The manifest lists a path that begins with ./"),
    "manifest-asterisk": Rule(WARNING, "6.1.3", "The manifest has the * of md5sum before a path: not strictly valid."),
    "manifest-percent": Rule(WARNING, "2.1.3, M4", "A path is not percent-encoded as the bag's version wants it."),
    "manifest-duplicate": Rule(INVALID, "2.1.3, M6", "The manifest lists the path more than once."),
    "manifest-repeat": Rule(WARNING, "M6", "The manifest lists the path more than once, with the same digest."),
    "manifest-incomplete": Rule(INVALID, "3, M7", "The file is in one payload manifest, but not in every one."),
    "payload-unlisted": Rule(INVALID, "3, M7", "The payload file is in no payload manifest."),
    "file-missing": Rule(INVALID, "3", "The file is listed but not there."),
    "name-normalised": Rule(WARNING, "6.1.1, M5", "Listed under a name that differs only in Unicode form."),
    "checksum-mismatch": Rule(INVALID, "3", "The file is not what the manifest says."),
    # Tag manifests
    "tagmanifest-lists-payload": Rule(INVALID, "2.2.1", "A tag manifest lists a payload file."),
    "tagmanifest-lists-tagmanifest": Rule(INVALID, "2.2.1", "A tag manifest lists a tag manifest."),
    "tagmanifest-incomplete": Rule(INVALID, "2.2.1", "A tag manifest does not list a payload manifest."),
    "tagmanifest-unlisted": Rule(WARNING, "2.2.1", "A tag file is in no tag manifest: nothing protects it."),
    "tagmanifest-differ": Rule(WARNING, "2.2.1", "Tag manifests list different sets of files."),
    "tagmanifest-algorithms": Rule(WARNING, "2.2.1", "Tag manifests have other algorithms than payload manifests."),
    # bag-info.txt and fetch.txt
    "bag-info-line": Rule(INVALID, "2.2.2", "A line of bag-info.txt has no colon, or continues nothing."),
    "bag-info-label": Rule(INVALID, "2.2.2, M11", "A label of bag-info.txt is empty or surrounded by white space."),
    "bag-info-space": Rule(WARNING, "2.2.2, M11", "A value of bag-info.txt is not set off by exactly one space."),
    "bag-info-repeated": Rule(WARNING, "2.2.2", "The element should not be repeated."),
    "oxum-repeated": Rule(INVALID, "2.2.2", "Payload-Oxum is given more than once."),
    "oxum-malformed": Rule(INVALID, "2.2.2", "Payload-Oxum is not of the form octets.streams."),
    "oxum-mismatch": Rule(INVALID, "2.2.2, M12", "The payload has another size or number of files than Payload-Oxum."),
    "fetch-line": Rule(INVALID, "2.2.3", "A line of fetch.txt is not a URL, a length and a path."),
    "fetch-url": Rule(INVALID, "2.2.3", "An address in fetch.txt is not an absolute URI."),
    "fetch-path": Rule(INVALID, "5.1, 2.2.3", "fetch.txt names a path outside data/."),
    "fetch-repeated": Rule(INVALID, "2.2.3", "fetch.txt names the path more than once."),
    "fetch-unlisted": Rule(INVALID, "2.2.3", "A file of fetch.txt is not in every payload manifest."),
    "fetch-present": Rule(WARNING, "2.2.3, F1", "The bag has a fetch.txt; its files were all present."),
    "fetch-length": Rule(WARNING, "2.2.3", "A file of fetch.txt is present with another length."),
    "fetch-incomplete": Rule(INVALID, "2.2.3, F1", "The file is missing; fetch.txt is not resolved here."),
    # Profiles
    "profile-unknown": Rule(WARNING, "Profile", "The bag names a profile that is not installed; not checked."),
    "profile-identifier": Rule(INVALID, "Profile", "The bag names another profile than the one required."),
    "profile-bag-info-required": Rule(INVALID, "Profile Bag-Info", "A required element is missing."),
    "profile-bag-info-recommended": Rule(WARNING, "Profile Bag-Info", "A recommended element is missing."),
    "profile-bag-info-value": Rule(INVALID, "Profile Bag-Info", "The value is not one of those allowed."),
    "profile-bag-info-repeated": Rule(INVALID, "Profile Bag-Info", "The element must not be repeated."),
    "profile-manifest-required": Rule(INVALID, "Profile Manifests-Required", "A required manifest is missing."),
    "profile-manifest-allowed": Rule(INVALID, "Profile Manifests-Allowed", "The manifest is not allowed."),
    "profile-tagmanifest-required": Rule(
        INVALID, "Profile Tag-Manifests-Required", "A required tag manifest is missing."
    ),
    "profile-tagmanifest-allowed": Rule(INVALID, "Profile Tag-Manifests-Allowed", "The tag manifest is not allowed."),
    "profile-tag-file-required": Rule(INVALID, "Profile Tag-Files-Required", "A required tag file is missing."),
    "profile-tag-file-allowed": Rule(INVALID, "Profile Tag-Files-Allowed", "The tag file is not allowed."),
    "profile-fetch": Rule(INVALID, "Profile Allow-Fetch.txt", "fetch.txt is not allowed."),
    "profile-serialization": Rule(INVALID, "Profile Serialization", "The bag is not serialised as required."),
    "profile-version": Rule(INVALID, "Profile Accept-BagIt-Version", "The BagIt version is not accepted."),
    # CERN SIPs
    "sip-json-missing": Rule(INVALID, "SIP", "data/meta/sip.json is missing."),
    "sip-json-malformed": Rule(INVALID, "SIP", "data/meta/sip.json is not a JSON object in UTF-8."),
    "sip-json-not-read": Rule(WARNING, "SIP", "sip.json is larger than is read; the manifests alone were compared."),
    "sip-json-field": Rule(INVALID, "SIP", "A field of sip.json is missing, unknown or of the wrong kind."),
    "sip-deviation": Rule(WARNING, "SIP", "A field of sip.json deviates in a known way and was read as meant."),
    "sip-checksum-mismatch": Rule(INVALID, "SIP", "The file is not what sip.json says."),
    "sip-repairable": Rule(
        WARNING, "SIP", "No valid bag, but every file agrees with sip.json: manifests could be added."
    ),
    "sip-size-mismatch": Rule(WARNING, "SIP", "The file has another size than sip.json says."),
    "sip-file-missing": Rule(INVALID, "SIP", "sip.json names a file that is not there."),
    "sip-file-unlisted": Rule(WARNING, "SIP", "The payload file is not named in sip.json."),
    "sip-not-downloaded": Rule(WARNING, "SIP", "The producer could not download this file."),
    "sip-light": Rule(INVALID, "SIP", "A light SIP: its payload was never downloaded."),
    "sip-no-content": Rule(WARNING, "SIP", "The SIP holds metadata only."),
}  # fmt: skip


class PackageRejected(Rejected):
    """The container broke a rule of severity `rejected`: nothing in it can be trusted."""

    def __init__(self, code: str, path: str | None = None, detail: str | None = None) -> None:
        rule = RULES[code]
        super().__init__(rule.message if detail is None else f"{rule.message} ({detail})", code=code)
        self.path = path
        self.detail = detail
