"""Deltas that are recognised by their bytes become what they would have become when read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import ceil
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from response_cache._log.batches import pack, repacked
from response_cache._protocol.jsontext import load
from response_cache._protocol.sse import Decoder, frame, payload
from response_cache._recording.delta_template import WINDOW, DeltaTemplate
from response_cache._recording.intake import Intake
from response_cache._recording.recorder import Recorder

TYPE = "response.output_text.delta"
ITEM = {"id": "msg_1", "type": "message", "status": "in_progress", "content": []}
PART = {"type": "output_text", "text": "", "annotations": []}
AT = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
OPENING = [
    {"type": "response.output_item.added", "output_index": 0, "item": ITEM},
    {"type": "response.content_part.added", **AT, "part": PART},
]
BODY = b'{"type":"%b","sequence_number":%%d,"item_id":"msg_1","output_index":0,"content_index":0,'
HEAD = b"event: %b\ndata: " % TYPE.encode() + BODY % TYPE.encode()
PADDED = HEAD + b'"delta":"%b","logprobs":[],"obfuscation":"%b"}\n\n'


def padded(number: int, text: bytes, padding: bytes = b"ab3X9") -> bytes:
    return PADDED % (number, text, padding)


SHAPES = {
    "with padding": padded,
    "without": lambda number, text: HEAD % number + b'"delta":"%b","logprobs":[]}\n\n' % text,
    "delta last": lambda number, text: HEAD % number + b'"delta":"%b"}\n\n' % text,
    "delta before the number": lambda number, text: (
        b'data: {"type":"%b","output_index":0,"content_index":0,"delta":"%b",'
        b'"sequence_number":%d}\n\n' % (TYPE.encode(), text, number)
    ),
    "percent signs": lambda number, text: HEAD % number + b'"100%%d":"%%","delta":"%b"}\n\n' % text,
}


def opened() -> Intake:
    queued: dict[str, Any] = {"id": "resp_rc1", "status": "queued", "metadata": {}, "output": []}
    intake = Intake(Recorder.begin(queued, now=lambda: 0.0, max_events=10_000))
    for event in OPENING:
        intake.record(json.dumps(event).encode())
    intake.parse_backlog().take()
    return intake


def read_one_by_one(stream: bytes) -> Intake:
    """What becomes of *stream* when every event in it is parsed."""
    intake, decoder = opened(), Decoder()
    for event in decoder.feed(stream):
        intake.record(event.data, event.event)
    return intake


def read_at_once(stream: bytes, cuts: int = 1) -> Intake:
    """The same from chunks that are read together."""
    intake, size = opened(), max(1, ceil(len(stream) / cuts))
    for start in range(0, len(stream), size):
        intake.feed(stream[start : start + size])
    return intake


def assert_alike(stream: bytes, cuts: int = 1) -> Recorder:
    """Both ways lead to the same log and response; gives back the one that was quicker."""
    one_by_one, at_once = read_one_by_one(stream), read_at_once(stream, cuts)
    slow, quick = one_by_one.parse_backlog(), at_once.parse_backlog()
    assert [load(payload(event)) for event in quick.pending] == [
        load(payload(event)) for event in slow.pending
    ]
    assert load(quick.snapshot()) == load(slow.snapshot())
    assert (quick.tail, at_once.malformed_events, quick.status) == (
        slow.tail,
        one_by_one.malformed_events,
        slow.status,
    )
    kept = repacked([pack(quick.pending)], 10_000)
    assert at_once.pending_bytes == sum(batch.size for batch in kept)
    return quick


# What stands between the quotes of a delta, as bytes: right, doubtful and wrong.
words = st.sampled_from(
    [
        b"",
        b" word",
        b" 100%d %b",
        "süß 词 😀".encode(),
        b"\\n",
        b"\\\\",
        b"a\\\\",
        b'\\"',
        b'say \\"so\\", then',
        b"\\u00e9",
        b"\\ud83d",
        b"\\ude00",
        b"NaN",
        b"\xff",
        b"\xc3",
        b"\xbc",
        b"a\x01b",
        b'","',
        b'x","delta":"y',
        b',"',
        b"\\",
        b"\r",
        "\u2028\u0085".encode(),
        b'","logprobs":[],"obfuscation":"',
    ]
)
numbers = st.sampled_from([b"%d", b"0%d", b"%d.5", b"-%d", b"", b"1e%d", b'"%d"'])
paddings = st.sampled_from([b"ab3X9", b"", b"-", b'a","delta":"b', "é".encode(), b"x" * 40])
others = st.sampled_from(
    [
        b": a comment\n\n",
        b"\n\n",
        b"event: keepalive\ndata: {}\n\n",
        b"data: [DONE]\n\n",
        frame(TYPE, json.dumps({"type": TYPE, **AT, "delta": "another shape"}).encode()),
        frame(TYPE, json.dumps({"type": TYPE, **AT, "output_index": 3, "delta": "x"}).encode()),
        frame("acme:x", b'{"type":"acme:x"}'),
        padded(7, b"logged").replace(b"[]", b'[{"token":"x"}]'),
        padded(7, b"elsewhere").replace(b"msg_1", b"msg_2"),
        padded(7, b"of two lines").replace(b',"item_id"', b'\ndata: ,"item_id"'),
        padded(7, b"of a Mac").replace(b"\n", b"\r"),
        padded(7, b"of a PC").replace(b"\n", b"\r\n"),
    ]
)


def odd(number: bytes, text: bytes, padding: bytes, n: int) -> bytes:
    whole = padded(n, text, padding)
    return whole.replace(b'number":%d' % n, b'number":' + (number.replace(b"%d", b"%d" % n)))


pieces = st.one_of(
    st.builds(lambda text: odd(b"%d", text, b"ab3X9", 12), words),
    st.builds(
        lambda number, text, padding: odd(number, text, padding, 12), numbers, words, paddings
    ),
    others,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(st.lists(pieces, max_size=12), st.integers(1, 9))
@example([padded(12, b"a\\"), padded(12, b',"b')], 1)
def test_both_ways_of_reading_make_the_same_log(found: list[bytes], cuts: int) -> None:
    plain = padded(5, b" word") * 3
    assert_alike(plain + plain.join(found) + plain, cuts)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("text", [b" word", b"", b"\\n", "süß".encode(), b"100%"])
def test_every_shape_of_a_delta_is_recorded_byte_for_byte(shape: Any, text: bytes) -> None:
    stream = b"".join(shape(number, text) for number in range(40, 60))
    quick = assert_alike(stream)
    assert list(quick.pending) == list(read_one_by_one(stream).parse_backlog().pending)


def learnt(shape: Any = padded) -> tuple[DeltaTemplate, bytes]:
    """A likeness, and a stream of twenty deltas that it should recognise."""
    stream = [shape(number, b" word") for number in range(7, 27)]
    ours = read_one_by_one(b"".join(stream)).parse_backlog().pending
    template = DeltaTemplate.of(stream[0], ours[0], 5)
    assert template is not None
    return template, b"".join(stream)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_whole_stretch_is_recognised_at_once(shape: Any) -> None:
    template, stream = learnt(shape)
    match = template.stretch(b"before" + stream + b"event: ", 6, 5, 100)
    assert match is not None
    text, run, end = match
    assert text == " word" * 20
    assert end == 6 + len(stream)
    assert [*run] == [*read_one_by_one(stream).parse_backlog().pending]


def test_a_stretch_ends_with_what_is_not_like_it_or_not_whole() -> None:
    template, stream = learnt()
    wrong = [padded(3, text) for text in (b"\\x", b"\xff", b"a\x01b")]
    for end in (b"event: x\ndata: {}\n\n" + stream, stream[:100], *wrong):
        match = template.stretch(stream + end, 0, 5, 100)
        assert match is not None
        _, run, at = match
        assert (run.length, at) == (20, len(stream))


def test_a_stretch_has_a_bound() -> None:
    template, stream = learnt()
    match = template.stretch(stream, 0, 5, 3)
    assert match is not None
    _, run, end = match
    assert run.length == 3
    assert stream[:end] == b"".join(padded(number, b" word") for number in (7, 8, 9))
    match = template.stretch(stream * 100, 0, 5, 10_000)
    assert match is not None
    _, run, end = match
    assert run.length > 20
    assert end <= WINDOW < end + len(padded(26, b" word"))


def test_a_frame_that_could_be_taken_for_another_teaches_nothing() -> None:
    ours = read_one_by_one(padded(7, b" word")).parse_backlog().pending[0]
    for wrong in (
        padded(7, b"\\n"),
        padded(7, b" word").replace(b'"msg_1"', b'"msg_1","x":{"delta":"y"}'),
        padded(7, b" word", b"-"),
        padded(7, b" word").replace(b'"sequence_number":7,', b""),
        padded(8, b" words"),
    ):
        assert DeltaTemplate.of(wrong, ours, 5) is None
    assert DeltaTemplate.of(padded(7, b" word"), ours, 6) is None


class Counting(Intake):
    """Counts the events that it had to parse."""

    events_parsed = 0

    @classmethod
    def opened(cls, opening: Sequence[Any] = OPENING) -> Counting:
        """One that has read the beginning of a text."""
        queued: dict[str, Any] = {"id": "resp_rc1", "status": "queued", "metadata": {}}
        begun = Recorder.begin({**queued, "output": []}, now=lambda: 0.0, max_events=10_000)
        intake = cls(begun)
        for event in opening:
            intake.record(json.dumps(event).encode())
        return intake

    def record(self, data: bytes, name: str = "") -> None:
        self.events_parsed += 1
        super().record(data, name)


def test_a_recorder_reads_only_the_first_deltas_of_a_text() -> None:
    intake = Counting.opened()
    for number in range(500):
        intake.feed(padded(number, b"\\n" if number % 7 else b" word"))
    assert intake.parse_backlog().tail == 3 + len(OPENING) + 500
    assert intake.events_parsed < len(OPENING) + 10


@pytest.mark.parametrize("lacking", ["nothing", "announcements", "an id", "indexes"])
def test_deltas_that_are_mended_are_recognised_like_any_others(lacking: str) -> None:
    whole = {"type": TYPE, "sequence_number": 0, **AT, "delta": "word"}
    missing = {"an id": ["item_id"], "indexes": ["output_index", "content_index"]}.get(lacking, [])
    event = {name: value for name, value in whole.items() if name not in missing}
    intake = Counting.opened([] if lacking == "announcements" else OPENING)
    for number in range(1000):
        data = json.dumps({**event, "sequence_number": number}, separators=(",", ":"))
        intake.feed(f"event: {TYPE}\ndata: {data}\n\n".encode())
    (item,) = load(intake.parse_backlog().snapshot())["output"]
    assert item["content"][0]["text"] == "word" * 1000
    assert {load(payload(event))["item_id"] for event in [*intake.parse_backlog().pending][5:]} == {
        "msg_1"
    }
    assert intake.events_parsed < len(OPENING) + 10


def test_a_snapshot_amid_a_text_makes_no_difference() -> None:
    intake, text = Counting.opened(), ""
    for number in range(100):
        intake.feed(padded(number, b" word"))
        text += " word"
        response = load(intake.parse_backlog().snapshot())
        assert response["output"][0]["content"][0]["text"] == text
    assert intake.events_parsed < len(OPENING) + 10


def test_deltas_that_are_no_text_cost_no_more_than_themselves() -> None:
    intake = Counting.opened()
    intake.feed(b"".join(padded(n, b" word" if n % 50 else b"\xff") for n in range(5000)))
    assert intake.parse_backlog().tail == 3 + len(OPENING) + 4900
    assert intake.malformed_events == 100
    assert intake.events_parsed < len(OPENING) + 10 + 2 * 100


def test_a_recorder_keeps_to_its_bound_of_events() -> None:
    queued: dict[str, Any] = {"id": "resp_rc1", "status": "queued", "metadata": {}, "output": []}
    recorder = Recorder.begin(queued, now=lambda: 0.0, max_events=50)
    intake = Intake(recorder)
    for event in OPENING:
        intake.record(json.dumps(event).encode())
    intake.feed(b"".join(padded(number, b" word") for number in range(500)))
    assert recorder.tail == 50
    assert recorder.is_over
