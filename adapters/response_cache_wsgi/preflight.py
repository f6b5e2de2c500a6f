"""The wrapped app asked whether a page may read a reply of ours: one ``OPTIONS`` request to it.

The request is nobody's: of the reply's own request it has the host, and neither the credentials nor
the query. The app may block, so it is called in a thread; one that does not return keeps its place.
"""

from __future__ import annotations

import threading
from contextvars import copy_context
from typing import Final
from wsgiref.types import WSGIApplication, WSGIEnvironment

from response_cache import Headers
from response_cache.http.preflights import Preflight
from response_cache_wsgi.threads.app_call import AppCall, Head, Part
from response_cache_wsgi.threads.handover import ToLoop
from response_cache_wsgi.upstream import in_a_thread

__all__ = ("PreflightOf", "places")

THREADS: Final = 8

_OF_THE_REQUEST: Final = (
    "AUTH_TYPE",
    "CONTENT_TYPE",
    "HTTP_",
    "RAW_URI",
    "REMOTE_USER",
    "REQUEST_",
)
"""Beginnings of variables that say what the client itself asked for, and who it is."""


def places() -> threading.BoundedSemaphore:
    """Room for the threads of one app's preflights."""
    return threading.BoundedSemaphore(THREADS)


class PreflightOf:
    """Asks *app* in the place of the request that *environ* is of."""

    def __init__(
        self, app: WSGIApplication, environ: WSGIEnvironment, room: threading.BoundedSemaphore
    ) -> None:
        self._app = app
        self._environ = environ
        self._room = room

    async def __call__(self, preflight: Preflight) -> tuple[int, Headers] | None:
        """Status and headers of the app's answer; None where too many calls have not returned.

        Raises what the app raises.
        """
        if not self._room.acquire(blocking=False):
            return None
        parts: ToLoop[Part] = ToLoop()
        call = AppCall(self._app, self._environ_of(preflight), parts)
        run = copy_context().run
        try:
            threading.Thread(
                target=run, args=(self._run, call), name="response_cache preflight", daemon=True
            ).start()
        except RuntimeError:  # there can be no more threads
            self._room.release()
            raise
        try:
            head = await _head_in(parts)
        finally:
            parts.refuse()
        if call.error is not None:
            raise call.error
        return head

    def _run(self, call: AppCall) -> None:
        try:
            call.run()
        finally:
            self._room.release()

    def _environ_of(self, preflight: Preflight) -> WSGIEnvironment:
        environ = in_a_thread(self._environ, b"")
        kept = {key: environ[key] for key in environ if not key.startswith(_OF_THE_REQUEST)}
        if "HTTP_HOST" in environ:
            kept["HTTP_HOST"] = environ["HTTP_HOST"]
        return {
            **kept,
            "REQUEST_METHOD": "OPTIONS",
            "PATH_INFO": preflight.path.encode().decode("latin-1"),
            "QUERY_STRING": "",
            "HTTP_ORIGIN": preflight.origin,
            "HTTP_ACCESS_CONTROL_REQUEST_METHOD": preflight.method,
        }


async def _head_in(parts: ToLoop[Part]) -> Head | None:
    """The head of the app's answer, once the call has ended; None if it gave none."""
    head = None
    while batch := await parts.take():
        head = next((part for part in batch if isinstance(part, Head)), head)
    return head
