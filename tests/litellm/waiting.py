"""Waiting for a condition of another process, and for nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final, TypeVar

__all__ = ("WAIT_TIMEOUT", "until")

WAIT_TIMEOUT: Final = 8.0 if os.environ.get("RESPONSE_CACHE_LITELLM_ALONE") else 30.0
T = TypeVar("T")


def until(condition: Callable[[], T | None], what: str, *, within: float = WAIT_TIMEOUT) -> T:
    """What *condition* gives, once it is something; fails when that takes too long."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not in {within:g} s: {what}")
