"""What the proxy takes in the foreground it takes in the background: it judges its own requests."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from openai import OpenAI

from tests.litellm.client import Client
from tests.litellm.provider import Provider
from tests.litellm.proxies import Proxy, with_us
from tests.litellm.waiting import until

pytestmark = with_us

ORDER: Final = json.dumps({"words": 2, "pace": 0})
ITEM: Final = {"role": "user", "content": "hi"}
FAST: Final = {"words": "2", "pace": "0"}

# fmt: off
BODIES: list[Any] = [
    pytest.param({"metadata": {"tags": ["team:search", "x"]}},                  id="tags"),
    pytest.param({"metadata": {"spend_logs_metadata": {"project": "x"}}},       id="spend"),
    pytest.param({"metadata": {"trace_id": "t" * 600}},                         id="long value"),
    pytest.param({"metadata": {"k" * 100: "v"}},                                id="long key"),
    pytest.param({"metadata": {"number": 5, "nothing": None, "list": [{"a": [1]}]}}, id="values"),
    pytest.param({"metadata": {f"key {n}": "v" for n in range(40)}},            id="many"),
    pytest.param({"metadata": json.dumps({"tags": ["a"]})},                     id="text"),
    pytest.param({"metadata": "no json"},                                       id="words"),
    pytest.param({"metadata": ["a"]},                                           id="list"),
    pytest.param({"metadata": 5},                                               id="number"),
    pytest.param({"metadata": {}},                                              id="empty"),
    pytest.param({"litellm_metadata": {"tags": ["a"]}},                         id="litellm's"),
    pytest.param({"input": ITEM, "model": "native", "metadata": FAST},          id="one item"),
    pytest.param({"model": 5},                                                  id="model"),
]
# fmt: on


@pytest.mark.parametrize("body", BODIES)
def test_a_create_is_judged_as_in_the_foreground(ann: Client, body: dict[str, Any]) -> None:
    request = {"model": "chat", "input": ORDER, **body}
    ours = ann.post(**request)
    theirs = ann.post(**{**request, "background": False, "stream": True})
    assert ours.status_code == theirs.status_code, ours.text
    if ours.status_code != 200:
        assert ours.json() == theirs.json()
        return
    assert ann.end(ours.json()["id"])["status"] == "completed"


METADATA: Final[dict[str, Any]] = {
    "tags": ["team:search", "x"],
    "spend_logs_metadata": {"project": "x"},
    "trace_id": "t" * 600,
    "n": 5,
}


@pytest.mark.parametrize("sent", [METADATA, json.dumps(METADATA)], ids=["object", "text"])
def test_hooks_and_spend_logs_get_what_the_client_sent(
    ann: Client, proxy: Proxy, sent: object
) -> None:
    order = json.dumps({"words": 2, "pace": 0, "name": f"attributed {type(sent).__name__}"})
    done = ann.end(ann.create(model="chat", input=order, metadata=sent))
    foreground = {"model": "chat", "input": order, "metadata": sent, "stream": True}
    assert ann.http.post("/v1/responses", json=foreground).status_code == 200
    ours, theirs = (line["hook"] for line in proxy.hooked if line["input"] == order)
    assert ours == theirs
    logged = until(lambda: [x for x in proxy.ledger if x["call"] == done["id"]], "it is logged")
    others = until(
        lambda: [x for x in proxy.ledger if x["trace"] == "t" * 600 and x["call"] != done["id"]],
        "the foreground is logged",
    )
    for name in ("tags", "spend", "trace", "sent", "cost"):
        assert logged[0][name] == others[-1][name]
    assert set(METADATA["tags"]) <= set(logged[0]["tags"])
    assert done["metadata"] == METADATA


def test_the_provider_gets_what_it_gets_in_the_foreground(ann: Client, provider: Provider) -> None:
    body: dict[str, Any] = {"metadata": {**FAST, "tags": ["a"]}, "input": "given on"}
    done = ann.end(ann.create(**body))
    assert done["status"] == "completed"
    foreground = {"model": "native", "stream": True, **body}
    assert ann.http.post("/v1/responses", json=foreground).status_code == 200
    ours, theirs = provider.calls_of("given on")
    assert ours.body == theirs.body


def test_an_official_sdk_reads_what_comes_back(ann: Client, proxy: Proxy) -> None:
    with OpenAI(base_url=f"{proxy.url}/v1", api_key="sk-ann") as client:
        created = client.responses.create(
            model="chat",
            input=ORDER,
            background=True,
            metadata=METADATA,
        )
        ann.end(created.id)
        read = client.responses.retrieve(created.id)
        assert read.status == "completed"
        assert read.metadata == METADATA
        events = list(client.responses.retrieve(created.id, stream=True))
    assert events[-1].type == "response.completed"
    assert events[-1].response.metadata == METADATA


def test_one_item_is_listed_as_the_input(ann: Client) -> None:
    id = ann.create(input=ITEM, metadata=FAST)
    (item,) = ann.http.get(f"/v1/responses/{id}/input_items").json()["data"]
    assert (item["type"], item["role"]) == ("message", "user")
    assert item["content"] == [{"type": "input_text", "text": "hi"}]
    ann.end(id)
