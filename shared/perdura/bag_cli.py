"""`perdura bag`: make and verify BagIt bags, on disk and in object storage, without any running platform."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perdura.packages.reports import Read, shown, to_html, to_json

if TYPE_CHECKING:
    from perdura.packages.limits import Limits
    from perdura.packages.package import Report
    from perdura.packages.profiles import Profile
    from perdura.packages.source import ByteSource, TreeSource

UNREADABLE = 3
_STATUS = {"valid": 0, "warnings": 0, "invalid": 1, "rejected": 2}
_COLOURS = {"warning": "yellow", "invalid": "red", "rejected": "red"}

Progress = Callable[[int, int], None]


class _WrongCall(click.UsageError):
    exit_code = UNREADABLE


class Command(click.Command):
    """A wrong call ends with status 3 like everything that could not be read: 1 and 2 are verdicts.

    So does one that somebody stopped.
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\nStopped.", err=True)
            sys.exit(UNREADABLE)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            raise _WrongCall(error.message, error.ctx) from None


class Group(click.Group):
    """Commands of which a wrong name, too, ends with status 3."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise _WrongCall(error.message, error.ctx) from None


@click.group(cls=Group)
def bag() -> None:
    """Make and verify BagIt bags (RFC 8493).

    PATH is a directory, a zip, tar or tar.gz archive, or s3://bucket/key; the object store is the one that
    PERDURA_S3_ENDPOINT and its companions name.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What strangers call their files need not exist in the character set of the terminal.
        sys.stdout.reconfigure(errors="backslashreplace")


