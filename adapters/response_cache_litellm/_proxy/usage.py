"""Usage and cost, read from the terminal event: LiteLLM's own report may come too late."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from response_cache._protocol.jsontext import load
from response_cache._protocol.sse import Decoder

__all__ = ("usage_in",)

_TERMINAL_EVENTS: Final = (b'"response.completed"', b'"response.incomplete"', b'"response.failed"')


def usage_in(chunk: bytes) -> Mapping[str, Any] | None:
    """The usage in *chunk* where it holds a terminal event, which LiteLLM sends in one chunk."""
    if not any(end in chunk for end in _TERMINAL_EVENTS):
        return None
    decoder = Decoder()
    for event in (*decoder.feed(chunk), *decoder.finish()):
        usage = _usage_of(event.data)
        if usage is not None:
            return usage
    return None


def _usage_of(data: bytes) -> Mapping[str, Any] | None:
    try:
        event = load(data)
    except ValueError:
        return None
    response = event.get("response") if isinstance(event, dict) else None
    usage = response.get("usage") if isinstance(response, dict) else None
    return usage if isinstance(usage, dict) else None
