"""Errors that the server itself sends: no app was called, or the app has failed."""

from __future__ import annotations

from typing import Final

from response_cache.errors import error_body
from response_cache_server._asgi import Receive, Scope, Send, send_json

__all__ = ("SERVER_FAULT", "Refusal")


class Refusal(Exception):
    """A request that is answered with an error of the API. Then the connection is closed.

    ``answer`` is the ASGI app that sends the error.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.retry_after = retry_after

    async def answer(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the error."""
        headers = [(b"connection", b"close")]
        if self.retry_after is not None:
            headers.append((b"retry-after", str(self.retry_after).encode()))
        body = error_body(self.message, type=self.type)
        await send_json(send, self.status, body, headers=headers)


SERVER_FAULT: Final = Refusal(500, "The server failed to answer.", type="server_error")
"""Sent where the app returns or raises before it has begun to answer."""
