"""Makes the log and the state of one response, event by event. Pure: no I/O, no store.

The log is ours, not a copy of the upstream's. It begins ``response.created`` (0, queued),
``response.queued`` (1), has ``response.in_progress`` where the upstream began to answer, and ends
with exactly one of ``response.completed``, ``response.incomplete`` and ``response.failed`` (which
also ends a cancelled response: ``docs/protocol.md``). What the upstream says about the response in
its own lifecycle events is *adopted* into ours; every other event passes through under our dense
numbers. Its ``keepalive`` events and ``obfuscation`` padding are dropped.

Whatever an upstream sends, recording goes on. What ``record`` gets has been made well-formed by
the ``normalizer`` of the recorder, which counts what it mended. The counts are in the notes when
the response ends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from response_cache._fold.reducer import Fold
from response_cache._log.batches import Batch
from response_cache._log.delta_runs import DeltaRun
from response_cache._protocol.dialects import OFFICIAL, Dialect
from response_cache._protocol.events import (
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
from response_cache._protocol.ids import put_our_id, searchable
from response_cache._protocol.jsontext import JsonObject, dump, load, renumber
from response_cache._protocol.lifecycle import TERMINAL as TERMINAL_STATUSES
from response_cache._protocol.lifecycle import Status, Trigger, next_status
from response_cache._protocol.responses import (
    OUR_FIELDS,
    Failure,
    adopted,
    in_status,
    with_our_comparison,
)
from response_cache._protocol.sse import frame, payload
from response_cache._protocol.wellformed.normalizer import Normalizer
from response_cache.store import RecordView

__all__ = ("Recorder",)

logger = logging.getLogger("response_cache.recorder")


class Recorder:
    """The log and the folded state of one response, ahead of what the store has of it.

    While a stream comes in, ``intake.Intake`` feeds the recorder and is the only way to it: what a
    recorder says is about the events that it has got, and the intake may have more.
    """

    def __init__(
        self,
        response: JsonObject,
        *,
        now: Callable[[], float],
        max_events: int,
        dialect: Dialect = OFFICIAL,
        keep_done_items: bool = True,
    ) -> None:
        """Begin with the queued *response*; *now* gives Unix seconds for ``completed_at``.

        Snapshots are written in *dialect*. *keep_done_items*: see ``normalizer``.
        """
        self._dialect = dialect
        self._now = now
        self.max_events = max_events
        self._ours: JsonObject = {name: response[name] for name in OUR_FIELDS if name in response}
        self.fold: Fold = Fold(response)  # for the intake to read: what text is open
        self._unsaid: JsonObject = {}  # replaces defaults of the queued response
        self._upstream_id = ""  # the upstream's id of the response; empty: it has said none yet
        self._mark = b""  # a part of that id, to be searched for
        # For the intake to feed: what it returns is what ``record`` gets.
        self.normalizer: Normalizer = Normalizer(
            str(response["id"]), self._folded, keep_done_items=keep_done_items
        )
        self._move(Status(response["status"]))
        self.tail: int = 0  # the number of the next event
        self.pending: Batch = Batch()  # the events that were not taken yet
        self._notes: JsonObject = {}
        self._has_news = False
        self.ended_by_upstream: bool = False  # else by a limit, a cancel or a broken stream

    @classmethod
    def begin(
        cls,
        response: JsonObject,
        *,
        now: Callable[[], float],
        max_events: int,
        dialect: Dialect = OFFICIAL,
        unsaid: JsonObject | None = None,
        keep_done_items: bool = True,
    ) -> Recorder:
        """A new response: its first two events are pending.

        The fields in *unsaid* replace those of *response* once it is no longer queued.
        """
        recorder = cls(
            response,
            now=now,
            max_events=max_events,
            dialect=dialect,
            keep_done_items=keep_done_items,
        )
        recorder._unsaid = unsaid or {}
        told = dump(response)  # once for both, and the fold begins with it anyway
        for number, type in enumerate((CREATED, QUEUED)):
            event = b'{"type":"%b","response":%b,"sequence_number":%d}'
            recorder._keep(type, event % (type.encode(), told, number))
        return recorder

    @classmethod
    def resume(
        cls, view: RecordView, *, now: Callable[[], float], dialect: Dialect = OFFICIAL
    ) -> Recorder:
        """The response as a whole *view* shows it, so that it can be ended."""
        response = dialect.load(view.snapshot or b"")
        recorder = cls(response, now=now, max_events=view.tail + 1, dialect=dialect)
        for event in view.events:
            recorder.fold.apply(load(payload(event)))
        recorder._move(Status(view.status))
        recorder.tail = view.tail
        return recorder

    @property
    def id(self) -> str:
        """Our id of the response."""
        return str(self._ours["id"])

    @property
    def can_snapshot(self) -> bool:
        """Whether the Response object alone has all of the folded state."""
        return not self.fold.has_gaps

    def snapshot(self) -> bytes:
        """The Response object as folded so far, through event ``tail - 1``."""
        return self._dialect.dump(self.fold.response())

    def take(self) -> Batch:
        """The pending events, handed over."""
        events, self.pending = self.pending, Batch()
        return events

    def note(self, name: str, value: Any) -> None:
        """Put *value* into the notes, which are about the run and not part of the response."""
        if self._notes.get(name) != value:
            self._notes[name] = value
            self._has_news = True

    def take_notes(self) -> bytes | None:
        """The notes as JSON, or None when nothing in them is new."""
        if not self._has_news:
            return None
        self._has_news = False
        return dump(self._notes)

    def record(self, type: str, event: JsonObject, data: bytes) -> None:
        """One well-formed event, parsed from *data* (b"" if the event was changed since).

        The event belongs to the recorder from now on. Not to be called after the end.
        """
        if type in LIFECYCLE or type in UPSTREAM_TERMINAL:
            self._adopt(type, event, data)
        elif type not in DROPPED:
            self._pass_on(type, event, data)

    def extend(self, text: str, run: DeltaRun) -> None:
        """Record *run*: deltas that add *text* to the open text, numbered from the tail on."""
        open_text = self.fold.open_text
        if open_text is None:
            raise ValueError("no text is open")
        open_text.append(text)
        self.tail += run.length
        self.pending.extend(run)

    def answer(self, response: JsonObject) -> None:
        """The upstream's whole answer at once: a Response object instead of a stream."""
        if self.is_over:
            return
        for event in self.normalizer.answer(response):
            self.record(event["type"], event, b"")
            if self.is_over:  # perhaps by too many events
                return

    def start(self, upstream: JsonObject | None = None, extras: JsonObject | None = None) -> None:
        """The upstream begins to answer. *upstream* is the response as it describes it so far.

        *extras* are further keys of its event. Nothing happens when the response has begun.
        """
        if not self.is_queued:
            return
        self._move(next_status(self.status, Trigger.START))
        response = self._adopted(upstream or {})
        response["output"] = []
        settled = in_status(response, self.status, now=self._now())
        self._emit({**(extras or {}), "type": IN_PROGRESS, "response": settled})

    def end(self, trigger: Trigger, failure: Failure | None = None) -> None:
        """End the response by our own decision, once. The output that it has so far stays."""
        if self.is_over:
            return
        for event in self.normalizer.finish():
            self._pass_on(event["type"], event, b"")
            if self.is_over:  # by too many events
                return
        response = {**self.fold.response(), **(self._unsaid if self.is_queued else {})}
        self._finish(trigger, response, {}, self.normalizer.failure or failure)

    def end_at(self, number: int, failure: Failure) -> tuple[bytes, bytes]:
        """The terminal event, numbered *number*, and the snapshot through it.

        For a log whose newest part the store lost for good: the events from *number* on are given
        up. A response that was not over yet ends with *failure*.
        """
        self.take()
        self.tail = number
        if self.is_over:
            self._emit({"type": terminal_type(self.status), "response": self.fold.response()})
        else:
            for late in self.normalizer.finish():
                self.fold.apply(late)
            self.end(Trigger.FAIL, failure)
        (event,) = self.take()
        return event, self.snapshot()

    def _move(self, status: Status) -> None:
        self.status = status
        self.is_queued: bool = status is Status.QUEUED
        self.is_over: bool = status in TERMINAL_STATUSES  # nothing is recorded after that

    def _adopt(self, type: str, event: JsonObject, data: bytes) -> None:
        upstream = event.get("response")
        if not isinstance(upstream, dict):
            upstream = {}
        self._rename(upstream, event, data)
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
        self._finish(trigger_of(type, upstream), response, extras or {}, self.normalizer.failure)

    def _adopted(self, upstream: JsonObject) -> JsonObject:
        """The folded response with the upstream's value of each field that is not ours."""
        folded = {**self.fold.response(), **self._unsaid}
        self._unsaid = {}
        if "prompt_cache_options" in upstream:
            upstream = with_our_comparison(upstream, folded)
        return adopted(folded, upstream, self._ours)

    def _rename(self, upstream: JsonObject, event: JsonObject, data: bytes) -> None:
        """Note the upstream's id of the response, and put ours in its place all over *event*."""
        id = upstream.get("id")
        if isinstance(id, str) and id:
            self.note("upstream_id", id)
            self._upstream_id, self._mark = id, searchable(id)
        if self._upstream_id and (not data or data.count(self._mark) > 1):
            put_our_id(event, theirs=self._upstream_id, ours=self.id)

    def _finish(
        self, trigger: Trigger, response: JsonObject, extras: JsonObject, failure: Failure | None
    ) -> None:
        self._move(next_status(self.status, trigger))
        settled = in_status(response, self.status, now=self._now(), failure=failure)
        self._tell_mended()
        self._emit({**extras, "type": terminal_type(self.status), "response": settled})

    def _pass_on(self, type: str, event: JsonObject, data: bytes) -> None:
        """Number, fold and keep one event that is not about the response as a whole."""
        if self.tail >= self.max_events - 1:
            self.end(Trigger.FAIL, Failure(f"The response has more than {self.max_events} events."))
            return
        if self.is_queued:
            self.start()
        if (
            self._upstream_id
            and (not data or self._mark in data)
            and put_our_id(event, theirs=self._upstream_id, ours=self.id)
        ):
            data = b""
        if "response_id" in event and event["response_id"] != self._ours["id"]:
            event["response_id"] = self._ours["id"]
            data = b""
        self.fold.apply(event)
        self._keep(type, renumber(data or dump(event), event, self.tail))

    def _folded(self) -> Sequence[Any]:
        """The items by output index, with whole texts."""
        self.fold.response()
        return self.fold.output

    def _tell_mended(self) -> None:
        mended = dict(self.normalizer.mended)
        if mended:
            self.note("mended", mended)
            logger.debug("%s: events of the upstream were mended: %s", self.id, ", ".join(mended))

    def _emit(self, event: JsonObject) -> None:
        """Keep and fold an event of our own, which brings the whole response."""
        event["sequence_number"] = self.tail
        self._keep(event["type"], dump(event))
        self.fold.become(event["response"])

    def _keep(self, type: str, data: bytes) -> None:
        self.pending.append(frame(type, data))
        self.tail += 1


_LIFECYCLE_KEYS: Final = frozenset({"type", "sequence_number", "response", "obfuscation"})
