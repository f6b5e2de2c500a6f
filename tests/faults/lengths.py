"""How long the faults last, and what is scaled down with them: one table for all such tests.

``make test`` takes the scaled lengths, ``make soak`` the full ones. A test that wants both asks for
``lengths`` and is marked ``@pytest.mark.parametrize("lengths", BOTH)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pytest

from response_cache._recording.orphans import watch_time
from response_cache.options import Options
from tests import deadlines

__all__ = ("BOTH", "FULL", "SCALED", "WAIT_TIMEOUT", "Lengths")

WAIT_TIMEOUT: Final = deadlines.WAIT_TIMEOUT
"""Seconds after which what a test waits for will not happen any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Seconds, but for the last one. The names of options mean what they mean there."""

    lease: float
    take_lease: float
    orphan_confirmation: float  # more than socket_timeout and the longest back-off (0.5) together
    socket_timeout: float
    ttl: float  # of a response that is to outlive it while its upstream is silent
    silence: float  # and for how long
    short_outage: float  # less than the lease
    long_outage: float  # more than the lease
    freeze: float  # more than socket_timeout
    recovery: float  # from the return of the server to the first right answer
    cancels: int  # raced against as many ends

    @property
    def watch(self) -> float:
        """What looks orphaned for so long is closed."""
        return watch_time(Options(**self.options))

    @property
    def options(self) -> dict[str, Any]:
        """What a middleware gets of it."""
        return {
            "lease": self.lease,
            "take_lease": self.take_lease,
            "orphan_confirmation": self.orphan_confirmation,
            "full_timeout": 60.0,  # longer than any test keeps a store full
        }


SCALED: Final = Lengths(
    lease=1.0,
    take_lease=1.0,
    orphan_confirmation=1.5,
    socket_timeout=0.4,
    ttl=2.0,
    silence=3.0,
    short_outage=0.5,
    long_outage=1.5,
    freeze=1.0,
    recovery=5.0,  # 1.0 on a machine that has time for it
    cancels=40,
)
FULL: Final = Lengths(
    lease=15.0,
    take_lease=5.0,
    orphan_confirmation=2.0,
    socket_timeout=1.25,
    ttl=2.0,
    silence=10.0,
    short_outage=2.0,
    long_outage=20.0,
    freeze=5.0,
    recovery=1.0,
    cancels=200,
)
BOTH: Final = (
    pytest.param(SCALED, id="scaled"),
    pytest.param(FULL, id="full", marks=pytest.mark.soak),
)
