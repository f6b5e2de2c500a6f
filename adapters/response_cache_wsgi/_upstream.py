"""The wrapped app as an upstream: called once more, in a thread, for each background response.

Each call gets a copy of the environ with a body of its own, and the context of the request. Only
its thread touches what the app returns: it iterates, and calls ``close()`` when the current step
has returned. A step that blocks cannot be interrupted. So a cancelled response counts as running
until its thread has ended, or until the process stops and leaves the thread behind.
"""

from __future__ import annotations

import logging
import threading
from contextvars import copy_context
from typing import Final
from wsgiref.types import WSGIApplication, WSGIEnvironment
from wsgiref.util import FileWrapper

import anyio

from response_cache import Answer
from response_cache.http import CLIENT_HEADERS
from response_cache_wsgi._body import put_body
from response_cache_wsgi._headers import variable
from response_cache_wsgi._threads.app_call import AppCall, AppMessage, Progress, ReplyStart
from response_cache_wsgi._threads.handover import ToLoop

__all__ = ("WrappedApp", "environ_for_thread")

logger = logging.getLogger("response_cache.wsgi")

THREAD_STOP_GRACE: Final = 0.5
"""Seconds that a thread gets to end after its response was stopped, in a process that stops."""

_SERVER_VARIABLES: Final = (
    "gunicorn.",
    "mod_wsgi.",
    "uwsgi.",
    "waitress.",
    "werkzeug.",
    "wsgi.early_hints",
)
"""Prefixes of the variables by which servers give access to the client's connection."""


class WrappedApp:
    """Calls *app* with the *environ* of a create, and with another body."""

    def __init__(
        self, app: WSGIApplication, environ: WSGIEnvironment, *, draining: anyio.Event
    ) -> None:
        """*draining* is set when the process stops: threads that block are left behind then."""
        self._app = app
        self._environ = environ
        self._draining = draining

    async def __call__(self, body: bytes, answer: Answer) -> None:
        """One run of the app, feeding *answer*. Raises what the app raises."""
        messages: ToLoop[AppMessage] = ToLoop()
        call = AppCall(self._app, self._run_environ(body), messages)
        run = copy_context().run
        threading.Thread(
            target=run, args=(call.run,), name="response_cache app", daemon=True
        ).start()
        try:
            await _feed(answer, messages)
        finally:
            messages.refuse()
            with anyio.CancelScope(shield=True):
                await self._until_ended(messages)
        if call.error is not None:
            raise call.error

    async def _until_ended(self, messages: ToLoop[AppMessage]) -> None:
        """Return when the thread has ended, or is left behind by a process that stops."""
        if messages.has_ended:
            return
        async with anyio.create_task_group() as tasks:

            async def leave() -> None:
                await self._draining.wait()
                await anyio.sleep(THREAD_STOP_GRACE)
                logger.warning("the wrapped app blocks in a thread, which is left behind")
                tasks.cancel_scope.cancel()

            tasks.start_soon(leave)
            await messages.ended()
            tasks.cancel_scope.cancel()

    def _run_environ(self, body: bytes) -> WSGIEnvironment:
        hidden = {variable(header) for header in CLIENT_HEADERS}
        environ = {key: value for key, value in self._environ.items() if key not in hidden}
        environ["HTTP_ACCEPT_ENCODING"] = "identity"  # the answer stays in this process
        return environ_for_thread(environ, body)


def environ_for_thread(environ: WSGIEnvironment, body: bytes) -> WSGIEnvironment:
    """A copy of *environ* for a call of the app in a thread of ours, with another body."""
    environ = {
        key: value for key, value in environ.items() if not key.startswith(_SERVER_VARIABLES)
    }
    put_body(environ, body)
    environ["wsgi.multithread"] = True
    environ["wsgi.input_terminated"] = True
    environ["wsgi.file_wrapper"] = FileWrapper  # the server's own may work in the server alone
    return environ


async def _feed(answer: Answer, messages: ToLoop[AppMessage]) -> None:
    while batch := await messages.take():
        for message in batch:
            match message:
                case bytes():
                    await answer.write(message)
                case ReplyStart():
                    answer.require_wanted()
                    answer.start(message.status, message.headers)
                case Progress.ACCEPTED:
                    answer.admitted()
                case Progress.REFUSING:
                    answer.refusing()
                case Progress.END:
                    answer.finish()
