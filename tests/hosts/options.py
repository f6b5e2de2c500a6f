"""What every app of these tests has in common."""

from __future__ import annotations

import os
from typing import Any, Final

__all__ = ("PATH", "STREAM", "options")

PATH: Final = "/v1/responses"
STREAM: Final = "text/event-stream"


def options() -> dict[str, Any]:
    """What the test wants of the middleware."""
    return {"store": os.environ["STORE"], "drain_timeout": float(os.environ["DRAIN_TIMEOUT"])}
