"""Bytes of an event stream become parsed events and runs of deltas."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from response_cache._protocol.jsontext import load
from response_cache._protocol.lifecycle import Status, Trigger
from response_cache._protocol.sse import payload
from response_cache._recording.intake import (
    MAX_BACKLOG_BYTES,
    SHORTEST_TERMINAL_EVENT,
    TERMINAL_MARKER,
    Intake,
    Progress,
)
from response_cache._recording.recorder import Recorder

WORD = b'data: {"type":"acme:word"}\n\n'
END = b'data: {"type":"response.completed","response":{"id":"up"}}\n\n'
ITEM = {"id": "msg_1", "type": "message", "status": "in_progress", "content": []}
PART = {"type": "output_text", "text": "", "annotations": []}
AT = {"output_index": 0, "content_index": 0, "item_id": "msg_1"}
OPENING: list[dict[str, Any]] = [
    {"type": "response.output_item.added", "output_index": 0, "item": ITEM},
    {"type": "response.content_part.added", **AT, "part": PART},
]


def begun(*, max_events: int = 10_000) -> Intake:
    queued: dict[str, Any] = {"id": "resp_rc1", "status": "queued", "metadata": {}, "output": []}
    recorder = Recorder.begin(queued, now=lambda: 0.0, max_events=max_events)
    recorder.take()
    return Intake(recorder)


def sse(event: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % json.dumps(event, separators=(",", ":")).encode()


def delta(text: str) -> dict[str, Any]:
    number = len(text)  # whatever the upstream counts
    return {
        "type": "response.output_text.delta",
        **AT,
        "sequence_number": number,
        "delta": text,
    }


def types(intake: Intake) -> list[str]:
    events = [load(payload(event)) for event in intake.parse_backlog().pending]
    return [event["type"].removeprefix("response.") for event in events]


# The backlog, and the two ways to the recorder.


def test_what_is_in_the_backlog_is_recorded_when_the_recorder_is_asked_for() -> None:
    intake = begun()
    intake.feed(WORD)
    intake.backlog += [WORD, END]
    assert intake.so_far.status is Status.IN_PROGRESS
    assert not intake.so_far.is_over
    assert intake.parse_backlog().is_over
    assert intake.so_far.is_over
    assert types(intake) == ["in_progress", "acme:word", "acme:word", "completed"]


def test_the_backlog_is_always_the_same_list() -> None:
    intake = begun()
    backlog = intake.backlog
    for chunk in (WORD, END):
        backlog.append(chunk)
        intake.parse_backlog()
        assert backlog == []
    assert backlog is intake.backlog
    assert intake.so_far.is_over


def test_so_far_has_nothing_that_reads_or_changes_the_log() -> None:
    """The type checker holds everybody to it: the recorder has all of these names."""
    allowed = {name for name in dir(Progress) if not name.startswith("_")}
    assert allowed == {"id", "status", "is_over", "ended_by_upstream", "note"}
    unsafe = {"tail", "pending", "take", "snapshot", "can_snapshot", "end", "end_at", "answer"}
    assert not allowed & unsafe
    assert unsafe <= {*dir(begun().parse_backlog())}


@pytest.mark.parametrize(
    ("fed", "backlog", "has_pending"),
    [([], [], False), ([WORD], [], True), ([], [b": hi"], True), ([b": hi\n\n"], [], False)],
)
def test_pending_is_what_was_recorded_and_what_waits_to_be_parsed(
    fed: list[bytes], backlog: list[bytes], *, has_pending: bool
) -> None:
    intake = begun()
    for chunk in fed:
        intake.feed(chunk)
    intake.backlog += backlog
    assert intake.has_pending is has_pending
    recorded = sum(map(len, types(intake))) > 0
    assert recorded is bool(fed and has_pending)


def test_bytes_that_wait_count_before_they_are_parsed_and_after() -> None:
    intake = begun()
    intake.feed(WORD)
    recorded = intake.pending_bytes
    intake.backlog += [WORD, b"data: "]
    assert intake.pending_bytes == recorded + len(WORD) + len(b"data: ")
    intake.parse_backlog().take()
    assert intake.pending_bytes == 0


def test_nothing_is_parsed_after_the_end() -> None:
    intake = begun()
    intake.feed(END + WORD + b"data: {\n\n")
    intake.feed(WORD)
    intake.record(b"{")
    assert types(intake) == ["in_progress", "completed"]
    assert (intake.malformed_events, intake.backlog) == (0, [])


def test_a_stream_that_ends_amid_its_last_event_still_delivers_it() -> None:
    intake = begun()
    intake.backlog.append(WORD + END.rstrip())
    intake.finish()
    assert intake.so_far.ended_by_upstream


def test_the_constants_of_the_fast_path_fit_each_other() -> None:
    response = {"id": "resp_up", "object": "response", "status": "completed", "output": []}
    end = json.dumps({"type": "response.completed", "response": response}).encode()
    assert TERMINAL_MARKER in end
    assert SHORTEST_TERMINAL_EVENT < MAX_BACKLOG_BYTES


# What is no event.


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'"x"', b"null", b"{}", b'{"type":7}', b"\xff", b'{"type":null}']
)
def test_what_is_no_event_is_counted_and_left_out(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    intake = begun()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            intake.record(data)
    assert intake.malformed_events == 3
    assert types(intake) == []
    assert len(caplog.records) == 1


def test_the_done_marker_is_not_an_event() -> None:
    intake = begun()
    intake.record(b"[DONE]")
    assert (intake.malformed_events, intake.parse_backlog().tail) == (0, 2)


def test_an_event_without_a_type_has_the_one_of_its_event_line() -> None:
    intake = begun()
    intake.feed(b'event: acme:word\ndata: {"n":1}\n\n')
    assert types(intake) == ["in_progress", "acme:word"]


# Runs of deltas.


TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=6), max_size=40)


@settings(max_examples=100, deadline=None)
@given(texts=TEXTS, size=st.integers(1, 400), at_once=st.booleans())
def test_a_log_is_the_same_however_its_chunks_are_cut_and_when_they_are_parsed(
    texts: list[str], size: int, *, at_once: bool
) -> None:
    stream = b"".join(map(sse, [*OPENING, *map(delta, texts)]))
    slow, quick = begun(), begun()
    for event in (*OPENING, *map(delta, texts)):
        slow.record(json.dumps(event).encode())
    for start in range(0, len(stream), size):
        quick.backlog.append(stream[start : start + size])
        if at_once:
            quick.parse_backlog()
    one, other = slow.parse_backlog(), quick.parse_backlog()
    assert [load(payload(event)) for event in other.pending] == [
        load(payload(event)) for event in one.pending
    ]
    assert load(other.snapshot()) == load(one.snapshot())
    assert other.tail == one.tail


def test_deltas_of_one_text_become_one_run() -> None:
    intake = begun()
    for event in OPENING:
        intake.feed(sse(event))
    intake.backlog += [sse(delta(f"word{number:03}")) for number in range(100)]
    size = intake.pending_bytes
    recorder = intake.parse_backlog()
    assert recorder.tail == 3 + len(OPENING) + 100
    assert recorder.pending.size < size / 3


def test_a_run_stops_below_the_bound_of_events() -> None:
    intake = begun(max_events=20)
    for event in OPENING:
        intake.feed(sse(event))
    intake.backlog += [sse(delta(f"word{number:03}")) for number in range(100)]
    recorder = intake.parse_backlog()
    assert (recorder.tail, recorder.status) == (20, Status.FAILED)


def test_a_text_that_was_closed_by_an_end_of_ours_is_not_extended() -> None:
    intake = begun()
    for event in (*OPENING, delta("aa"), delta("bb"), delta("cc")):
        intake.feed(sse(event))
    intake.parse_backlog().end(Trigger.CANCEL)
    tail = intake.parse_backlog().tail
    intake.backlog.append(sse(delta("dd")))
    assert intake.parse_backlog().tail == tail
