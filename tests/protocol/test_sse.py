"""The decoder by the rules, by an oracle and by recorded bodies; frames and their payloads."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from httpx_sse import EventSource
from hypothesis import assume, example, given
from hypothesis import strategies as st

from response_cache._protocol.jsontext import load
from response_cache._protocol.sse import DONE, KEEP_ALIVE, Decoder, ServerSentEvent, frame, payload
from tests.data import RAW, SERVERS

LINE_ENDS = st.sampled_from(["\n", "\r", "\r\n"])
NAMES = st.sampled_from(["data", "event", "id", "retry", "", "dat", "data ", "Data"])
VALUES = st.text(st.characters(exclude_characters="\r\n\0", codec="utf-8"), max_size=6)
FIELDS = st.builds(
    "{}{}{}".format, NAMES, st.sampled_from([":", ": ", ":  "]), VALUES
) | st.sampled_from(["", "", "data", "event", ":", ": keep-alive", "data:", "event:"])
MIXED_BODIES = st.lists(st.builds("{}{}".format, FIELDS, LINE_ENDS | st.just("\n"))).map("".join)
FRAMES = st.builds(frame, VALUES, VALUES.map(str.encode)).map(bytes.decode)
BODIES = st.lists(MIXED_BODIES | FRAMES | VALUES, max_size=6).map("".join)


def decoded(chunks: Iterable[bytes]) -> list[ServerSentEvent]:
    decoder = Decoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.finish()


def bytewise(body: bytes) -> list[bytes]:
    return [body[at : at + 1] for at in range(len(body))]


def with_data(events: Iterable[ServerSentEvent]) -> list[ServerSentEvent]:
    """Events as httpx_sse gives them, without empty data: it makes such events of ids."""
    return [ServerSentEvent(e.event or "message", e.data) for e in events if e.data]


def by_oracle(body: bytes) -> list[ServerSentEvent]:
    headers = {"content-type": "text/event-stream"}
    # Two line ends, because our decoder ends the last event by itself.
    response = httpx.Response(200, headers=headers, content=body + b"\n\n")
    events = EventSource(response).iter_sse()
    return with_data(ServerSentEvent(event.event, event.data.encode()) for event in events)


def recorded_bodies() -> list[Path]:
    bodies = [*RAW.glob("*.sse"), *SERVERS.glob("*.sse")]
    assert bodies
    return sorted(bodies)


@given(BODIES)
def test_the_decoder_agrees_with_httpx_sse(body: str) -> None:
    data = body.removeprefix("\ufeff").encode()
    # Such lines are events for us alone, deliberately.
    lines = (line.removeprefix(b"\xef\xbb\xbf") for line in data.splitlines())
    assume(not any(line.startswith((b"{", b"error:")) for line in lines))
    assert with_data(decoded([data])) == by_oracle(data)


@given(BODIES, st.data())
@example("event: a\ndata: b\n\nevent: c\ndata: d\n\n", None)
def test_chunking_changes_nothing(body: str, cuts: st.DataObject | None) -> None:
    data = body.encode()
    places = st.lists(st.integers(0, len(data)), max_size=8).map(sorted)
    bounds = [0, *(cuts.draw(places) if cuts else [len(data) // 2]), len(data)]
    chunks = [data[start:end] for start, end in pairwise(bounds)]
    assert decoded(chunks) == decoded([data]) == decoded(bytewise(data))


# A chunk that is one whole frame is read by a shortcut, which is wrong between other lines.
WHOLE = "event: a\ndata: b\n\n"
PIECES = st.just(WHOLE) | FRAMES | st.builds("{}{}".format, FIELDS, LINE_ENDS | st.just(""))


@given(st.lists(PIECES | st.just("\ufeff"), max_size=6))
@example([WHOLE, "\ufeffdata: c\n\n"])
@example(["\ufeff", WHOLE])
@example(["\n", "data: c", WHOLE])
@example(["data: c\n", WHOLE])
@example(["\n", "event: c\n", WHOLE, "data: c\n\n"])
@example(["data: c\r", WHOLE, "\ndata: c\n\n"])
@example(["\n", "event: a\rdata: b\ndata: c\n\n"])
@example(["\n", "event: a\ndata: b\rdata: c\n\n"])
def test_whole_frames_as_chunks_read_as_in_one_chunk(pieces: list[str]) -> None:
    chunks = [piece.encode() for piece in pieces]
    assert decoded(chunks) == decoded([b"".join(chunks)])


def test_recorded_bodies_read_as_httpx_sse_reads_them() -> None:
    for path in recorded_bodies():
        body = path.read_bytes()
        events = decoded([body])
        assert with_data(events) == by_oracle(body), path.name
        assert events == decoded(bytewise(body)), path.name


def test_recorded_events_carry_their_type_in_the_data() -> None:
    for path in recorded_bodies():
        for event in decoded([path.read_bytes()]):
            if event.data != DONE:
                assert event.event in ("", load(event.data)["type"]), path.name


@pytest.mark.parametrize(
    ("body", "events"),
    [
        pytest.param(b"event: a\ndata: b\n\n", [("a", b"b")], id="lf"),
        pytest.param(b"event: a\r\ndata: b\r\n\r\n", [("a", b"b")], id="crlf"),
        pytest.param(b"event: a\rdata: b\r\r", [("a", b"b")], id="cr"),
        pytest.param(b"event: a\r\ndata: b\r\n\n", [("a", b"b")], id="mixed-line-ends"),
        pytest.param(b"\xef\xbb\xbfdata: b\n\n", [("", b"b")], id="byte-order-mark"),
        pytest.param(b"\xef\xbb\xbf\xef\xbb\xbfdata: b\n\n", [], id="two-byte-order-marks"),
        pytest.param(b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [("", b"a")], id="late-mark"),
        pytest.param(b": hi\ndata: b\n: ho\n\n", [("", b"b")], id="comments"),
        pytest.param(KEEP_ALIVE + b"data: b\n\n" + KEEP_ALIVE, [("", b"b")], id="keep-alive"),
        pytest.param(b"data: a\ndata: b\n\n", [("", b"a\nb")], id="two-lines-of-data"),
        pytest.param(b"data: a\ndata\ndata:\n\n", [("", b"a\n\n")], id="empty-lines-of-data"),
        pytest.param(b"data\n\n", [("", b"")], id="data-without-colon"),
        pytest.param(b"data:a\n\n", [("", b"a")], id="no-space"),
        pytest.param(b"data:  a \n\n", [("", b" a ")], id="only-one-space-is-dropped"),
        pytest.param(b"data:\ta: b\n\n", [("", b"\ta: b")], id="later-colons-are-data"),
        pytest.param(b"id: 1\nretry: 5\nfoo: x\nDATA: y\ndata: b\n\n", [("", b"b")], id="unknown"),
        pytest.param(b"event: a\n\ndata: b\n\n", [("", b"b")], id="event-without-data"),
        pytest.param(b"event: a\nevent: c\ndata: b\n\n", [("c", b"b")], id="last-name-counts"),
        pytest.param(b"data: b\nevent: a\n\n", [("a", b"b")], id="data-before-event"),
        pytest.param(b"\n\n\n\ndata: b\n\n\n\n", [("", b"b")], id="blank-lines"),
        pytest.param(b"data: a\x0b\x0c\x1c\xc2\x85\n\n", [("", b"a\x0b\x0c\x1c\xc2\x85")], id="vt"),
        pytest.param(b"event: \xff\ndata: \xff\n\n", [("\ufffd", b"\xff")], id="invalid-utf-8"),
        pytest.param(b"", [], id="empty"),
        pytest.param(b"data: b\n", [("", b"b")], id="no-blank-line"),
        pytest.param(b"data: b\r", [("", b"b")], id="no-blank-line-after-cr"),
        pytest.param(b"data: b", [("", b"b")], id="no-line-end"),
        pytest.param(b"event: a\n", [], id="ends-without-data"),
    ],
)
@pytest.mark.parametrize("cut", [lambda body: [body], bytewise], ids=["whole", "bytewise"])
def test_the_rules_of_the_standard(body, events, cut) -> None:  # type: ignore[no-untyped-def]
    assert decoded(cut(body)) == [ServerSentEvent(*event) for event in events]


def test_an_event_is_delivered_with_the_chunk_that_completes_it() -> None:
    decoder = Decoder()
    assert decoder.feed(b"data: a\n") == []
    assert decoder.feed(b"\ndata: b") == [ServerSentEvent("", b"a")]
    assert decoder.feed(b"\r\n\r") == [ServerSentEvent("", b"b")]
    assert decoder.feed(b"\n") == []
    assert decoder.finish() == []


def test_an_empty_chunk_does_not_part_cr_from_lf() -> None:
    assert decoded([b"data: a\r", b"", b"\ndata: b\n\n"]) == [ServerSentEvent("", b"a\nb")]


def test_a_huge_event_in_small_chunks_is_read_in_linear_time() -> None:
    # Joining or scanning again what came before would take hours here, not a second.
    body = frame("a", b"x" * 20_000_000)
    chunks = (body[at : at + 4096] for at in range(0, len(body), 4096))
    assert decoded(chunks) == [ServerSentEvent("a", b"x" * 20_000_000)]


@given(st.text(), VALUES.map(str.encode))
@example("response.created", b"{}")
@example("a\nb", b"{}")
@example("a\rb", b"{}")
@example("\ud800", b"{}")
@example(": data: x", b"data: y")
def test_a_frame_is_one_event_and_keeps_its_data(type: str, data: bytes) -> None:
    written = frame(type, data)
    assert decoded([written]) == [ServerSentEvent(type if type.isprintable() else "", data)]
    assert payload(written) == data


def test_a_frame_looks_as_on_the_wire() -> None:
    assert frame("response.created", b"{}") == b"event: response.created\ndata: {}\n\n"


@pytest.mark.parametrize("type", ["", "a\nb", "a\rb", "a\tb", "a\0b", "a\u2028b"])
def test_a_type_that_is_no_plain_word_gets_no_event_line(type: str) -> None:
    assert frame(type, b"{}") == b"data: {}\n\n"


@pytest.mark.parametrize("data", [b"a\nb", b"a\rb", b"\n"])
def test_data_of_several_lines_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="one line"):
        frame("a", data)


@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_a_line_that_is_a_json_object_is_an_event_by_itself(cut: int) -> None:
    stream = b'data: 1\n\n{"error": "lost"}\ndata: 2\n\nerror: {"error": "again"}'
    decoder = Decoder()
    pieces = [stream[start : start + cut] for start in range(0, len(stream), cut)]
    events = [event for piece in pieces for event in decoder.feed(piece)] + decoder.finish()
    assert [event.data for event in events] == [
        *(b"1", b'{"error": "lost"}', b"2", b'{"error": "again"}')
    ]
    assert {event.event for event in events} == {""}


def test_such_a_line_has_the_name_of_the_line_before_it() -> None:
    decoder = Decoder()
    (event,) = decoder.feed(b'event: error\n{"message": "lost"}\n')
    assert (event.event, event.data) == ("error", b'{"message": "lost"}')
    assert decoder.finish() == []
