"""The SDK's events as server-sent events, and the terminal event where the SDK raises."""

from __future__ import annotations

from response_cache._protocol.jsontext import JsonObject, dump
from response_cache._protocol.sse import frame

__all__ = ("Events",)


class Events:
    """The events of one answer, in order."""

    def __init__(self) -> None:
        self._response: JsonObject = {"object": "response", "output": []}
        self._number = 0

    def frame(self, event: JsonObject) -> bytes:
        """*event* as a server-sent event, with its number: some of LiteLLM's bridges give none."""
        if isinstance(event.get("response"), dict):
            self._response = event["response"]
        event["sequence_number"] = self._number
        self._number += 1
        return frame(str(event.get("type", "")), dump(event))

    def failure(self, message: str) -> bytes:
        """The terminal event of an answer that broke off."""
        error = {"code": "server_error", "message": message}
        failed = {**self._response, "status": "failed", "error": error}
        return self.frame({"type": "response.failed", "response": failed})
