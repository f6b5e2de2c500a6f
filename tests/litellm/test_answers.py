"""Background responses of the proxy, as its clients see them."""

from __future__ import annotations

import gzip
import json
from itertools import islice
from typing import Any

import httpx
import pytest
from redis import Redis

from tests.litellm.client import Client, text_of
from tests.litellm.provider import WORD, Provider
from tests.litellm.proxies import Proxy, with_us
from tests.litellm.waiting import until
from tests.stores.servers import Server, ask

pytestmark = with_us

FAST = {"words": "6", "pace": "0"}
ENDLESS = {"words": "100000", "pace": "0.02"}


def test_a_response_is_queued_at_once_and_completes(ann: Client) -> None:
    queued = ann.post("plain", metadata=FAST).json()
    assert (queued["status"], queued["background"], queued["output"]) == ("queued", True, [])
    done = ann.end(queued["id"])
    assert done["status"] == "completed"
    assert len(text_of(done).split()) == 6
    assert done["usage"]["output_tokens"] == 6
    assert done["metadata"] == FAST


def test_a_late_first_token_delays_nothing(ann: Client, provider: Provider) -> None:
    """The answer comes when LiteLLM's checks have passed, not when the provider begins."""
    id = ann.create("late", metadata={"delay": "600"})
    assert not provider.call_of("late").is_over.is_set()
    assert ann.get(id)["status"] == "queued"
    assert ann.cancel(id).json()["status"] == "cancelled"


def test_arguments_grow_in_the_stream_and_are_in_no_poll_before_the_end(ann: Client) -> None:
    order = {**ENDLESS, "output": "function_call"}
    id = ann.create("arguments", metadata=order, tools=[])
    with ann.http.stream("GET", f"/v1/responses/{id}?stream=true") as reply:
        deltas = (line for line in reply.iter_lines() if line.endswith("_call_arguments.delta"))
        assert len([*islice(deltas, 3)]) == 3
        assert ann.get(id)["output"] == []
    assert ann.cancel(id).json()["output"][0]["arguments"]


def test_reasoning_summaries_and_function_calls_are_kept(ann: Client) -> None:
    order = {**FAST, "output": "reasoning,function_call,text"}
    done = ann.end(ann.create("items", metadata=order))
    assert done["status"] == "completed"
    kinds = [item["type"] for item in done["output"]]
    assert kinds == ["reasoning", "function_call", "message"]
    assert done["output"][0]["summary"][0]["text"]
    assert json.loads(done["output"][1]["arguments"])


def test_a_provider_of_chat_completions_answers_in_the_background(ann: Client) -> None:
    order = json.dumps({"words": 5, "pace": 0.01})
    done = ann.end(ann.create(model="chat", input=order))
    assert done["status"] == "completed", done
    assert text_of(done) == WORD * 5


def test_a_bridged_answer_grows_and_is_cancelled(ann: Client, provider: Provider) -> None:
    order = json.dumps({"words": 10**6, "pace": 0.02, "name": "bridged"})
    id = ann.create(model="chat", input=order)
    assert text_of(ann.until_text(id)).startswith(WORD)
    assert ann.cancel(id).json()["status"] == "cancelled"
    assert provider.call_of("bridged").is_over.wait(30)


@pytest.mark.parametrize("path", ["/v1/responses", "/responses", "/openai/v1/responses"])
def test_every_spelling_of_the_route_is_ours(ann: Client, path: str) -> None:
    reply = ann.post("spelled", path=path, metadata=FAST)
    assert reply.json()["status"] == "queued"
    done = ann.end(reply.json()["id"])
    assert ann.http.get(f"{path}/{done['id']}").json() == done


def test_a_compressed_create_is_understood(ann: Client, provider: Provider) -> None:
    body = {"model": "native", "input": "zipped", "background": True, "metadata": FAST}
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    packed = gzip.compress(json.dumps(body).encode())
    reply = ann.http.post("/v1/responses", content=packed, headers=headers)
    assert reply.json()["status"] == "queued"
    assert ann.end(reply.json()["id"])["status"] == "completed"
    (call,) = provider.calls_of("zipped")
    assert "background" not in call.body


def test_browsers_may_ask_from_anywhere(ann: Client) -> None:
    """A preflight goes to the proxy; our replies have the same CORS headers as its own."""
    asked = {"origin": "http://page.example", "access-control-request-method": "GET"}
    id = ann.create("browser", metadata=FAST)
    preflight = httpx.options(f"{ann.http.base_url}/v1/responses/{id}", headers=asked)
    assert preflight.status_code == 200
    theirs = ann.http.get("/v1/models", headers=asked).headers
    ours = ann.http.get(f"/v1/responses/{id}", headers=asked).headers
    assert ours.get_list("access-control-allow-origin") == ["*"]
    for name in ("access-control-allow-origin", "x-content-type-options", "x-frame-options"):
        assert ours[name] == theirs[name]


def test_foreground_work_is_the_proxys_alone(ann: Client) -> None:
    body = {"model": "native", "input": "now", "metadata": FAST}
    reply = ann.http.post("/v1/responses", json=body, headers={"origin": "http://page.example"})
    assert reply.json()["status"] == "completed"
    assert not reply.json()["id"].startswith("resp_rc")
    assert reply.headers.get_list("access-control-allow-origin") == ["*"]


def test_a_conversation_goes_on_from_a_response_of_ours(ann: Client, provider: Provider) -> None:
    first = ann.end(ann.create("chained one", metadata=FAST))
    second = ann.create("chained two", previous_response_id=first["id"], metadata=FAST)
    assert ann.end(second)["previous_response_id"] == first["id"]
    foreground = {"model": "native", "input": "chained three", "previous_response_id": first["id"]}
    assert ann.http.post("/v1/responses", json=foreground).status_code == 200
    for name in ("chained two", "chained three"):
        assert provider.call_of(name).body["previous_response_id"].startswith("resp_")
        assert first["id"] not in str(provider.call_of(name).body)


def test_the_id_and_the_cost_reach_litellms_log_once(ann: Client, proxy: Proxy) -> None:
    id = ann.create("billed", metadata={"words": "6", "pace": "0"})
    for _ in range(5):
        ann.end(id)
    lines = until(lambda: [x for x in proxy.ledger if x["call"] == id], "it is logged")
    assert len(lines) == 1
    assert lines[0]["cost"] == pytest.approx(ann.get(id)["usage"]["input_tokens"] * 0.001 + 0.06)
    assert [line for line in proxy.ledger if line["call"] == id] == lines


def test_operators_find_provider_usage_and_cost_in_the_notes(ann: Client, redis: Server) -> None:
    done = ann.end(ann.create("noted", metadata=FAST))
    with redis.client() as client:
        notes = _notes(client, done["id"])
    assert notes["provider"] == "openai"
    assert notes["usage"]["output_tokens"] == 6
    assert notes["cost"] > 0.06
    assert notes["upstream_id"].startswith("resp_")


def _notes(client: Redis, id: str) -> Any:
    return json.loads(ask(client, "HGET", f"{{response_cache:{id}}}:meta", "notes"))


def test_a_response_is_kept_in_the_proxys_redis_as_it_is(ann: Client, redis: Server) -> None:
    done = ann.end(ann.create("stored", metadata=FAST))
    with redis.client() as client:
        stored = ask(client, "GET", f"response_cache:{done['id']}")
    assert json.loads(stored) == done
