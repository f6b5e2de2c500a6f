"""How long tests wait, in one place: on a machine that has other things to do, too."""

from __future__ import annotations

import os
from typing import Final

__all__ = ("PATIENCE", "allowed")

PATIENCE: Final = 120.0
"""Seconds after which what a test waits for will not happen any more. Only failures take long."""


def allowed(seconds: float) -> float:
    """*seconds* on a machine that is free; as much more as others want its cores.

    For tests of promises about time. What is waited for without one has ``PATIENCE``.
    """
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
