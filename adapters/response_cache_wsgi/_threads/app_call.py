"""One call of the app as PEP 3333 defines it, in a thread of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from types import TracebackType
from typing import Any, Final, NamedTuple, TypeAlias
from wsgiref.types import WSGIApplication, WSGIEnvironment

from response_cache import Headers, UpstreamStopped
from response_cache_wsgi._headers import as_bytes
from response_cache_wsgi._threads.handover import ToLoop

__all__ = ("AppCall", "AppMessage", "Progress", "ReplyStart")

ExcInfo: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]
)

_STATUS: Final = re.compile(r"([2-5]\d\d)(?: [^\x00-\x1f\x7f]*)?")


class ReplyStart(NamedTuple):
    """Status and headers of the app's answer. They are final."""

    status: int
    headers: Headers


class Progress(Enum):
    """How far the app's answer is."""

    ACCEPTED = "accepted"  # the app means to answer with success, though that may still change
    REFUSING = "refusing"  # the app means to answer with an error, which may change as well
    END = "end"  # the body is complete; the app may run on


AppMessage: TypeAlias = bytes | ReplyStart | Progress


class AppCall:
    """Calls the app, and passes on what it answers."""

    def __init__(
        self, app: WSGIApplication, environ: WSGIEnvironment, messages: ToLoop[AppMessage]
    ) -> None:
        self._app = app
        self._environ = environ
        self._messages = messages
        self._start: ReplyStart | None = None
        self._is_intent_told = False
        self._is_start_sent = False  # the status is final
        self.error: Exception | None = None  # what the app has raised

    def run(self) -> None:
        """Make the whole call. Raises nothing: see ``error``."""
        try:
            self._call()
        except UpstreamStopped as stopped:
            self.error = stopped
        except Exception as error:  # noqa: BLE001 - an app may raise anything
            self.error = error
        except BaseException as error:  # noqa: BLE001 - SystemExit ends this call, not the event loop
            self.error = RuntimeError(f"the app raised {type(error).__name__}")
            self.error.__cause__ = error
        finally:
            self._messages.end()

    def _call(self) -> None:
        iterable = self._app(self._environ, self._start_response)
        try:
            self._iterate(iterable)
        finally:
            close = getattr(iterable, "close", None)
            if close is not None:
                close()

    def _iterate(self, iterable: Iterable[bytes]) -> None:
        self._tell_intent()
        for chunk in iterable:
            self._write(chunk)
        self._send_start()
        self._messages.put(Progress.END)

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None, /
    ) -> Any:
        """As in PEP 3333: may be called again with *exc_info* until the body begins."""
        if exc_info is None and self._start is not None:
            raise RuntimeError("start_response was called before")
        error = exc_info[1] if exc_info is not None else None
        if error is not None and self._is_start_sent:
            raise error
        match = _STATUS.fullmatch(status)
        if match is None:
            raise ValueError("the app's status is not of HTTP")
        self._start = ReplyStart(int(match[1]), as_bytes(headers))
        return self._write

    def _write(self, chunk: bytes) -> None:
        """Pass on a piece of the body. An empty one shows that the app works; it starts nothing."""
        if not isinstance(chunk, bytes):
            raise TypeError(f"the app's body holds a {type(chunk).__name__}, not bytes")
        if chunk:
            self._send_start()
        else:
            self._tell_intent()
        self._messages.put(chunk)

    def _send_start(self) -> None:
        if self._is_start_sent:
            return
        if self._start is None:
            raise RuntimeError("the app has not called start_response")
        self._is_start_sent = True
        self._messages.put(self._start)

    def _tell_intent(self) -> None:
        """Tell the status that the app means to answer with, before it is final.

        Frameworks give the status long before the first byte of the body, which makes it final. A
        status of success answers the create at once. A refusal is waited for, to be relayed.
        """
        if self._start is None or self._is_start_sent or self._is_intent_told:
            return
        self._is_intent_told = True
        self._messages.put(Progress.ACCEPTED if self._start.status < 300 else Progress.REFUSING)