@bag.command(cls=Command)
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write the report as a page to this file."
)
@click.option("--profile", "profile_name", help="BagIt profile that must hold: a JSON file or an identifier.")
@click.option("--limit", "limits", multiple=True, metavar="NAME=NUMBER", help="Change a limit, as members=500000.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
def verify(
    path: str, as_json: bool, html: Path | None, profile_name: str | None, limits: tuple[str, ...], quiet: bool
) -> None:
    """Verify a bag: every byte, every rule.

    Ends with 0 when it is valid (warnings included), 1 when it is invalid, 2 when it is rejected (unsafe, or no
    package at all), 3 when it could not be read.
    """
    from perdura.packages.verify import verify as verify_package

    with failing_as_unreadable():
        chosen = _limits(limits)
        profile = _profile(profile_name) if profile_name else None
        begun, source = datetime.now(UTC), source_at(path)
        with _bar(quiet or as_json, "Verifying") as progress:
            report = verify_package(source, limits=chosen, profile=profile, progress=progress)
        read = _read(begun, source)
        if html is not None:
            html.write_text(to_html(path, report, read), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(to_json(path, report, read), ensure_ascii=False).encode())
    else:
        _print(path, report)
    sys.exit(_STATUS[report.verdict])


@bag.command(cls=Command)
@click.argument("directory")
@click.argument("target")
@click.option("--algorithm", "-a", "algorithms", multiple=True, help="Manifest algorithm [sha256 and sha512].")
@click.option("--info", "-i", "info", multiple=True, metavar="LABEL=VALUE", help="Element of bag-info.txt.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
def make(directory: str, target: str, algorithms: tuple[str, ...], info: tuple[str, ...], quiet: bool) -> None:
    """Make a BagIt 1.0 bag of DIRECTORY.

    TARGET ends in .tar or .zip (on disk or s3://bucket/key), or is a directory that does not exist yet. DIRECTORY
    itself is left as it is.
    """
    from perdura.bag_target import base_of, target_at
    from perdura.packages.make import plan_bag
    from perdura.packages.sources import LocalTree

    with failing_as_unreadable():
        elements = [_element(text) for text in info]
        source, write = LocalTree(directory), target_at(target)
        with _bar(quiet, "Hashing") as progress:
            plan = plan_bag(
                source,
                algorithms=algorithms or ("sha256", "sha512"),
                bag_info=elements,
                progress=progress,
                base=base_of(target),
            )
        write(plan, source)
    click.echo(f"{target}: {plan.files} files, {plan.bytes} bytes")


@bag.command(cls=Command)
@click.argument("file", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the profile as JSON.")
def profile(file: str | None, as_json: bool) -> None:
    """Check a BagIt profile FILE (or identifier), or list the profiles that are installed."""
    from perdura.packages.profiles import installed

    with failing_as_unreadable():
        chosen = [_profile(file)] if file else list(installed().values())
    for one in chosen:
        if as_json:
            click.echo(one.model_dump_json(by_alias=True, exclude_none=True))
        else:
            click.echo(f"{shown(one.info.identifier)}\n    {shown(one.info.description)}")


@contextmanager
def failing_as_unreadable() -> Iterator[None]:
    from perdura.errors import PerduraError
    from perdura.packages.rules import PackageRejected

    try:
        yield
    except PerduraError as error:
        place = f"{error.path}: " if isinstance(error, PackageRejected) and error.path else ""
        click.secho(f"{error.code}: {shown(place + error.message)}", fg="red", err=True)
        sys.exit(UNREADABLE)
    except OSError as error:
        # Of what is written: sources turn theirs into errors of our own.
        place = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        click.secho(f"not-written: {shown(place)}{error.strerror}", fg="red", err=True)
        sys.exit(UNREADABLE)


def source_at(path: str) -> ByteSource | TreeSource:
    from perdura.packages.sources import LocalFile, LocalTree

    if path.startswith("s3://"):
        return _stored(path)
    return LocalTree(path) if os.path.isdir(path) else LocalFile(path)


def _read(begun: datetime, source: ByteSource | TreeSource) -> Read:
    """When a source was read, and which state of it."""
    from perdura.packages.sources import StoredObject

    if isinstance(source, StoredObject):
        return Read(begun, datetime.now(UTC), source.ref.version_id, source.ref.etag)
    return Read(begun, datetime.now(UTC))


def _stored(url: str) -> ByteSource | TreeSource:
    """An object, or everything below a prefix when there is no object of that key."""
    from perdura.errors import NotStored
    from perdura.packages.sources import StoredObject, StoredPrefix, bucket_and_key
    from perdura.settings import settings
    from perdura.storage.s3 import S3Store

    bucket, key = bucket_and_key(url)
    store = S3Store(settings())
    if key and not key.endswith("/"):
        try:
            found = store.head(bucket, key)
            return StoredObject(store, found.ref, found.size)
        except NotStored:
            if next(store.list(bucket, key + "/"), None) is None:
                raise
    return StoredPrefix(store, bucket, key)


def _element(text: str) -> tuple[str, str]:
    from perdura.errors import Rejected

    label, equals, value = text.partition("=")
    if not equals:
        raise Rejected(f"{text!r} is not LABEL=VALUE", code="bag-info-line")
    return label, value


def _limits(changes: tuple[str, ...]) -> Limits:
    from perdura.packages.limits import LIMITS, parse_limits

    return parse_limits(dict(change.partition("=")[::2] for change in changes)) if changes else LIMITS


def _profile(name: str) -> Profile:
    from perdura.packages.profiles import installed, parse_profile
    from perdura.packages.sources import LocalFile

    if name in installed():
        return installed()[name]
    with LocalFile(name) as file:
        return parse_profile(file.read(0, 2**20))


def _print(path: str, report: Report) -> None:
    for finding in report.findings:
        click.secho(f"{finding.severity:8} {finding.code}", fg=_COLOURS[finding.severity], nl=False)
        place = f" {shown(finding.path)}" if finding.path else ""
        click.echo(f"{place}: {shown(finding.message)} [{finding.clause}]")
        if finding.expected or finding.found:
            click.echo(f"         expected {shown(finding.expected or '-')}, found {shown(finding.found or '-')}")
    hidden = sum(report.counts.values()) - len(report.findings)
    if hidden:
        click.echo(f"         and {hidden} more findings")
    colour = "green" if _STATUS[report.verdict] == 0 else "red"
    click.secho(f"{report.verdict}", fg=colour, bold=True, nl=False)
    click.echo(f" {shown(path)}: {report.container}, {report.payload_files} files, {report.payload_bytes} bytes")


@contextmanager
def _bar(hidden: bool, what: str) -> Iterator[Progress | None]:
    """A progress bar, on a terminal only."""
    if hidden or not sys.stderr.isatty():
        yield None
        return
    # Imported only when something is shown: it would double the time to start.
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
