"""The app's own reply where ids were replaced: errors are held and told, all else goes on."""

from __future__ import annotations

import pytest

from response_cache._protocol.ids import MAX_ERROR_BYTES, Translation
from response_cache.http import PassThrough
from response_cache_asgi._replies import AppReply
from response_cache_asgi._types import Message

OURS = "resp_rc" + "0a" * 24
WAY = PassThrough(b"{}", Translation({OURS: "resp_up"}))
ERROR = b"no resp_up here"
TOLD = b"no %b here" % OURS.encode()


def start(status: int) -> Message:
    return {"type": "http.response.start", "status": status, "headers": [(b"x-theirs", b"kept")]}


def body(content: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


async def sent(*messages: Message, way: PassThrough = WAY) -> list[Message]:
    seen: list[Message] = []

    async def send(message: Message) -> None:
        seen.append(message)

    reply = AppReply(way, send)
    for message in messages:
        await reply.send(message)
    return seen


async def test_an_error_in_pieces_is_told_with_our_id_and_its_length() -> None:
    first, last = await sent(start(404), body(ERROR[:6], more=True), body(ERROR[6:]))
    length = (b"content-length", b"%d" % len(TOLD))
    assert first == {**start(404), "headers": [(b"x-theirs", b"kept"), length]}
    assert last == body(TOLD)


@pytest.mark.parametrize(("status", "way"), [(200, WAY), (399, WAY), (404, PassThrough(b"{}"))])
async def test_all_else_goes_on_message_by_message(status: int, way: PassThrough) -> None:
    messages = [start(status), body(ERROR, more=True), body(ERROR)]
    assert await sent(*messages, way=way) == messages


async def test_an_error_that_is_too_long_goes_on_as_it_came() -> None:
    long = b"x" * MAX_ERROR_BYTES
    seen = await sent(start(500), body(ERROR, more=True), body(long, more=True), body(ERROR))
    assert seen == [start(500), body(ERROR + long, more=True), body(ERROR)]


async def test_a_body_that_the_server_fetches_itself_goes_on() -> None:
    file = {"type": "http.response.pathsend", "path": "/tmp/error.json"}
    assert await sent(start(404), file) == [start(404), file]
    seen = await sent(start(404), body(b"some", more=True), file)
    assert seen == [start(404), body(b"some", more=True), file]
