"""How a call to a registry fails."""

from __future__ import annotations

from perdura.errors import UNREACHABLE, Rejected, Retryable


class Refused(Rejected):
    """The registry, or its object store, said no. `status` is the HTTP status, `problem` the `type` of the problem."""

    code = "registry-refused"

    def __init__(self, status: int, title: str, detail: str = "", problem: str = "") -> None:
        super().__init__(f"{title} ({status}){f': {detail}' if detail else ''}")
        self.status = status
        self.problem = problem


class Unreachable(Retryable):
    """Nobody answered, or somebody who is no registry."""

    code = UNREACHABLE
