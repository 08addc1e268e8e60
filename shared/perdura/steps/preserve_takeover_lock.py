"""Locks an AIP that somebody else made as one that was written here is locked from the beginning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from perdura.outcome import Finding, Package
from perdura.ports import Ports
from perdura.steps.preserve_retention import retain_until
from perdura.steps.preserve_takeover_course import Continued, Course
from perdura.steps.stored_package import pinned
from perdura.storage.store import ObjectRef


def retained(course: Course, ports: Ports) -> tuple[Course, tuple[Finding, ...]]:
    """The course with its package locked like one that was written here, object by object where it is unpacked.

    A store that keeps no locks where the AIP lies is told of in a finding. Raises Continued when time is up.
    """
    package = course.package
    assert package is not None
    until = package.retain_until or retain_until(ports.clock.now(), ports)
    if until is None:
        return course, ()
    course = replace(course, package=replace(package, retain_until=until))
    for ref in _objects(package, course.locked, ports):
        if ports.deadline.near():
            raise Continued(course)
        if not ports.store.retain(ref, until):
            message = f"The object store locks nothing in {package.bucket}: the AIP can be deleted there."
            return replace(course, package=package), (Finding("not-retained", message, "warning"),)
        course = replace(course, locked=ref.key)
    return course, ()


def _objects(package: Package, after: str, ports: Ports) -> Iterator[ObjectRef]:
    """What the package consists of, in the order of keys, each with its version."""
    if package.container != "prefix":
        yield pinned(package)
        return
    for info in ports.store.list(package.bucket, package.key, start_after=after):
        yield ports.store.head(package.bucket, info.ref.key).ref
