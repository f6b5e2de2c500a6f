"""The wrapped app as an upstream: called once more for each background response.

Each call gets its own copy of the scope, and the body in one message. Then its client seems to stay
until it has the whole answer: ``receive`` blocks until the app has sent its last body message, or
the response is stopped
(https://asgi.readthedocs.io/en/latest/specs/www.html#disconnect-receive-event). What the app sends
becomes the answer. The app may run on after its body, for background tasks and clean-up.
"""

from __future__ import annotations

from typing import Final

from response_cache import Answer
from response_cache.http import CLIENT_HEADERS
from response_cache_asgi._types import ASGIApp, Message, Scope

__all__ = ("EXTENSION", "WrappedApp")

EXTENSION: Final = "response_cache"
"""The only ASGI extension in the scope of a background run. Its ``"answer"`` is the
``response_cache.Answer``: the app, or middleware inside, can call ``admitted()`` and ``note()`` on
it. A request that is passed on does not have this extension."""


class WrappedApp:
    """Calls *app* with the *scope* of a create, and with another body."""

    def __init__(self, app: ASGIApp, scope: Scope) -> None:
        self._app = app
        self._scope = scope

    async def __call__(self, body: bytes, answer: Answer) -> None:
        """One run of the app, feeding *answer*. Raises what the app raises."""
        is_read = False

        async def receive() -> Message:
            nonlocal is_read
            if not is_read:
                is_read = True
                return {"type": "http.request", "body": body, "more_body": False}
            if not answer.left.is_set():  # without a wait: frameworks ask in a cancelled scope
                await answer.left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            kind = message["type"]
            if kind == "http.response.body":
                await answer.write(message.get("body", b""))
                if not message.get("more_body", False):
                    answer.finish()
                    answer.left.set()
            elif kind == "http.response.start":
                answer.require_wanted()
                answer.start(message["status"], message.get("headers", ()))

        await self._app(self._run_scope(body, answer), receive, send)

    def _run_scope(self, body: bytes, answer: Answer) -> Scope:
        headers = [pair for pair in self._scope["headers"] if pair[0].lower() not in CLIENT_HEADERS]
        headers.append((b"content-length", b"%d" % len(body)))
        headers.append((b"accept-encoding", b"identity"))  # the answer stays in this process
        scope = {**self._scope, "headers": headers, "extensions": {EXTENSION: {"answer": answer}}}
        if "state" in scope:
            scope["state"] = dict(scope["state"])
        return scope
