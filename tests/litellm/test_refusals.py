"""What the proxy refuses, and what the provider does not do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.litellm.client import Client, text_of
from tests.litellm.provider import Provider
from tests.litellm.proxies import Proxy, with_us
from tests.litellm.waiting import until

pytestmark = with_us


# fmt: off
REFUSED: list[Any] = [
    pytest.param("sk-unknown", {},                       401, id="unknown key"),
    pytest.param("sk-ann",     {"model": "no-such"},     400, id="unknown model"),
    pytest.param("sk-ann",     {"input": None},          400, id="no input"),
    pytest.param("sk-ann",     {"input": "forbidden"},   400, id="guardrail"),
    pytest.param("sk-ann",     {"previous_response_id": "resp_foreign"}, 403, id="foreign id"),
]
# fmt: on


@pytest.mark.parametrize(("key", "body", "status"), REFUSED)
def test_a_refusal_of_the_proxy_comes_back_at_once_and_unchanged(
    proxy: Proxy, key: str, body: dict[str, Any], status: int
) -> None:
    """Compared with what the proxy says to the same request in the foreground."""
    client = proxy.client(key)
    ours = client.post("refused", **body)
    theirs = client.post("refused", **{**body, "background": False})
    assert ours.status_code == theirs.status_code == status
    assert ours.json() == theirs.json()


def test_a_rate_limit_refuses_a_create_and_no_poll(proxy: Proxy) -> None:
    client = proxy.client("sk-slow")
    id = client.create("limited", metadata={"words": "3", "pace": "0"})
    refused = client.post("limited")
    assert refused.status_code == 429
    assert "retry-after" in refused.headers
    for _ in range(5):
        assert client.get(id)["id"] == id


def test_a_budget_refuses_a_create_and_no_poll(proxy: Proxy) -> None:
    client = proxy.client("sk-poor")
    id = client.create("last money", metadata={"words": "100000", "pace": "0.02"})
    ours = client.post("no money")
    assert ours.status_code == 422
    assert ours.json()["error"]["type"] == "budget_exceeded"
    assert ours.json() == client.post("no money", background=False).json()
    assert client.get(id)["id"] == id
    assert client.cancel(id).json()["status"] == "cancelled"
    assert client.delete(id).json()["deleted"]


def test_a_cancel_frees_the_parallel_slot(proxy: Proxy) -> None:
    client = proxy.client("sk-narrow")
    endless = {"words": "100000", "pace": "0.02"}
    id = client.create("slot", metadata=endless)
    client.until_text(id)
    assert client.post("slot", metadata=endless).status_code == 429
    client.cancel(id)
    again = _create_when_free(client, endless)
    client.cancel(again)


def _create_when_free(client: Client, metadata: dict[str, str]) -> str:
    def created() -> str | None:
        reply = client.post("slot", metadata=metadata)
        return reply.json()["id"] if reply.status_code == 200 else None

    return until(created, "the slot is free again")


# fmt: off
FAILURES: list[Any] = [
    pytest.param({"status": "401"}, "server_error",        id="401"),
    pytest.param({"status": "429"}, "rate_limit_exceeded", id="429"),
    pytest.param({"status": "500"}, "server_error",        id="500"),
]
# fmt: on


@pytest.mark.parametrize(("order", "code"), FAILURES)
def test_a_provider_that_refuses_makes_the_response_fail(
    ann: Client, order: dict[str, str], code: str
) -> None:
    failed = ann.end(ann.create("refusing provider", metadata=order))
    assert failed["status"] == "failed"
    assert failed["error"]["code"] == code
    assert f"status {order['status']}" in failed["error"]["message"]


@pytest.mark.parametrize("end", ["cut", "error", "failed"])
def test_an_answer_that_breaks_off_fails_and_keeps_its_text(ann: Client, end: str) -> None:
    order = {"words": "5", "pace": "0.05", "end": end}  # slow enough for words to pass one by one
    failed = ann.end(ann.create("broken", metadata=order))
    assert failed["status"] == "failed"
    assert failed["error"]["message"]
    assert text_of(failed)


def test_an_answer_cut_short_is_incomplete(ann: Client) -> None:
    order = {"words": "5", "pace": "0", "end": "incomplete"}
    assert ann.end(ann.create("short", metadata=order))["status"] == "incomplete"


def test_a_silent_provider_is_cancelled(ann: Client, provider: Provider) -> None:
    id = ann.create("silent", metadata={"delay": "600"})
    call = provider.call_of("silent")
    ann.cancel(id)
    assert call.is_over.wait(30)


def test_a_running_response_that_is_deleted_stops(ann: Client, provider: Provider) -> None:
    id = ann.create("deleted", metadata={"words": "100000", "pace": "0.02"})
    ann.until_text(id)
    assert ann.delete(id).json()["deleted"]
    assert provider.call_of("deleted").is_over.wait(30)
    assert ann.http.get(f"/v1/responses/{id}").status_code == 404
