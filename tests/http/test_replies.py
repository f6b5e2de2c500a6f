"""Replies: headers, entity tags, errors, refusals and streams."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Final

import pytest

from response_cache._protocol.headers import Headers
from response_cache._recording.attempt import Refusal
from response_cache.errors import MethodNotAllowed, NotFound, TooManyRequests
from response_cache.http._messages import Body
from response_cache.http._replies import (
    closed_reply,
    entity_tag,
    entity_tags,
    error_reply,
    is_known,
    json_reply,
    not_modified_reply,
    poll_headers,
    preference_applied,
    refusal_reply,
    stream_reply,
    without_retry,
)
from response_cache.options import PartialOutput
from response_cache.store import RecordView

SHOWN: Final[tuple[PartialOutput, ...]] = ("text", "all", "none")

# --- Errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "said"), [(0.0, b"1"), (0.2, b"1"), (1.0, b"1"), (1.01, b"2")])
def test_retry_after_is_whole_seconds_and_never_zero(seconds: float, said: bytes) -> None:
    reply = error_reply(TooManyRequests("no", retry_after=seconds))
    assert dict(reply.headers)[b"retry-after"] == said


def test_an_error_is_a_body_of_four_keys() -> None:
    reply = error_reply(NotFound.of("resp_1"))
    headers = dict(reply.headers)
    assert reply.status == 404
    assert headers[b"content-length"] == b"%d" % len(reply.content)
    assert b"retry-after" not in headers
    assert b"allow" not in headers
    assert json.loads(reply.content) == {
        "error": {
            "message": "Response with id 'resp_1' not found.",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
    }


def test_a_method_that_is_not_allowed_is_told_which_are() -> None:
    reply = error_reply(MethodNotAllowed("no", allow="GET, HEAD"))
    assert dict(reply.headers)[b"allow"] == b"GET, HEAD"


def test_a_reply_that_is_not_to_be_retried_says_so_and_stays_as_it_is() -> None:
    error = error_reply(TooManyRequests("no", retry_after=1.0))
    reply = without_retry(error)
    assert (reply.status, reply.content) == (error.status, error.content)
    assert reply.headers == (*error.headers, (b"x-should-retry", b"false"))


# --- Polls -------------------------------------------------------------------------------------


def view(*, status: str = "completed", tail: int = 7, is_closed: bool = True) -> RecordView:
    return RecordView(
        id="resp_rc00",
        incarnation="ab",
        epoch=2,
        status=status,
        header=b"{}",
        notes=b"",
        snapshot=b'{"id":"resp_rc00"}',
        snapshot_through=tail,
        first=tail + 1,
        events=(),
        tail=tail,
        closed=is_closed,
        orphaned=False,
        log_expired=False,
    )


def test_each_reply_has_a_request_id_of_its_own() -> None:
    replies = [
        json_reply(200, b"{}"),
        closed_reply(view(), "openai"),
        closed_reply(view(), "openai"),
    ]
    ids = {dict(reply.headers)[b"x-request-id"] for reply in replies}
    assert len(ids) == len(replies)
    assert all(id.startswith(b"req_") for id in ids)


def test_no_reply_may_be_kept_by_a_shared_cache_or_given_to_another_credential() -> None:
    async def nothing() -> AsyncGenerator[bytes]:
        yield b""

    stream = stream_reply(nothing(), done_marker=False)
    for reply in (json_reply(200, b"{}"), closed_reply(view(), "openai"), not_modified_reply(())):
        assert dict(reply.headers)[b"cache-control"] == b"private, no-cache"
        assert dict(reply.headers)[b"vary"] == b"authorization, api-key, x-api-key"
    assert dict(stream.headers)[b"cache-control"] == b"private, no-cache"


def test_a_closed_response_is_answered_as_it_is_stored() -> None:
    reply = closed_reply(view(), "openai")
    headers = dict(reply.headers)
    assert (reply.status, reply.content) == (200, b'{"id":"resp_rc00"}')
    assert headers[b"content-length"] == b"%d" % len(reply.content)
    assert headers[b"etag"].decode() == entity_tag(view(), "text")
    assert b"retry-after" not in headers


def test_a_tag_names_one_state_of_one_response() -> None:
    tags = {
        entity_tag(view(), "text"),
        entity_tag(view(tail=8), "text"),
        entity_tag(view(status="failed"), "text"),
    }
    assert len(tags) == 3


def test_a_closed_response_has_one_tag_however_it_was_shown_before() -> None:
    assert len({entity_tag(view(), shown) for shown in SHOWN}) == 1


def test_a_tag_of_a_running_response_names_what_is_shown_of_it() -> None:
    running = [view(tail=tail, status="in_progress", is_closed=False) for tail in (7, 8)]
    first, second = ({entity_tag(one, shown) for shown in SHOWN} for one in running)
    assert (len(first), len(second), len(first | second)) == (3, 3, 5)
    assert entity_tag(running[0], "none") == entity_tag(running[1], "none")
    queued = view(status="queued", is_closed=False)
    assert entity_tag(queued, "none") != entity_tag(running[0], "none")


@pytest.mark.parametrize(
    ("sent", "is_there"),
    [
        ("{tag}", True),
        ("W/{tag}", True),
        ('"other", W/{tag}', True),
        ("*", True),
        ('"other"', False),
        ("", False),
        (",, ,", False),
    ],
)
def test_tags_are_compared_weakly(sent: str, is_there: bool) -> None:
    known = entity_tags(sent.format(tag=entity_tag(view(), "text")))
    assert is_known(view(), known, "text") is is_there


@pytest.mark.parametrize(
    ("seconds", "milliseconds", "said"), [(0.25, b"250", b"1"), (2.0, b"2000", b"2")]
)
def test_a_pending_response_tells_when_to_poll_again(
    seconds: float, milliseconds: bytes, said: bytes
) -> None:
    headers = dict(poll_headers(view(status="queued", is_closed=False), seconds, "text"))
    assert headers[b"openai-poll-after-ms"] == milliseconds
    assert headers[b"retry-after"] == said


def test_a_closed_response_is_not_to_be_polled_again() -> None:
    assert poll_headers(view(), 2.0, "text") == ((b"etag", entity_tag(view(), "all").encode()),)


@pytest.mark.parametrize(
    ("wait", "headers"), [(None, ()), (0, ((b"preference-applied", b"wait=0"),))]
)
def test_a_wait_that_was_honoured_is_named(wait: int | None, headers: Headers) -> None:
    assert preference_applied(wait) == headers


# --- Refusals ----------------------------------------------------------------------------------


def test_a_refusal_is_relayed_as_it_came() -> None:
    kept = ((b"content-type", b"text/plain"), (b"retry-after", b"7"), (b"set-cookie", b"a"))
    twice = (*kept, (b"set-cookie", b"b"))
    reply = refusal_reply(Refusal(429, twice, b"no"))
    assert (reply.status, reply.content) == (429, b"no")
    assert reply.headers == (*twice, (b"content-length", b"2"))


def test_a_refusal_leaves_out_what_was_said_about_its_own_connection() -> None:
    about_the_connection = (
        (b"connection", b"close, x-private"),
        (b"proxy-authenticate", b"Basic"),
        (b"x-private", b"1"),
    )
    reply = refusal_reply(Refusal(407, (*about_the_connection, (b"x-public", b"2")), b""))
    assert reply.headers == ((b"x-public", b"2"), (b"content-length", b"0"))


def test_a_refusal_without_a_body_has_no_length() -> None:
    reply = refusal_reply(Refusal(304, ((b"etag", b'"x"'), (b"content-length", b"9")), b""))
    assert reply == Body(304, ((b"etag", b'"x"'),), b"")


@pytest.mark.parametrize("status", [0, 101, 199, 600, 999])
def test_a_status_that_no_server_could_send_is_a_bad_gateway(status: int) -> None:
    reply = refusal_reply(Refusal(status, (), b"no"))
    assert reply.status == 502
    assert str(status) in json.loads(reply.content)["error"]["message"]


# --- Streams -----------------------------------------------------------------------------------


async def streamed(chunks: Sequence[bytes], *, done_marker: bool) -> list[bytes]:
    async def source() -> AsyncGenerator[bytes]:
        for chunk in chunks:
            yield chunk

    reply = stream_reply(source(), done_marker=done_marker)
    assert reply.status == 200
    assert dict(reply.headers)[b"content-type"] == b"text/event-stream; charset=utf-8"
    return [chunk async for chunk in reply.chunks]


async def test_a_silence_becomes_a_comment() -> None:
    assert await streamed([b"data: 1\n\n", b""], done_marker=False) == [
        b"data: 1\n\n",
        b": keep-alive\n\n",
    ]


async def test_a_complete_stream_ends_with_the_marker_where_it_is_asked_for() -> None:
    assert await streamed([b"data: 1\n\n"], done_marker=True) == [
        b"data: 1\n\n",
        b"data: [DONE]\n\n",
    ]


async def test_a_broken_stream_ends_without_the_marker() -> None:
    async def source() -> AsyncGenerator[bytes]:
        yield b"data: 1\n\n"
        raise ConnectionResetError

    chunks = stream_reply(source(), done_marker=True).chunks
    assert await anext(chunks) == b"data: 1\n\n"
    with pytest.raises(ConnectionResetError):
        await anext(chunks)


async def test_the_source_of_a_stream_is_closed_with_it() -> None:
    closed = []

    async def source() -> AsyncGenerator[bytes]:
        try:
            yield b"data: 1\n\n"
        finally:
            closed.append(True)

    chunks = stream_reply(source(), done_marker=True).chunks
    assert await anext(chunks) == b"data: 1\n\n"
    await chunks.aclose()
    assert closed
