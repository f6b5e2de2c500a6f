"""What people hit with LiteLLM's polling via cache: with us none of it happens.

Run with RESPONSE_CACHE_LITELLM_ALONE=1 (``make test-litellm-alone``), the same tests ask LiteLLM as
it is, under the same configuration, and fail: docs/litellm.md says what each of them then shows.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from typing import Any

import pytest

from tests.litellm.client import Client, text_of
from tests.litellm.provider import Provider
from tests.litellm.proxies import Proxy
from tests.litellm.waiting import until
from tests.stores.servers import Server, ask

ENDLESS = {"words": "100000", "pace": "0.02"}
AWAY = 2.0  # seconds that Redis is away
FAST = {"words": "6", "pace": "0"}


def test_a_cancelled_run_stays_cancelled_and_stops_the_provider(
    ann: Client, provider: Provider
) -> None:
    id = ann.create("stop me", metadata={"words": "60", "pace": "0.03"})
    ann.until_text(id)
    assert ann.cancel(id).json()["status"] == "cancelled"
    assert provider.call_of("stop me").is_over.wait(30)
    cancelled = ann.get(id)
    assert cancelled["status"] == "cancelled"
    assert len(text_of(cancelled).split()) < 60  # it was stopped, and did not come to its end
    assert ann.cancel(id).json() == cancelled


def test_a_completed_response_cannot_be_cancelled(ann: Client) -> None:
    done = ann.end(ann.create("too late", metadata=FAST))
    refused = ann.cancel(done["id"])
    assert refused.status_code == 400
    assert refused.json()["error"]["message"] == "Cannot cancel a completed response."
    assert ann.get(done["id"]) == done


@pytest.mark.parametrize("verb", ["read", "cancel", "delete"])
def test_nobody_else_may_touch_it(ann: Client, bob: Client, verb: str) -> None:
    id = ann.create("mine", metadata=ENDLESS)
    method = {"read": "GET", "cancel": "POST", "delete": "DELETE"}[verb]
    rest = "/cancel" if verb == "cancel" else ""
    reply = bob.http.request(method, f"/v1/responses/{id}{rest}")
    assert reply.status_code in (403, 404)
    assert ann.get(id)["status"] in ("queued", "in_progress")
    ann.cancel(id)


def test_a_stream_can_be_resumed(ann: Client) -> None:
    id = _streamed(ann)
    url = f"/v1/responses/{id}"
    whole = _numbers(ann.http.get(url, params={"stream": "true"}).text)
    assert whole == list(range(len(whole)))
    rest = _numbers(ann.http.get(url, params={"stream": "true", "starting_after": 4}).text)
    assert rest == whole[5:]


def _streamed(ann: Client) -> str:
    """The id of a response that was created with ``stream``."""
    with ann.http.stream("POST", "/v1/responses", json=_body("streamed")) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        text = "".join(reply.iter_text())
    found = re.search(r'"id":\s*"(\w+)"', text)
    assert found
    return found[1]


def _body(name: str) -> dict[str, object]:
    asked = {"model": "native", "background": True, "stream": True}
    return {**asked, "input": f"Tell of {name}", "metadata": FAST}


def _numbers(text: str) -> list[int]:
    return [
        json.loads(line[6:])["sequence_number"]
        for line in text.splitlines()
        if line.startswith("data: {")
    ]


def test_reasoning_is_shown_while_it_grows(ann: Client) -> None:
    id = ann.create("growing", metadata={**ENDLESS, "output": "reasoning"})

    def shown() -> str:
        item: Any = next(iter(ann.get(id)["output"]), {})
        return "".join(part["text"] for part in item.get("summary") or ())

    first = until(shown, "a poll shows a part")
    until(lambda: len(shown()) > len(first), "and later more")
    ann.cancel(id)


def test_a_burst_is_visible_without_waiting_for_the_next_event(
    ann: Client, provider: Provider
) -> None:
    """The provider begins an item and is silent for ten minutes: the item is there."""
    order = {"words": "1", "pace": "600", "output": "text"}
    id = ann.create("burst", metadata=order)
    provider.call_of("burst")
    until(lambda: ann.get(id)["output"], "a poll shows the item that has begun")
    ann.cancel(id)


def test_a_conversation_can_go_on(ann: Client) -> None:
    first = ann.end(ann.create("once", metadata=FAST))
    second = ann.create("again", previous_response_id=first["id"], metadata=FAST)
    assert ann.end(second)["status"] == "completed"


def test_input_items_can_be_listed(ann: Client) -> None:
    id = ann.create("asked", metadata=FAST)
    reply = ann.http.get(f"/v1/responses/{id}/input_items")
    assert reply.status_code == 200
    assert reply.json()["data"][0]["content"][0]["text"] == "Tell of asked"


def test_a_silent_run_outlives_the_time_that_responses_are_kept(
    workers: Proxy, provider: Provider
) -> None:
    """Kept for 3 s after their end; this one says nothing for 6."""
    ann = workers.client()
    id = ann.create("long silence", metadata={"delay": "6", **FAST})
    assert provider.call_of("long silence").is_over.wait(30)
    assert ann.end(id)["status"] == "completed"


def test_a_short_absence_of_redis_kills_nothing(workers: Proxy, own_redis: Server) -> None:
    ann = workers.client()
    id = ann.create("through it", metadata={"words": "60", "pace": "0.1"})
    ann.until_text(id)
    own_redis.stop(keep_data=True)
    time.sleep(AWAY)
    own_redis.start()
    replies = []

    def done() -> str:
        reply = ann.http.get(f"/v1/responses/{id}")
        replies.append(reply.status_code)
        return reply.json()["status"] if reply.status_code == 200 else ""

    until(lambda: done() in ("completed", "failed"), "it is over")
    assert done() == "completed"
    assert 500 not in replies


def test_a_killed_worker_leaves_nothing_pending(workers: Proxy) -> None:
    ann = workers.client()
    id = ann.create("orphan", metadata=ENDLESS)
    ann.until_text(id)
    for pid in _children(workers.process.pid):
        os.kill(pid, signal.SIGKILL)
    until(lambda: workers.is_up, "new workers have come", within=120)
    assert ann.end(id)["status"] == "failed"


def _children(pid: int) -> list[int]:
    """The processes that *pid* has started."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True
    )
    return [int(line) for line in listed.stdout.split()]


def test_a_redeployed_worker_leaves_nothing_pending(workers: Proxy, own_redis: Server) -> None:
    """The last test of these: SIGTERM ends the proxy, and what it ran has ended in Redis."""
    ann = workers.client()
    id = ann.create("redeployed", metadata=ENDLESS)
    ann.until_text(id)
    workers.process.send_signal(signal.SIGTERM)
    until(lambda: _stored_status(own_redis, id) == "failed", "it has ended in Redis")
    workers.process.wait(60)


def _stored_status(redis: Server, id: str) -> str:
    """What is in Redis, under whoever's key: the proxy does not answer any more."""
    with redis.client() as client:
        keys = ask(client, "KEYS", f"*{id}")
        stored = json.loads(ask(client, "GET", keys[0]) if keys else "{}")
    response = json.loads(stored) if isinstance(stored, str) else stored  # LiteLLM encodes twice
    return str(response.get("status"))
