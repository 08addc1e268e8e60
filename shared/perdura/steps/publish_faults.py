"""Several records of one Archive: what is wrong with one keeps no other from what was decided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from perdura.clients.inveniordm.wire import RdmGone
from perdura.errors import Broken, PerduraError, Rejected, Retryable


@dataclass
class Faults:
    """What was raised at single records, in their order, and records that were found deleted, which is no fault."""

    errors: list[PerduraError] = field(default_factory=list)
    gone: list[RdmGone] = field(default_factory=list)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep what is raised of one record, and go on with the next."""
        try:
            yield
        except RdmGone as gone:
            self.gone.append(gone)
        except PerduraError as error:
            self.errors.append(error)

    def lasting(self) -> PerduraError | None:
        """All that stays wrong, as one error; raises the first Retryable, for then all are asked again."""
        return together(self.errors) if self.errors else None


def together(errors: Sequence[PerduraError]) -> PerduraError:
    """At least one error as one, by the code of the first that is Broken, else of the first; raises a Retryable."""
    for error in errors:
        if isinstance(error, Retryable):
            raise error
    worst = next((error for error in errors if isinstance(error, Broken)), errors[0])
    if len(errors) == 1:
        return worst
    kind = Broken if isinstance(worst, Broken) else Rejected
    return kind("; ".join(error.message for error in errors), code=worst.code)
