"""Padding: how long it is, where it stands, and what is left as it is."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from response_cache._protocol.jsontext import dump, load
from response_cache._protocol.sse import frame, payload
from response_cache.http._obfuscation import padded

PLACE = {"item_id": "msg_1", "output_index": 0, "content_index": 0}


def delta(text: Any, *, number: int = 5, type: str = "response.output_text.delta") -> bytes:
    event = {"type": type, "sequence_number": number, **PLACE, "delta": text, "logprobs": []}
    return frame(type, dump(event))


async def sent(*chunks: bytes) -> list[bytes]:
    async def given_chunks() -> AsyncGenerator[bytes]:
        for chunk in chunks:
            yield chunk

    return [chunk async for chunk in padded(given_chunks())]


async def padding_of(event: bytes) -> str:
    (one,) = await sent(event)
    found = load(payload(one))
    padding: str = found.pop("obfuscation")
    assert found == load(payload(event))
    return padding


@pytest.mark.parametrize(
    ("length", "expected"), [(0, 0), (1, 15), (2, 14), (15, 1), (16, 0), (17, 15), (40, 8)]
)
async def test_delta_and_padding_are_a_multiple_of_sixteen_long(length: int, expected: int) -> None:
    padding = await padding_of(delta("x" * length))
    assert len(padding) == expected
    assert padding == "" or padding.isalnum()


async def test_short_tokens_make_frames_of_one_length() -> None:
    words = ("a", "in", " the", " house", ' "', "\n\n", "é")
    assert len({len((await sent(delta(word)))[0]) for word in words}) == 1


async def test_the_padding_differs_from_reader_to_reader() -> None:
    assert len({await padding_of(delta("x")) for _ in range(5)}) == 5


@given(
    st.text(), st.sampled_from(["", '"delta":"x"', ',"delta":"', "\\", "}\n\n", "event: x.delta"])
)
async def test_any_text_is_padded_and_stays_what_it_is(before: str, after: str) -> None:
    event = delta(before + after)
    padding = await padding_of(event)
    written = dump(load(payload(event))["delta"])
    assert (len(written) - 2 + len(padding)) % 16 == 0


async def test_every_kind_of_delta_is_padded_also_unknown_ones_and_objects() -> None:
    for type in ("response.reasoning_text.delta", "vendor:thing.delta"):
        assert await padding_of(delta("abc", type=type))
    (one,) = await sent(delta({"command": "ls"}))
    assert load(payload(one))["delta"] == {"command": "ls"}
    assert "obfuscation" in load(payload(one))


async def test_frames_of_one_chunk_are_padded_each() -> None:
    events = [delta("one", number=5), delta("two", number=6)]
    (chunk,) = await sent(b"".join(events))
    found = [json.loads(part.split(b"data: ")[1]) for part in chunk.split(b"\n\n")[:-1]]
    assert [event["delta"] for event in found] == ["one", "two"]
    assert [len(event["obfuscation"]) for event in found] == [13, 13]


OTHERS: Sequence[bytes] = (
    b"",
    b": keep-alive\n\n",
    frame("response.created", b'{"type":"response.created","response":{"delta":"x"}}'),
    frame("response.output_text.done", b'{"text":"event: a.delta","type":"x"}'),
)


@pytest.mark.parametrize("chunk", OTHERS)
async def test_everything_else_stays_as_it_is(chunk: bytes) -> None:
    assert await sent(chunk) == [chunk]


async def test_what_it_reads_is_closed_with_it() -> None:
    is_closed = False

    async def endless() -> AsyncGenerator[bytes]:
        nonlocal is_closed
        try:
            while True:
                yield delta("x")
        finally:
            is_closed = True

    chunks = padded(endless())
    await anext(chunks)
    await chunks.aclose()
    assert is_closed
