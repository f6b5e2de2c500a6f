"""What a response becomes, event by event. Pure: it awaits nothing and knows no store.

The log is ours, not a copy of the upstream's: it begins ``response.created`` (0, queued),
``response.queued`` (1), has ``response.in_progress`` where the upstream began to answer, and ends
with exactly one of ``response.completed``, ``response.incomplete`` and ``response.failed`` (which
also ends a cancelled response, protocol 5). What the upstream says about the response in its own
lifecycle events is *adopted* into ours; everything else passes through under our dense numbers.
Its ``keepalive`` events and ``obfuscation`` padding are dropped.

Whatever an upstream sends, recording goes on: what cannot be folded is still passed on, what
cannot be read is counted and left out, and the terminal event puts the response right.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from response_cache.fold.reducer import Fold
from response_cache.log.batches import Batch
from response_cache.protocol.dialects import OFFICIAL, Dialect
from response_cache.protocol.events import (
    ALIASES,
    CREATED,
    DROPPED,
    IN_PROGRESS,
    LIFECYCLE,
    QUEUED,
    TERMINAL,
    UPSTREAM_TERMINAL,
    terminal_type,
    trigger_of,
)
from response_cache.protocol.jsontext import MAX_DEPTH, JsonObject, dump, load, renumber
from response_cache.protocol.lifecycle import TERMINAL as TERMINAL_STATUSES
from response_cache.protocol.lifecycle import Status, Trigger, next_status
from response_cache.protocol.missing_indexes import complete_address
from response_cache.protocol.responses import OUR_FIELDS, Failure, in_status
from response_cache.protocol.sse import DONE, Decoder, frame, payload
from response_cache.protocol.whole_answers import events_of
from response_cache.recording.delta_template import DeltaTemplate
from response_cache.store import RecordView

__all__ = ("UPSTREAM_DEPTH", "Recorder")

logger = logging.getLogger("response_cache.recorder")

UPSTREAM_DEPTH: Final = MAX_DEPTH - 16
"""Levels of nesting taken from an upstream: what an event brings stands deeper in the response."""


RELEARN_EVERY: Final = 8  # deltas of one text that were not like those before

TERMINAL_MARKER: Final = b'"response"'
"""It is in every event that ends a response, and hardly ever in others."""


class Recorder:
    """The log and the folded state of one response, ahead of what the store has of it.

    Pieces of an event stream are fed, or else put into the *backlog*, a list that is always the
    same object. It is parsed when somebody asks what became of it, which the writer does once for
    each batch: to parse many events at a time costs a fraction of parsing each by itself. Only
    pieces that end nothing may be put there, once the response is in progress, and not so many that
    other tasks have to wait while they are parsed. So ``status``, ``is_queued`` and ``is_over`` are
    those of what was read so far.
    """

    def __init__(
        self,
        response: JsonObject,
        *,
        now: Callable[[], float],
        max_events: int,
        dialect: Dialect = OFFICIAL,
    ) -> None:
        """Begin with the queued *response*; *now* gives Unix seconds for ``completed_at``.

        Snapshots are written in *dialect*.
        """
        self._dialect = dialect
        self._now = now
        self._max_events = max_events
        self._ours: JsonObject = {name: response[name] for name in OUR_FIELDS if name in response}
        self._fold = Fold(response)
        self._error: Failure | None = None
        self._move(Status(response["status"]))
        self._tail = 0
        self._pending = Batch()
        self._decoder = Decoder()
        self.backlog: list[bytes] = []
        self._open_text: list[str] | None = None  # what the last event that was parsed added to
        self._template: DeltaTemplate | None = None  # of those that add to it
        self._missed = 0
        self._notes: JsonObject = {}
        self._has_news = False
        self.malformed_events = 0  # events of the upstream that were no events
        self.ended_by_upstream = False  # and not by a limit, a cancel or a broken stream

    @classmethod
    def begin(
        cls,
        response: JsonObject,
        *,
        now: Callable[[], float],
        max_events: int,
        dialect: Dialect = OFFICIAL,
    ) -> Recorder:
        """A new response: its first two events are pending."""
        recorder = cls(response, now=now, max_events=max_events, dialect=dialect)
        told = dump(response)  # once for both, and the fold begins with it anyway
        for number, type in enumerate((CREATED, QUEUED)):
            event = b'{"type":"%b","response":%b,"sequence_number":%d}'
            recorder._keep(type, event % (type.encode(), told, number))
        return recorder

    @classmethod
    def resume(
        cls, view: RecordView, *, now: Callable[[], float], dialect: Dialect = OFFICIAL
    ) -> Recorder:
        """The response as the store has it in a whole *view*, so that it can be ended."""
        response = dialect.load(view.snapshot or b"")
        recorder = cls(response, now=now, max_events=view.tail + 1, dialect=dialect)
        for event in view.events:
            recorder._fold.apply(load(payload(event)))
        recorder._move(Status(view.status))
        recorder._tail = view.tail
        return recorder

    @property
    def id(self) -> str:
        """Our id of the response."""
        return str(self._ours["id"])

    @property
    def tail(self) -> int:
        """The number of the next event."""
        if self.backlog:
            self._catch_up()
        return self._tail

    @property
    def pending(self) -> Sequence[bytes]:
        """The events that were not taken yet."""
        self._catch_up()
        return self._pending

    @property
    def has_pending(self) -> bool:
        """Whether anything came that was not taken yet."""
        return len(self.backlog) > 0 or self._pending.size > 0

    @property
    def pending_bytes(self) -> int:
        """Those of all that was not taken yet, read or not."""
        return self._pending.size + sum(map(len, self.backlog))

    @property
    def can_snapshot(self) -> bool:
        """Whether the folded state can be told from the Response object alone."""
        self._catch_up()
        return not self._fold.has_gaps

    def snapshot(self) -> bytes:
        """The Response object as folded so far, through event ``tail - 1``."""
        self._catch_up()
        return self._dialect.dump(self._fold.response())

    def take(self) -> Batch:
        """The pending events, handed over."""
        if self.backlog:
            self._catch_up()
        events, self._pending = self._pending, Batch()
        return events

    def note(self, name: str, value: Any) -> None:
        """Put something about the run, not about the response, into the notes."""
        if self._notes.get(name) != value:
            self._notes[name] = value
            self._has_news = True

    def take_notes(self) -> bytes | None:
        """The notes as JSON if there is something new in them."""
        if not self._has_news:
            return None
        self._has_news = False
        return dump(self._notes)

    def feed(self, chunk: bytes) -> None:
        """A piece of the upstream's event stream."""
        if not self.is_over:
            self.backlog.append(chunk)
            self._catch_up()

    def finish(self) -> None:
        """The event stream is over; an event that it ended in counts."""
        self._catch_up()
        for event in self._decoder.finish():
            self.record(event.data, event.event)

    def _catch_up(self) -> None:
        """Read what was put aside. All that looks at the log or at the response begins with it."""
        if not self.backlog:
            return
        stream = b"".join(self.backlog)
        self.backlog.clear()
        at = 0
        while at < len(stream):
            at = self._add_matching(stream, at) or self._read(stream, at)

    def _read(self, stream: bytes, start: int) -> int:
        """Read *stream* from *start* to the end of an event, or all of it; where that is."""
        end = stream.find(b"\n\n", start) + 2
        if end < 2:
            end = len(stream)
        piece = stream[start:end]
        is_whole, number = self._decoder.is_between_events, self._tail
        for event in self._decoder.feed(piece):
            self.record(event.data, event.event)
        if is_whole and self._decoder.is_between_events and self._tail == number + 1:
            self._learn(piece)
        return end

    def _learn(self, frame: bytes) -> None:
        """See whether those that follow may be like *frame*, which was recorded just now."""
        open_text = self._fold.open_text
        if open_text is None or open_text is not self._open_text:
            self._open_text, self._template, self._missed = open_text, None, 0
            return
        if b"\\" in frame:
            return  # nothing to learn from
        if self._missed % RELEARN_EVERY == 0:
            newer = DeltaTemplate.of(frame, self._pending[-1], self._tail - 1)
            self._template = newer or self._template
        self._missed += 1

    def _add_matching(self, stream: bytes, at: int) -> int:
        """Record the deltas from *at* on that are like those before; where they end, or 0."""
        template, open_text = self._template, self._open_text
        if (
            template is None
            or open_text is None
            or open_text is not self._fold.open_text
            or not self._decoder.is_between_events
        ):
            return 0
        match = template.stretch(stream, at, self._tail, self._max_events - 1 - self._tail)
        if match is None:
            return 0
        text, run, end = match
        open_text.append(text)
        self._tail += run.length
        self._pending.extend(run)
        return end

    def record(self, data: bytes, name: str = "") -> None:
        """One event of the upstream: its ``data`` and its ``event`` line, if it had one."""
        if self.is_over or data == DONE:
            return
        try:
            event = load(data, max_depth=UPSTREAM_DEPTH)
        except ValueError:
            self._leave_out("it is not JSON")
            return
        if not isinstance(event, dict):
            self._leave_out("it is not an object")
            return
        type = event.get("type")
        if type is None and name:
            type, data = name, b""
            event["type"] = name
        if isinstance(type, str):
            self._sort(type, event, data)
        else:
            self._leave_out("it has no type")

    def answer(self, response: JsonObject) -> None:
        """The upstream's whole answer at once: a Response object instead of a stream."""
        if self.is_over:
            return
        self.start(response)
        for event in events_of(response):
            self._pass_on(event["type"], event, b"")
        if not self.is_over:  # by too many events
            self._adopt_end(DONE_DIALECT, response)

    def start(self, upstream: JsonObject | None = None, extras: JsonObject | None = None) -> None:
        """The upstream begins to answer, with what it says of the response so far."""
        if not self.is_queued:
            return
        self._move(next_status(self.status, Trigger.START))
        response = self._adopted(upstream or {})
        output = (upstream or {}).get("output")
        response["output"] = output if isinstance(output, list) else []
        settled = in_status(response, self.status, now=self._now())
        self._emit({**(extras or {}), "type": IN_PROGRESS, "response": settled})

    def end(self, trigger: Trigger, failure: Failure | None = None) -> None:
        """End the response by our own decision; what was produced so far stays (protocol U1)."""
        self._catch_up()
        if self.is_over:
            return
        self._finish(trigger, self._fold.response(), {}, self._error or failure)

    def end_at(self, number: int, failure: Failure) -> tuple[bytes, bytes]:
        """The terminal event under *number*, and the snapshot through it.

        For a log that lost its end and cannot get it back: what follows *number* is given up. A
        response that was not over yet ends with *failure*.
        """
        self.take()
        self._tail = number
        if self.is_over:
            self._emit({"type": terminal_type(self.status), "response": self._fold.response()})
        else:
            self.end(Trigger.FAIL, failure)
        (event,) = self.take()
        return event, self.snapshot()

    def _move(self, status: Status) -> None:
        self.status = status
        self.is_queued = status is Status.QUEUED
        self.is_over = status in TERMINAL_STATUSES  # nothing is recorded after that

    def _sort(self, type: str, event: JsonObject, data: bytes) -> None:
        if type in LIFECYCLE or type in UPSTREAM_TERMINAL:
            self._adopt(type, event)
        elif type not in DROPPED:
            self._pass_on(type, event, data)

    def _adopt(self, type: str, event: JsonObject) -> None:
        upstream = event.get("response")
        if not isinstance(upstream, dict):
            upstream = {}
        extras = {key: value for key, value in event.items() if key not in _LIFECYCLE_KEYS}
        if type in TERMINAL or type in UPSTREAM_TERMINAL:
            self.start(upstream)
            self._adopt_end(type, upstream, extras)
        else:
            self.start(upstream, extras)

    def _adopt_end(self, type: str, upstream: JsonObject, extras: JsonObject | None = None) -> None:
        response = self._adopted(upstream)
        output = upstream.get("output")
        if isinstance(output, list) and output:
            response["output"] = output
        self.ended_by_upstream = True
        self._finish(trigger_of(type, upstream), response, extras or {}, self._error)

    def _adopted(self, upstream: JsonObject) -> JsonObject:
        """The folded response with the upstream's word on everything but what is ours."""
        id = upstream.get("id")
        if isinstance(id, str):
            self.note("upstream_id", id)
        folded = self._fold.response()
        return {**folded, **upstream, **self._ours, "output": folded["output"]}

    def _finish(
        self, trigger: Trigger, response: JsonObject, extras: JsonObject, failure: Failure | None
    ) -> None:
        self._move(next_status(self.status, trigger))
        settled = in_status(response, self.status, now=self._now(), failure=failure)
        self._emit({**extras, "type": terminal_type(self.status), "response": settled})

    def _pass_on(self, type: str, event: JsonObject, data: bytes) -> None:
        """Number, fold and keep one event that is not about the response as a whole."""
        if self._tail >= self._max_events - 1:
            self.end(
                Trigger.FAIL, Failure(f"The response has more than {self._max_events} events.")
            )
            return
        if self.is_queued:
            self.start()
        if type in ALIASES:
            type = event["type"] = ALIASES[type]
            data = b""
        if "response_id" in event:
            event["response_id"] = self._ours["id"]
            data = b""
        if type == "error":
            self._error = _failure_of(event)
        if not self._fold.apply(event) and complete_address(event, self._fold.output):
            self._fold.apply(event)
            data = b""
        self._keep(type, renumber(data or dump(event), event, self._tail))

    def _emit(self, event: JsonObject) -> None:
        """Keep and fold an event of our own, which brings the whole response."""
        event["sequence_number"] = self._tail
        self._keep(event["type"], dump(event))
        self._fold.become(event["response"])

    def _keep(self, type: str, data: bytes) -> None:
        self._pending.append(frame(type, data))
        self._tail += 1

    def _leave_out(self, why: str) -> None:
        self.malformed_events += 1
        if self.malformed_events == 1:
            logger.warning("%s: an upstream event is left out: %s", self._ours["id"], why)


DONE_DIALECT: Final = "response.done"  # an end that leaves the kind of end to response.status
_LIFECYCLE_KEYS: Final = frozenset({"type", "sequence_number", "response", "obfuscation"})


def _failure_of(event: JsonObject) -> Failure:
    """An ``error`` event, nested as on the real wire or flat as documented (protocol 4)."""
    error: Any = event.get("error")
    error = error if isinstance(error, dict) else event
    message, code = error.get("message"), error.get("code") or error.get("type")
    return Failure(
        message if isinstance(message, str) else "The upstream reported an error.",
        code if isinstance(code, str) and code != "error" else "server_error",
    )
