"""How long tests wait, in one place, also on a busy machine."""

from __future__ import annotations

import os
from typing import Final

__all__ = ("WAIT_TIMEOUT", "allowed")

WAIT_TIMEOUT: Final = 120.0
"""Seconds after which a wait of a test has failed. Only failures take so long."""


def allowed(seconds: float) -> float:
    """*seconds* on an idle machine, and as much more as other work wants its cores.

    For tests of promises about time. Every other wait has ``WAIT_TIMEOUT``.
    """
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
