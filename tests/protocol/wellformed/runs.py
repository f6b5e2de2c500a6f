"""Streams through the normalizer and the recorder, as the intake feeds them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from response_cache._fold.reducer import fold
from response_cache._protocol.jsontext import load
from response_cache._protocol.lifecycle import Trigger
from response_cache._protocol.responses import BROKEN_OFF
from response_cache._protocol.sse import payload
from response_cache._protocol.wellformed.log_check import Finding, Origin, check_log
from response_cache._recording.recorder import Recorder

NOW: Final = 1_700_000_000
ID: Final = "resp_rc1"
QUEUED: Final = {
    "id": ID,
    "object": "response",
    "created_at": NOW,
    "status": "queued",
    "background": True,
    "model": "asked",
    "output": [],
}


class Run:
    """One run: what an upstream sends is fed, and the log grows."""

    def __init__(self, *, keep_done_items: bool = True) -> None:
        queued = json.loads(json.dumps(QUEUED))
        self.recorder = Recorder.begin(
            queued, now=lambda: NOW, max_events=10**6, keep_done_items=keep_done_items
        )
        self.normalizer = self.recorder.normalizer

    def feed(self, *events: Any) -> Run:
        for event in events:
            self._record(self.normalizer.feed(event))
        return self

    def end(self) -> Run:
        """The stream has ended."""
        self.recorder.end(Trigger.FAIL, BROKEN_OFF)
        return self

    def _record(self, events: Iterable[dict[str, Any]]) -> None:
        for event in events:
            self.recorder.record(event["type"], event, b"")

    @property
    def log(self) -> list[dict[str, Any]]:
        return [load(payload(event)) for event in self.recorder.pending]

    @property
    def types(self) -> list[str]:
        """What the log has between its beginning and its end."""
        return [event["type"].removeprefix("response.") for event in self.log[3:-1]]

    @property
    def response(self) -> dict[str, Any]:
        """What a poll tells now, with ``partial_output=all``."""
        return dict(json.loads(self.recorder.snapshot()))

    @property
    def output(self) -> list[dict[str, Any]]:
        return list(self.response["output"])

    @property
    def text(self) -> str:
        """All that a poll shows, as text."""
        return json.dumps(self.output, ensure_ascii=False)

    @property
    def mended(self) -> dict[str, int]:
        return dict(self.normalizer.mended)

    @property
    def findings(self) -> list[Finding]:
        return check_log(self.log)

    @property
    def faults(self) -> list[Finding]:
        """Findings that are ours."""
        return [finding for finding in self.findings if finding.origin is Origin.OURS]


def played(events: Iterable[Any]) -> Run:
    """A whole stream."""
    return Run().feed(*events).end()


def folded(log: list[dict[str, Any]]) -> dict[str, Any]:
    """What a reader of the whole log has in the end."""
    return fold({}, log)
