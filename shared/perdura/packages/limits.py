"""Limits that bound what a package may cost us (packages.md 2.9); each can be set per tenant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Le

from perdura.errors import Rejected

if TYPE_CHECKING:
    from perdura.settings import Settings

MIB = 2**20
_Positive = Annotated[int, Ge(1)]
_Natural = Annotated[int, Ge(0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """All limits, in bytes where nothing else is said, each described by its annotation.

    Declared sizes refuse early and never allocate.
    """

    package_size: Annotated[_Positive, "Unpacked size of a package."] = 4 * 2**40
    gzip_package_size: Annotated[_Positive, "Unpacked size of a tar.gz, whose reading cannot be resumed."] = 100 * 2**30
    ratio: Annotated[_Positive, "Unpacked bytes per stored byte, per member and in all."] = 100
    ratio_free: Annotated[_Natural, "Unpacked bytes up to which the ratio is not looked at."] = 64 * MIB
    members: Annotated[int, Ge(1), Le(1_000_000), "Members of a package."] = 200_000
    path_bytes: Annotated[int, Ge(1), Le(1024), "UTF-8 bytes of a path."] = 900
    path_components: Annotated[_Positive, "Components of a path."] = 100
    path_memory: Annotated[_Positive, "Bytes of memory for all paths, per member that is accepted."] = 210
    tar_metadata: Annotated[_Positive, "Extended header of one tar member."] = MIB
    zip_directory: Annotated[_Positive, "Central directory of a zip archive."] = 256 * MIB
    gzip_header: Annotated[_Positive, "Header of one gzip member."] = 64 * 1024
    gzip_members: Annotated[_Positive, "Members that follow one another in a gzip stream."] = 2_000_000
    padding: Annotated[_Natural, "Zero bytes after the end of a tar archive or gzip stream."] = MIB
    declaration: Annotated[_Positive, "bagit.txt."] = 1_000
    manifest: Annotated[_Positive, "One manifest."] = 512 * MIB
    digest_memory: Annotated[_Positive, "Bytes of digests in all manifests, per member that is accepted."] = 140
    missing: Annotated[_Positive, "Memory for files that manifests list and that are not there."] = 64 * MIB
    line: Annotated[_Positive, "One line of a manifest or of fetch.txt."] = 4_096
    tag_file: Annotated[_Positive, "bag-info.txt and fetch.txt each."] = 4 * MIB
    sip_json: Annotated[_Positive, "sip.json; a larger one is accepted without being read."] = 16 * MIB
    sip_json_values: Annotated[_Positive, "Values in sip.json; one with more is accepted without being read."] = (
        1_000_000
    )
    bag_info_elements: Annotated[_Positive, "Elements of bag-info.txt."] = 10_000
    bag_info_value: Annotated[_Positive, "One value of bag-info.txt in the index."] = 64 * 1024
    findings_per_rule: Annotated[_Positive, "Findings shown per rule; all are counted."] = 100
    findings: Annotated[_Positive, "Findings shown in all; all are counted."] = 1_000
    findings_bytes: Annotated[_Positive, "Text of all findings shown."] = 256 * 1024
    ignore_desktop_junk: Annotated[bool, "Drop __MACOSX/, .DS_Store and Thumbs.db at the top, with a warning."] = False
    refuse_empty_payload: Annotated[bool, "A bag without payload files is invalid."] = False


LIMITS = Limits()
"""The defaults."""

AIP_LIMITS = Limits(
    package_size=2**60,
    gzip_package_size=2**60,
    ratio=2**60,
    members=2_000_000,
    path_bytes=1024 + 120,
    path_components=1024 + 120,
    path_memory=2**40,
    digest_memory=2**40,
    missing=2**40,
    gzip_members=2**40,
    manifest=4 * 2**30,
)
"""Those of an AIP, whichever a submission may have had: it holds more files, under longer paths, and packed as well as
they can be packed. It is no stranger's: whoever reads one bounds the time and the disk that he gives it.

The paths of our own get up to 109 bytes longer: by `data/urn-uuid-…/representations/rep1/`, and a top folder `<uuid>/`.
"""


def limits_of(settings: Settings) -> Limits:
    """Those that submissions have here, whoever reads them; raises Rejected for settings that are none."""
    return parse_limits(settings.package_limits) if settings.package_limits else LIMITS


def parse_limits(values: Mapping[str, Any]) -> Limits:
    """Limits with some changed, as a tenant's settings or a command line give them; raises Rejected."""
    # Imported only where limits are changed: the models cost start-up time.
    from pydantic import TypeAdapter, ValidationError

    unknown = sorted(values.keys() - {one.name for one in fields(Limits)})
    if unknown:
        raise Rejected(f"there is no limit called {', '.join(unknown)}", code="unknown-limit")
    try:
        return TypeAdapter(Limits).validate_python(dict(values))
    except ValidationError as error:
        names = ", ".join(str(fault["loc"][0]) for fault in error.errors())
        raise Rejected(f"not a value that the limit can have: {names}", code="unknown-limit") from error
