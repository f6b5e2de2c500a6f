"""Streams of events as upstreams send them, for property tests with Hypothesis.

``valid_streams`` follows the rules of the API: dense numbers, items and parts announced in order,
finished ones that say what their deltas said, one terminal event whose ``output`` is what was
streamed. Within these rules it varies all that may vary: items overlap, deltas are empty, texts
are not announced by deltas at all, fields are null at first, unknown events come in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from hypothesis import strategies as st

from response_cache.codec import JsonObject

__all__ = ("valid_streams",)

Script: TypeAlias = list[JsonObject]
"""The events of one item, from added to done, without ``output_index`` and numbers."""

_TEXTS: Final = st.text(max_size=4)
_STATUSES: Final = ("completed", "incomplete", "failed", "cancelled")


@st.composite
def valid_streams(draw: st.DrawFn, *, max_items: int = 4) -> list[JsonObject]:
    """Whole streams, from ``response.created`` to the terminal event."""
    scripts = draw(st.lists(_scripts(), max_size=max_items))
    response = {"id": "resp_1", "object": "response", "output": [], "metadata": {"of": "test"}}
    events = _begin(response, background=draw(st.booleans()))
    events += _interleave(scripts, order=draw(_orders(scripts)))
    events = _with_bystanders(events, draw(st.lists(_bystanders(len(events)), max_size=3)))
    output = [script[-1]["item"] for script in _by_index(scripts, events)]
    events += _end(response, output, draw)
    return [{**event, "sequence_number": n} for n, event in enumerate(events)]


def _begin(response: JsonObject, *, background: bool) -> list[JsonObject]:
    steps = ("created", "queued", "in_progress") if background else ("created", "in_progress")
    first = "queued" if background else "in_progress"
    return [
        {
            "type": f"response.{step}",
            "response": {**response, "status": "in_progress" if step == "in_progress" else first},
        }
        for step in steps
    ]
