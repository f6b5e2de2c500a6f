"""Bytes of an upstream's event stream become parsed events and runs of deltas.

    chunk ──> backlog ──> parse_backlog() ──┬── event ─────────> Recorder.record
                                            └── run of deltas ─> Recorder.extend

Chunks are put into the *backlog* as they come. The backlog is parsed when its events are needed,
mostly by the writer, once for each batch: to parse many events at a time costs a fraction of
parsing each by itself. So the recorder lags behind what has come. There are two ways to it, which
their types keep apart:

* ``parse_backlog`` parses all that has come and returns the recorder. There is no other way to the
  log, to the response, or to anything that changes them.
* ``so_far`` is the recorder as it is, with the few questions that a recorder that lags may answer.

``record`` is the one place where a parsed event goes from here to the recorder, by way of the
recorder's ``normalizer``, which makes the events of any upstream well-formed.
"""

from __future__ import annotations

import logging
from typing import Any, Final, Protocol

from response_cache._protocol.jsontext import MAX_DEPTH, load
from response_cache._protocol.lifecycle import Status
from response_cache._protocol.sse import DONE, Decoder
from response_cache._recording.delta_template import DeltaTemplate
from response_cache._recording.recorder import Recorder

__all__ = (
    "MAX_BACKLOG_BYTES",
    "SHORTEST_TERMINAL_EVENT",
    "TERMINAL_MARKER",
    "UPSTREAM_DEPTH",
    "Intake",
    "Progress",
)

logger = logging.getLogger("response_cache.intake")

UPSTREAM_DEPTH: Final = MAX_DEPTH - 16
"""Levels of nesting taken from an upstream: what an event brings stands deeper in the response."""

MAX_BACKLOG_BYTES: Final = 16 * 2**10
"""After this many bytes, parse the backlog, apply back-pressure, and yield to other tasks."""

TERMINAL_MARKER: Final = b'"response"'
"""Each terminal event holds these bytes, and hardly any other event does."""

SHORTEST_TERMINAL_EVENT: Final = 512
"""A chunk of at most so many bytes ends no response, because a terminal event brings the whole
Response: the shortest of 140 that were recorded from real servers has 930 bytes. A shorter one is
seen when the stream ends, or else with the next batch."""

RELEARN_EVERY: Final = 8  # deltas of one text that the template did not match


class Progress(Protocol):
    """What may be asked of a recorder while some of what has come is not parsed yet."""

    @property
    def id(self) -> str:
        """Our id of the response."""
        ...

    @property
    def status(self) -> Status:
        """The status after the last event that was recorded."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether the status is terminal."""
        ...

    @property
    def ended_by_upstream(self) -> bool:
        """Whether the upstream ended it, and not a limit, a cancel or a broken stream."""
        ...

    def note(self, name: str, value: Any) -> None:
        """Keep something about the run. No event depends on it."""
        ...


class Intake:
    """Parses one event stream for one recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self.so_far: Progress = recorder
        # Always the same list, so that a writer may hold it. Only chunks that end nothing may be
        # put there, once the response is in progress, and at most MAX_BACKLOG_BYTES of them.
        self.backlog: list[bytes] = []
        self.malformed_events: int = 0  # events of the upstream that were none
        self._recorder = recorder
        self._decoder = Decoder()
        self._open_text: list[str] | None = None  # the text that the last parsed event added to
        self._template: DeltaTemplate | None = None  # of the deltas that add to it
        self._misses = 0

    @property
    def has_pending(self) -> bool:
        """Whether anything has come that the writer has not taken yet."""
        return len(self.backlog) > 0 or self._recorder.pending.size > 0

    @property
    def pending_bytes(self) -> int:
        """Bytes of all that the writer has not taken yet, parsed or not."""
        return self._recorder.pending.size + sum(map(len, self.backlog))

    def parse_backlog(self) -> Recorder:
        """The recorder with all that has come."""
        if self.backlog:
            stream = b"".join(self.backlog)
            self.backlog.clear()
            at = 0
            while at < len(stream):
                at = self._extend(stream, at) or self._parse(stream, at)
        return self._recorder

    def feed(self, chunk: bytes) -> None:
        """Parse a piece of the event stream at once."""
        if not self._recorder.is_over:
            self.backlog.append(chunk)
            self.parse_backlog()

    def finish(self) -> None:
        """The event stream has ended; an event that it ended in counts."""
        self.parse_backlog()
        for event in self._decoder.finish():
            self.record(event.data, event.event)

    def record(self, data: bytes, name: str = "") -> None:
        """One event of the upstream: its ``data`` and its ``event`` line, if it had one."""
        recorder = self._recorder
        if recorder.is_over or data == DONE:
            return
        try:
            event = load(data, max_depth=UPSTREAM_DEPTH)
        except ValueError:
            event = data.decode(errors="replace")
        type = event.get("type") if isinstance(event, dict) else None
        if type is None and name and isinstance(event, dict):
            type, data = name, b""
            event["type"] = name
        if not isinstance(type, str):
            self._leave_out(event)
        for one in recorder.normalizer.feed(event):
            recorder.record(one["type"], one, data if one is event else b"")
            if recorder.is_over:
                return

    def _parse(self, stream: bytes, start: int) -> int:
        """Parse *stream* from *start* to the end of an event, or all of it; where that is."""
        end = stream.find(b"\n\n", start) + 2
        if end < 2:
            end = len(stream)
        piece = stream[start:end]
        is_whole, number = self._decoder.is_between_events, self._recorder.tail
        for event in self._decoder.feed(piece):
            self.record(event.data, event.event)
        is_one = is_whole and self._decoder.is_between_events
        if is_one and self._recorder.tail == number + 1:
            self._learn(piece)
        return end

    def _learn(self, frame: bytes) -> None:
        """Make a template of *frame*, which was recorded just now, if it is a delta of a text."""
        recorder = self._recorder
        open_text = recorder.fold.open_text
        if open_text is None or open_text is not self._open_text:
            self._open_text, self._template, self._misses = open_text, None, 0
            return
        if b"\\" in frame:
            return  # nothing to learn from
        if self._misses % RELEARN_EVERY == 0:
            newer = DeltaTemplate.of(frame, recorder.pending[-1], recorder.tail - 1)
            self._template = newer or self._template
        self._misses += 1

    def _extend(self, stream: bytes, at: int) -> int:
        """Record the deltas from *at* on that the template matches; where they end, or 0."""
        template, recorder = self._template, self._recorder
        if (
            template is None
            or self._open_text is not recorder.fold.open_text
            or not self._decoder.is_between_events
        ):
            return 0
        match = template.stretch(stream, at, recorder.tail, recorder.max_events - 1 - recorder.tail)
        if match is None:
            return 0
        text, run, end = match
        recorder.extend(text, run)
        return end

    def _leave_out(self, event: Any) -> None:
        """*event* is none of the API, so it is not recorded: the normalizer may learn from it."""
        self.malformed_events += 1
        if self.malformed_events == 1:
            why = "it has no type" if isinstance(event, dict) else "it is no JSON object"
            logger.warning("%s: an upstream event is left out: %s", self._recorder.id, why)
