"""A client that polls as any client would."""

from __future__ import annotations

from typing import Any, Final

import httpx

from tests.litellm.waiting import WAIT_TIMEOUT, until

__all__ = ("ENDED", "Client")

ENDED: Final = ("completed", "failed", "cancelled", "incomplete")


class Client:
    """Speaks to a proxy with one key."""

    def __init__(self, url: str, key: str = "sk-ann") -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self.http = httpx.Client(base_url=url, headers=headers, timeout=WAIT_TIMEOUT)

    def post(self, name: str = "", *, path: str = "/v1/responses", **body: Any) -> httpx.Response:
        """A background create; what stands in *body* and *name* tells the provider what to do."""
        request = {"model": "native", "input": f"Tell of {name}", "background": True, **body}
        return self.http.post(path, json=request)

    def create(self, name: str = "", **body: Any) -> str:
        """The id of a new background response."""
        reply = self.post(name, **body)
        assert reply.status_code == 200, reply.text
        return str(reply.json()["id"])

    def get(self, id: str) -> Any:
        """The Response object."""
        reply = self.http.get(f"/v1/responses/{id}")
        assert reply.status_code == 200, reply.text
        return reply.json()

    def until(self, id: str, *statuses: str) -> Any:
        """The object once its status is one of *statuses*."""

        def reached() -> Any:
            response = self.get(id)
            return response if response["status"] in statuses else None

        return until(reached, f"{id} is {' or '.join(statuses)}")

    def end(self, id: str) -> Any:
        """The object once it is over."""
        return self.until(id, *ENDED)

    def until_text(self, id: str) -> Any:
        """The object once a poll shows a part of its text."""
        return until(lambda: r if text_of(r := self.get(id)) else None, f"{id} shows some text")

    def cancel(self, id: str) -> httpx.Response:
        return self.http.post(f"/v1/responses/{id}/cancel")

    def delete(self, id: str) -> httpx.Response:
        return self.http.delete(f"/v1/responses/{id}")


def text_of(response: Any) -> str:
    """All text of a Response object."""
    return "".join(
        part.get("text", "")
        for item in response["output"]
        for part in item.get("content") or ()
        if part["type"] in ("output_text", "text")
    )
