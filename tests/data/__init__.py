"""What tests read: streams of real servers with invented words, and tables of the API's fields."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

DATA: Final = Path(__file__).parent
STREAMS: Final = DATA / "streams"  # one event a line
RAW: Final = DATA / "raw"  # whole bodies of text/event-stream
SERVERS: Final = DATA / "servers"  # the same, of servers that are not OpenAI


def table(name: str) -> dict[str, Any]:
    """A table: ``MANIFEST``, ``events``, ``response`` or the schema ``open-responses``."""
    found: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    return found
