"""Whatever an upstream answers: nothing raises, and what is recorded is well formed."""

from __future__ import annotations

import gzip
import json
import os
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from response_cache._fold.reducer import fold
from response_cache._protocol.events import LIFECYCLE, TERMINAL
from response_cache._protocol.lifecycle import Trigger
from response_cache._protocol.responses import Failure
from response_cache._protocol.sse import Decoder
from response_cache._recording.answer import Answer
from response_cache._recording.attempt import Attempt, Refusal
from response_cache._recording.intake import Intake
from response_cache._recording.recorder import Recorder
from response_cache._recording.timers import Timers
from tests.fuzz.damage import cuts, damaged_streams, json_values

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))
MAX_EVENTS = 120
QUEUED = {"id": "resp_rc1", "status": "queued", "metadata": {}, "output": []}

STATUSES = st.sampled_from((200, 200, 200, 200, 204, 299, 300, 404, 429, 500, 999))
KINDS = st.sampled_from(
    (b"text/event-stream", b"text/event-stream; charset=x", b"application/json", b"", b"text/html")
)
CODINGS = st.sampled_from((b"", b"", b"", b"identity", b"gzip", b"deflate", b"br", b"\xff"))


class Listener:
    """An answer, the recorder behind it, and what the client was told."""

    def __init__(self) -> None:
        queued = json.loads(json.dumps(QUEUED))
        self.recorder = Recorder.begin(queued, now=lambda: 0.0, max_events=MAX_EVENTS)
        self.log = [*self.recorder.take()]
        self.intake = Intake(self.recorder)
        self.refusal: Refusal | None = None
        attempt = Attempt(
            self.intake,
            changed=lambda now: None,
            admit=lambda: None,
            refuse=self._refuse,
            max_bytes=1 << 20,
            asks_for_stream=False,
        )
        self.answer = Answer(
            attempt,
            self.intake,
            changed=lambda now: None,
            wait_for_capacity=self._make_room,
            timers=Timers(),
            buffer_bytes=4096,
        )

    async def hear(
        self, status: int, headers: list[tuple[bytes, bytes]], body: list[bytes]
    ) -> None:
        self.answer.start(status, headers)
        for piece in body:
            await self.answer.write(piece)
            self.check_snapshot()
        self.answer.finish()
        self.log += self.intake.parse_backlog().take()

    def check_snapshot(self) -> None:
        """A poll at this moment is the fold of the log at this moment."""
        self.log += self.intake.parse_backlog().take()
        if self.recorder.can_snapshot:
            assert strict(self.recorder.snapshot()) == fold({}, [*map(event_in, self.log)])

    def check_end(self, body: bytes) -> None:
        """The response is over, or its client has the upstream's refusal of *body* as it came."""
        if self.refusal is not None:
            assert self.refusal.body == body
            self.recorder.end(Trigger.FAIL, Failure("refused"))
            self.log += self.intake.parse_backlog().take()
        assert self.recorder.is_over
        events = check_log(self.log)
        assert strict(self.recorder.snapshot()) == fold({}, events)
        assert events[-1]["response"]["status"] == self.recorder.status

    async def _make_room(self) -> None:
        self.log += self.intake.parse_backlog().take()

    def _refuse(self, refusal: Refusal) -> bool:
        self.refusal = refusal
        return True


def event_in(frame: bytes) -> dict[str, Any]:
    """The one event that a frame of the log holds."""
    decoder = Decoder()
    (event,) = [*decoder.feed(frame), *decoder.finish()]
    value = strict(event.data)
    assert event.event in ("", value["type"])
    return dict(value)


def strict(text: bytes) -> Any:
    """JSON as RFC 8259 has it, in UTF-8, on one line."""
    assert b"\n" not in text
    assert b"\r" not in text
    return json.loads(text.decode(), parse_constant=_refuse_constant)


def _refuse_constant(word: str) -> None:
    raise AssertionError(f"{word} is not JSON")


def check_log(log: list[bytes]) -> list[dict[str, Any]]:
    """The events of a whole *log*, which must be well formed."""
    events = [event_in(frame) for frame in log]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.queued"]
    assert [event["type"] in TERMINAL for event in events] == [False] * (len(events) - 1) + [True]
    assert len(events) <= MAX_EVENTS
    assert all("obfuscation" not in event for event in events)
    lifecycles = [event["response"]["id"] for event in events if event["type"] in LIFECYCLE]
    assert {*lifecycles} == {"resp_rc1"}
    return events


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A stream, a JSON document or bytes that are neither."""
    kind = draw(st.integers(0, 9))
    if kind < 8:
        return draw(damaged_streams())
    if kind == 8:
        return json.dumps(draw(json_values)).encode("utf-8", "surrogatepass")
    return draw(st.binary(max_size=40))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(bodies(), STATUSES, KINDS, CODINGS, st.booleans(), st.data())
def test_any_answer_becomes_a_well_formed_log(
    body: bytes, status: int, kind: bytes, coding: bytes, is_coded: bool, data: st.DataObject
) -> None:
    """And what is not compressed becomes the same log however it is cut."""
    headers = [(b"content-type", kind), (b"content-encoding", coding)]
    if is_coded:
        body = gzip.compress(body)

    async def told() -> list[bytes]:
        listener = Listener()
        await listener.hear(status, headers, data.draw(cuts(body)))
        listener.check_end(body)
        return listener.log

    log = anyio.run(told)
    if coding in (b"", b"identity"):
        assert anyio.run(told) == log
