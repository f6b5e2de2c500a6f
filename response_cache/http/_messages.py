"""Requests and replies as plain data.

An adapter makes a ``Request`` of what its server read. It gets one of three answers to carry: a
``Body`` (a whole reply), a ``Stream`` (a reply in pieces) or a ``PassThrough`` (the wrapped app
answers).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from response_cache._protocol.headers import Headers
from response_cache._protocol.ids import MAX_ERROR_BYTES, NO_TRANSLATION, Owner, Translation

__all__ = ("Body", "OwnerOf", "PassThrough", "Reply", "Request", "Stream", "WhileConnected")


@dataclass(slots=True)
class Request:
    """A request as an adapter read it; not to be changed. Header names are in lower case.

    *scope* (ASGI) or *environ* (WSGI) holds what the server and outer middleware say about the
    request, such as the session and the user; the other is None. Only ``owner`` functions look
    at them. The body is in *body* alone: the input of *scope* or *environ* is not to be read.
    """

    method: str
    path: str  # below the root path
    query: bytes
    headers: Headers
    body: bytes = b""
    scope: Mapping[str, Any] | None = field(default=None, repr=False)
    environ: Mapping[str, Any] | None = field(default=None, repr=False)
    _values: dict[bytes, bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._values = dict(self.headers)
        if len(self._values) < len(self.headers):  # a field that comes in several lines
            for name in self._values:
                lines = (value for key, value in self.headers if key == name)
                self._values[name] = b", ".join(lines)

    def has_any(self, names: frozenset[bytes]) -> bool:
        """Whether at least one of these headers is there."""
        return not names.isdisjoint(self._values)

    def header(self, name: bytes) -> str:
        """The header's value, several joined by commas (RFC 9110 5.3); "" when absent."""
        value = self._values.get(name)
        return value.decode("latin-1") if value else ""


@dataclass(slots=True)
class Body:
    """A whole reply; not to be changed."""

    status: int
    headers: Headers
    content: bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """A reply in pieces. Close *chunks* when the client disconnects.

    End the body properly (chunked coding: the last chunk, RFC 9112 section 8) only where *chunks*
    end by themselves. When they raise ``StreamBroken`` or another exception, or are closed early,
    break the connection instead.
    """

    status: int
    headers: Headers
    chunks: AsyncGenerator[bytes]


@dataclass(frozen=True, slots=True)
class PassThrough:
    """The wrapped app answers the request: with *body*, or with the received body where None.

    In a *body*, ids of ours were replaced by the upstream's own. An error that the app answers then
    is put into the client's words: see ``renames`` and ``renamed``.
    """

    body: bytes | None = None
    translation: Translation = field(default=NO_TRANSLATION, repr=False)

    def renames(self, status: int, size: int = 0) -> bool:
        """Whether a reply of the app with this *status* goes through ``renamed``.

        *size* bytes of its body have come. When they are too many, it is sent as it came.
        """
        return status >= 400 and size <= MAX_ERROR_BYTES and bool(self.translation.theirs)

    def renamed(
        self, headers: Iterable[tuple[bytes, bytes]], content: bytes
    ) -> tuple[Headers, bytes]:
        """Headers and content of the app's error, with our ids in place of the upstream's."""
        return self.translation.error(tuple(headers), content)


Reply = Body | Stream
OwnerOf = Callable[[Request], Awaitable[Owner | Body | PassThrough]]
"""Returns the owner that a request speaks for, or the refusal to be sent.

Called on every route before anything else is done. For a create it may also return a
``PassThrough``: then the wrapped app's own answer or refusal reaches the client. On other routes
that is a mistake (``TypeError``).
"""

WhileConnected = Callable[[], AbstractAsyncContextManager[None]]
"""Makes a context whose body is cancelled when the client disconnects; it ends without an error."""
