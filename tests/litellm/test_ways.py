"""The other ways in: an app object under root paths, and the SDK without the proxy."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.litellm.client import Client, text_of
from tests.litellm.provider import WORD, Provider
from tests.litellm.proxies import (
    BIN,
    Proxy,
    configuration,
    running_proxy,
    with_us,
)
from tests.litellm.waiting import until

pytestmark = with_us

FAST = {"words": "6", "pace": "0"}
ENDLESS = {"words": "100000", "pace": "0.02"}
APP = "from response_cache_litellm import proxy_app\napp = proxy_app()\n"


@pytest.fixture(scope="module")
def mounted(
    serving: tuple[Provider, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """``proxy_app()`` under uvicorn, below a root path, without Redis; settings in odd words."""
    directory: Path = tmp_path_factory.mktemp("app")
    (directory / "our_app.py").write_text(APP)
    config = configuration(serving[1], None, callbacks=["response_cache_litellm.callback"])
    mode = config["litellm_settings"]["responses"]["background_mode"]
    mode |= {"polling_via_cache": True, "native_background_mode": ["chat"]}
    env = {"CONFIG_FILE_PATH": "config.yaml", "SERVER_ROOT_PATHS": "/llm,/other"}
    command = [sys.executable, "-m", "uvicorn", "our_app:app"]
    with running_proxy(command, directory, config, env=env, root="/llm") as running:
        yield running


def test_an_app_object_serves_background_responses_below_a_root_path(mounted: Proxy) -> None:
    ann = mounted.client()
    done = ann.end(ann.create("mounted", metadata=FAST))
    assert done["status"] == "completed"
    elsewhere = mounted.url.replace("/llm", "/other")
    reply = httpx.get(f"{elsewhere}/v1/responses/{done['id']}", headers=ann.http.headers)
    assert reply.json() == done
    assert mounted.client("sk-bob").http.get(f"/v1/responses/{done['id']}").status_code == 404


def test_a_value_that_was_silently_off_is_on_and_told(mounted: Proxy) -> None:
    mounted.client().create("told", metadata=FAST)
    assert mounted.log.count("polling_via_cache: True means 'all'") == 1
    assert mounted.log.count("the proxy has no Redis") == 1


def test_a_model_with_native_background_mode_is_left_to_the_proxy(
    mounted: Proxy, provider: Provider
) -> None:
    order = json.dumps({"words": 2, "pace": 0, "name": "native background"})
    reply = mounted.client().post(model="chat", input=order)
    assert not reply.json().get("id", "").startswith("resp_rc")
    assert provider.call_of("native background")


def test_a_second_installation_changes_nothing(mounted: Proxy) -> None:
    """``proxy_app()`` and the callback are both there, and a response is made once."""
    ann = mounted.client()
    id = ann.end(ann.create("once only", metadata=FAST))["id"]
    lines = until(lambda: [x for x in mounted.ledger if x["call"] == id], "it is logged")
    assert len(lines) == 1


def test_a_cancel_at_any_early_moment_stops_the_provider(
    mounted: Proxy, provider: Provider
) -> None:
    """Also between the first byte of the provider and that of the proxy: see leaving.py."""
    for number in range(12):
        _cancel_early(mounted.client(), provider, f"early cancel {number:02}", "native")


def _cancel_early(client: Client, provider: Provider, name: str, model: str) -> None:
    """Cancel before the provider is called or soon after; by name, one half each."""
    id = client.create(name, model=model, metadata=ENDLESS)
    if int(name[-1]) % 2:
        provider.call_of(name)
    assert client.cancel(id).json()["status"] == "cancelled"
    if provider.calls_of(name):
        assert provider.call_of(name).is_over.wait(30), name


def test_sigterm_ends_what_runs_and_then_the_process(mounted: Proxy, provider: Provider) -> None:
    """The last of these tests. A reader who holds on to a stream does not hold up the process."""
    ann = mounted.client()
    id = ann.create("terminated", metadata=ENDLESS)
    ann.until_text(id)
    with ann.http.stream("GET", f"/v1/responses/{id}", params={"stream": "true"}) as reply:
        lines = reply.iter_lines()
        next(lines)
        mounted.process.send_signal(signal.SIGTERM)
        rest = "\n".join(lines)
    assert "response.failed" in rest
    assert "shut down" in rest
    assert provider.call_of("terminated").is_over.wait(30)
    mounted.wait()


@pytest.fixture(scope="module")
def door(
    serving: tuple[Provider, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """``response-cache serve --upstream litellm``: no proxy at all."""
    env = {
        "OPENAI_API_BASE": serving[1],
        "OPENAI_API_KEY": "sk-provider",
        "DEEPSEEK_API_BASE": serving[1],
        "DEEPSEEK_API_KEY": "sk-provider",
    }
    command = [str(BIN / "response-cache"), "serve", "--upstream", "litellm"]
    directory = tmp_path_factory.mktemp("door")
    with running_proxy(command, directory, {}, env=env, health="/healthz") as running:
        yield running.client()


def test_every_provider_stands_behind_one_door(door: Client) -> None:
    native = door.end(door.create("behind", model="openai/gpt-4o", metadata=FAST))
    assert native["status"] == "completed"
    assert len(text_of(native).split()) == 6
    order = json.dumps({"words": 3, "pace": 0.01})
    bridged = door.end(door.create(model="deepseek/chat", input=order))
    assert bridged["status"] == "completed", bridged
    assert text_of(bridged) == WORD * 3


@pytest.mark.parametrize(
    "metadata",
    [
        {"tags": ["a"], "spend_logs_metadata": {"project": "x"}},
        {"trace_id": "t" * 600},
        {f"key {n}": "v" for n in range(40)},
    ],
)
def test_behind_the_door_metadata_is_for_litellm_to_judge(
    door: Client, metadata: dict[str, object]
) -> None:
    request = {"model": "deepseek/chat", "input": json.dumps({"words": 2, "pace": 0})}
    foreground = {**request, "metadata": metadata, "stream": True}
    assert door.http.post("/v1/responses", json=foreground).status_code == 200
    done = door.end(door.create(**request, metadata=metadata))
    assert done["status"] == "completed", done
    assert done["metadata"] == metadata


def test_behind_the_door_a_cancel_stops_the_provider(door: Client, provider: Provider) -> None:
    id = door.create("door cancel", model="openai/gpt-4o", metadata=ENDLESS)
    door.until_text(id)
    assert door.cancel(id).json()["status"] == "cancelled"
    assert provider.call_of("door cancel").is_over.wait(30)


def test_behind_the_door_a_cancel_at_any_early_moment_stops_the_provider(
    door: Client, provider: Provider
) -> None:
    for number in range(12):
        _cancel_early(door, provider, f"door early cancel {number:02}", "openai/gpt-4o")


@pytest.mark.parametrize("end", ["cut", "failed"])
def test_behind_the_door_a_broken_answer_fails(door: Client, end: str) -> None:
    order = {"words": "5", "pace": "0.05", "end": end}
    failed = door.end(door.create("door broken", model="openai/gpt-4o", metadata=order))
    assert failed["status"] == "failed"
    assert failed["error"]["message"]
    assert text_of(failed)


def test_behind_the_door_the_foreground_works_and_refuses(door: Client) -> None:
    body = {"model": "openai/gpt-4o", "input": "now", "metadata": FAST}
    assert door.http.post("/v1/responses", json=body).json()["status"] == "completed"
    streamed = door.http.post("/v1/responses", json={**body, "stream": True}).text
    assert "event: response.completed" in streamed
    refused = door.http.post("/v1/responses", json={**body, "api_base": "http://127.0.0.1:1"})
    assert refused.status_code == 400
    assert refused.json()["error"]["message"] == "Unknown parameter: 'api_base'."
    rejected = door.http.post("/v1/responses", json={**body, "metadata": {"status": "401"}})
    assert rejected.status_code == 401
    assert door.http.get("/v1/models").status_code == 404
