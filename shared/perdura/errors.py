"""The one exception tree.

PerduraError
├── Retryable      the same work will succeed later (a dependency is down, a lock is held)
│   └── StoreUnavailable, DatabaseUnavailable, UpstreamUnavailable …
├── Rejected       the input is at fault; trying again cannot help; the message is for its sender
│   └── NotStored, …
└── Broken         we or the operator are at fault; a person must look; the message is for the operator

What decides is the branch, never the leaf: the runtime retries the first, records the second as a failed or
rejected step, and blocks the step for a person on the third (architecture §3.6).
"""

from __future__ import annotations

UNREACHABLE = "registry-unreachable"
"""Code of a registry that does not answer: the commands end with another status then."""


class PerduraError(Exception):
    """Anything this project raises on purpose: a stable `code` for machines and a `message` for people."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class Retryable(PerduraError):
    """The same work will succeed later; nothing was decided about the input."""

    code = "retryable"

    def __init__(self, message: str, *, code: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class Rejected(PerduraError):
    """The input is at fault; the message tells its sender what to change."""

    code = "rejected"


class Broken(PerduraError):
    """We or the operator are at fault; a person has to look before trying again."""

    code = "broken"


class StoreUnavailable(Retryable):
    """The object store did not answer, or answered with a server error."""

    code = "store-unavailable"


class StoreFull(Retryable):
    """The object store has no room for what was to be written."""

    code = "store-full"


class DatabaseUnavailable(Retryable):
    """The database did not answer."""

    code = "database-unavailable"


class UpstreamUnavailable(Retryable):
    """A repository, tape system or access system did not answer, or asked us to come back later."""

    code = "upstream-unavailable"


class ObjectChanged(Retryable):
    """The object was replaced while it was being read (packages.md C8): start again."""

    code = "object-changed"


class NotStored(Rejected):
    """There is no object of that bucket, key and version."""

    code = "not-stored"


class Conflict(Rejected):
    """The state that the request expected is no longer the state there is."""

    code = "conflict"


class NotFound(Rejected):
    """There is nothing of that identifier, or nothing that the caller may see."""

    code = "not-found"
