"""Limits that bound what a package may cost us (packages.md 2.9); each can be set per tenant."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MIB = 2**20
Bytes = Annotated[int, Field(ge=1)]


class Limits(BaseModel):
    """All limits, in bytes where nothing else is said. Declared sizes refuse early and never allocate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    package_size: Bytes = Field(default=4 * 2**40, description="Unpacked size of a package.")
    gzip_package_size: Bytes = Field(
        default=100 * 2**30, description="Unpacked size of a tar.gz: it cannot be resumed."
    )
    ratio: int = Field(default=100, ge=1, description="Unpacked bytes per stored byte, per member and in all.")
    ratio_free: int = Field(
        default=64 * MIB, ge=0, description="Unpacked bytes up to which the ratio is not looked at."
    )
    members: int = Field(default=200_000, ge=1, le=1_000_000, description="Members of a package.")
    path_bytes: int = Field(default=900, ge=1, le=1024, description="UTF-8 bytes of a path.")
    path_components: int = Field(default=100, ge=1, description="Components of a path.")
    tar_metadata: Bytes = Field(default=MIB, description="Extended header of one tar member.")
    zip_directory: Bytes = Field(default=256 * MIB, description="Central directory of a zip archive.")
    gzip_header: Bytes = Field(default=64 * 1024, description="Header of one gzip member.")
    padding: int = Field(default=MIB, ge=0, description="Zero bytes after the end of a tar archive or gzip stream.")
    declaration: Bytes = Field(default=1_000, description="bagit.txt.")
    manifest: Bytes = Field(default=512 * MIB, description="One manifest.")
    line: Bytes = Field(default=4_096, description="One line of a manifest or of fetch.txt.")
    tag_file: Bytes = Field(default=4 * MIB, description="bag-info.txt, fetch.txt and sip.json each.")
    bag_info_elements: int = Field(default=10_000, ge=1, description="Elements of bag-info.txt.")
    bag_info_value: Bytes = Field(default=64 * 1024, description="One value of bag-info.txt in the index.")
    findings_per_rule: int = Field(default=100, ge=1, description="Findings shown per rule; all are counted.")
    findings: int = Field(default=1_000, ge=1, description="Findings shown in all; all are counted.")
    findings_bytes: Bytes = Field(default=256 * 1024, description="Text of all findings shown.")
    ignore_desktop_junk: bool = Field(
        False, description="Drop __MACOSX/, .DS_Store and Thumbs.db at the top, with a warning."
    )
    refuse_empty_payload: bool = Field(default=False, description="A bag without payload files is invalid.")


LIMITS = Limits()
"""The defaults."""
