"""The app's own reply where ids were replaced: errors are held and told, all else goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from response_cache._protocol.ids import MAX_ERROR_BYTES, Translation
from response_cache.http import PassThrough
from response_cache_wsgi._app_reply import AppReply

OURS = "resp_rc" + "0a" * 24
WAY = PassThrough(b"{}", Translation({OURS: "resp_up"}))
ERROR = b"no resp_up here"
TOLD = b"no %b here" % OURS.encode()


class Pieces:
    """An iterable as apps return it, with ``close``."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces
        self.is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.pieces)

    def close(self) -> None:
        self.is_closed = True


class Server:
    """What a server does with a reply."""

    def __init__(self) -> None:
        self.starts: list[tuple[str, dict[str, str]]] = []
        self.sent: list[bytes] = []

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
        self.starts.append((status, dict(headers)))
        return self.sent.append

    def serve(self, app: Any) -> bytes:
        reply = AppReply(WAY, self.start).of(app, {})
        for piece in reply:
            assert self.starts
            self.sent.append(piece)
        reply.close()
        return b"".join(self.sent)


def test_an_error_in_pieces_is_told_with_our_id_and_its_length() -> None:
    body, server = Pieces(ERROR[:6], ERROR[6:]), Server()

    def app(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("404 Gone fishing", [("Content-Length", "15"), ("X-Theirs", "kept")])
        return body

    assert server.serve(app) == TOLD
    headers = {"X-Theirs": "kept", "content-length": str(len(TOLD))}
    assert server.starts == [("404 Gone fishing", headers)]
    assert body.is_closed


def test_an_app_may_start_late_and_write() -> None:
    server = Server()

    def app(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("400 Bad Request", [])
        write(ERROR[:5])
        yield ERROR[5:]

    assert server.serve(app) == TOLD


def test_an_app_may_change_its_mind_before_its_first_byte() -> None:
    server = Server()

    def app(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        start_response("500 Internal Server Error", [], (None, None, None))
        return [ERROR]

    assert server.serve(app) == TOLD
    assert [status for status, _ in server.starts] == ["200 OK", "500 Internal Server Error"]


@pytest.mark.parametrize("status", ["200 OK", "302 Found", "odd"])
def test_what_is_no_error_goes_on_piece_by_piece(status: str) -> None:
    body, server = Pieces(ERROR, b"", ERROR), Server()

    def app(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, [("Content-Length", "30")])
        return body

    server.serve(app)
    assert server.sent == [ERROR, b"", ERROR]
    assert server.starts == [(status, {"Content-Length": "30"})]


def test_an_error_that_is_too_long_goes_on_as_it_came() -> None:
    pieces = (ERROR, b"x" * MAX_ERROR_BYTES, ERROR)
    server = Server()

    def app(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("500 Internal Server Error", [("X-Theirs", "kept")])
        return pieces

    assert server.serve(app) == b"".join(pieces)
    assert server.starts == [("500 Internal Server Error", {"X-Theirs": "kept"})]


def test_a_reply_that_is_never_read_is_closed() -> None:
    body = Pieces(ERROR)
    reply = AppReply(WAY, Server().start).of(lambda _environ, _start: body, {})
    reply.close()
    assert body.is_closed
