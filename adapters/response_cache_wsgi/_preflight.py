"""Asks the wrapped app whether a page may read a reply of ours, by one ``OPTIONS`` request.

This preflight has the host of the page's own request. It has neither its credentials nor its query:
it names no user. The app may block, so it is called in a thread. A call that does not return keeps
its slot.
"""

from __future__ import annotations

import threading
from contextvars import copy_context
from typing import Final
from wsgiref.types import WSGIApplication, WSGIEnvironment

from response_cache import Headers
from response_cache.http import Preflight
from response_cache_wsgi._threads.app_call import AppCall, AppMessage, ReplyStart
from response_cache_wsgi._threads.handover import ToLoop
from response_cache_wsgi._upstream import environ_for_thread

__all__ = ("PreflightOf", "call_slots")

MAX_CALLS: Final = 8

_REQUEST_VARIABLES: Final = (
    "AUTH_TYPE",
    "CONTENT_TYPE",
    "HTTP_",
    "RAW_URI",
    "REMOTE_USER",
    "REQUEST_",
)
"""Prefixes of the variables that say what the client asked for, and who it is."""


def call_slots() -> threading.BoundedSemaphore:
    """A semaphore for the calls of one app that run at a time."""
    return threading.BoundedSemaphore(MAX_CALLS)


class PreflightOf:
    """Asks *app* for the page that sent the request of *environ*."""

    def __init__(
        self, app: WSGIApplication, environ: WSGIEnvironment, slots: threading.BoundedSemaphore
    ) -> None:
        self._app = app
        self._environ = environ
        self._slots = slots

    async def __call__(self, preflight: Preflight) -> tuple[int, Headers] | None:
        """Status and headers of the app's answer; None when too many calls have not returned.

        Raises what the app raises.
        """
        if not self._slots.acquire(blocking=False):
            return None
        messages: ToLoop[AppMessage] = ToLoop()
        call = AppCall(self._app, self._environ_of(preflight), messages)
        run = copy_context().run
        try:
            threading.Thread(
                target=run, args=(self._run, call), name="response_cache preflight", daemon=True
            ).start()
        except RuntimeError:  # the system allows no more threads
            self._slots.release()
            raise
        try:
            start = await _start_in(messages)
        finally:
            messages.refuse()
        if call.error is not None:
            raise call.error
        return start

    def _run(self, call: AppCall) -> None:
        try:
            call.run()
        finally:
            self._slots.release()

    def _environ_of(self, preflight: Preflight) -> WSGIEnvironment:
        environ = environ_for_thread(self._environ, b"")
        kept = {key: environ[key] for key in environ if not key.startswith(_REQUEST_VARIABLES)}
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


async def _start_in(messages: ToLoop[AppMessage]) -> ReplyStart | None:
    """The start of the app's answer, once the call has ended; None if it gave none."""
    start = None
    while batch := await messages.take():
        start = next((message for message in batch if isinstance(message, ReplyStart)), start)
    return start
