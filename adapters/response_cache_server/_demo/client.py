"""The calls of the demonstration, as any HTTP client makes them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any, TypeAlias

import httpx

__all__ = ("Client", "Unexpected", "response_text")

Event: TypeAlias = dict[str, Any]


class Unexpected(Exception):
    """The server's answer was not the promised one; the message says what it was."""


def response_text(response: dict[str, Any]) -> str:
    """The words of a Response so far."""
    parts = (part for item in response["output"] for part in item.get("content", ()))
    return "".join(part["text"] for part in parts)


class Client:
    """Calls a server of the Responses API; raises ``Unexpected`` for any other answer."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def create(self, input: str, **metadata: str) -> dict[str, Any]:
        """A new background response, as it was answered."""
        return await self._call("POST", "/v1/responses", json=_body(input, metadata))

    async def retrieve(self, id: str) -> dict[str, Any]:
        """The response as it stands now."""
        return await self._call("GET", f"/v1/responses/{id}")

    async def cancel(self, id: str) -> dict[str, Any]:
        """The response, cancelled."""
        return await self._call("POST", f"/v1/responses/{id}/cancel")

    async def delete(self, id: str) -> dict[str, Any]:
        """The note that it is gone."""
        return await self._call("DELETE", f"/v1/responses/{id}")

    async def expect_gone(self, id: str) -> None:
        """Make sure that the response is answered with 404."""
        await self._call("GET", f"/v1/responses/{id}", status=404)

    def create_stream(self, input: str, **metadata: str) -> AsyncGenerator[Event, None]:
        """The events of a new background response; closing it drops the connection."""
        body = {**_body(input, metadata), "stream": True}
        return self._events("POST", "/v1/responses", json=body)

    def resume(self, id: str, *, starting_after: int) -> AsyncGenerator[Event, None]:
        """The events of a response after the one with that number, until its end."""
        query = {"stream": "true", "starting_after": str(starting_after)}
        return self._events("GET", f"/v1/responses/{id}", params=query)

    async def _call(
        self, method: str, path: str, *, status: int = 200, json: object = None
    ) -> dict[str, Any]:
        try:
            reply = await self._http.request(method, path, json=json)
        except httpx.TransportError as error:
            raise Unexpected(f"{method} {path}: {type(error).__name__}: {error}") from error
        if reply.status_code != status:
            raise Unexpected(
                f"{method} {path} was answered {reply.status_code} and not {status}: {reply.text}"
            )
        answer: dict[str, Any] = reply.json()
        return answer

    async def _events(self, method: str, path: str, **options: Any) -> AsyncGenerator[Event, None]:
        try:
            async with self._http.stream(method, path, **options) as reply:
                if reply.status_code != 200:
                    text = (await reply.aread()).decode(errors="replace")
                    raise Unexpected(f"{method} {path} was answered {reply.status_code}: {text}")
                async for line in reply.aiter_lines():
                    if line.startswith("data:"):
                        yield json.loads(line.removeprefix("data:"))
        except httpx.TransportError as error:
            raise Unexpected(f"{method} {path}: {type(error).__name__}: {error}") from error


def _body(input: str, metadata: dict[str, str]) -> dict[str, Any]:
    return {"model": "built-in", "input": input, "background": True, "metadata": metadata}
