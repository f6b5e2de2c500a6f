"""Passwords and keys of URLs: not one of them in anything that the process says, at any level."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path
from typing import Final

import anyio
import httpx
import pytest

from response_cache_server._app import build_app
from response_cache_server._asgi import Message
from response_cache_server._proxy.app import ProxyApp
from response_cache_server._settings import BadSettings, load_settings
from tests.adapters.server.proxy.test_app import echo
from tests.adapters.servers import DEADLINE, eventually, program, run_program, serving
from tests.ports import free_port

pytestmark = pytest.mark.slow

LEVELS: Final = ("critical", "error", "warning", "info", "debug")
QUERY: Final = "api-version=1&api-key=hush1&key=hush2&code=hush3&sig=hush4%3D&hush5"


@pytest.fixture
def anyio_backend() -> str:
    """The servers run on asyncio only."""
    return "asyncio"


def upstream_at(netloc: str) -> str:
    return f"http://user:hush6@{netloc}/v1?{QUERY}"


@pytest.mark.parametrize("level", LEVELS)
async def test_a_process_whose_upstream_is_not_there_repeats_no_secret(
    level: str, tmp_path: Path
) -> None:
    flags = ["--upstream", upstream_at(f"127.0.0.1:{free_port()}"), "--log-level", level]
    store = f"sqlite:///{tmp_path}/a.db?synchronous=FULL"
    async with program("serve", "--port", "0", "--store", store, *flags) as running:
        url = await running.listening()
        async with httpx.AsyncClient(base_url=url, timeout=DEADLINE, trust_env=False) as client:
            asked = {"model": "m", "input": "x"}
            key = {"Authorization": "Bearer hush7"}
            bodies = [
                (await client.get("/v1/models?api-key=hush8&limit=3", headers=key)).text,
                (await client.post("/v1/responses?key=hush9", json=asked, headers=key)).text,
                (await client.post("/v1/responses", json={**asked, "background": True})).text,
                (await client.get("/v1/../x?key=hush10", headers=key)).text,
            ]
        if level == "debug":
            await eventually(lambda: "limit=3" in running.stdout + running.stderr)
    said = running.stdout + running.stderr
    assert "upstream: http://127.0.0.1" in said
    assert "hush" not in said
    assert "hush" not in "".join(bodies)


@pytest.mark.parametrize("level", ["info", "debug"])
async def test_a_process_whose_upstream_answers_repeats_no_secret(level: str) -> None:
    async with serving(echo) as up:
        flags = ["--upstream", upstream_at(up.removeprefix("http://")), "--log-level", level]
        async with program("serve", "--port", "0", *flags) as running:
            url = await running.listening()
            async with httpx.AsyncClient(base_url=url, timeout=DEADLINE, trust_env=False) as client:
                seen = (await client.get("/v1/models?key=hush8")).json()
    assert seen["query"] == f"{QUERY}&key=hush8"
    assert "hush" not in running.stdout + running.stderr


@pytest.mark.parametrize(
    "store",
    [
        *("redis://user:hush@127.0.0.1:{port}", "redis://:hu/sh@127.0.0.1:{port}"),
        *("redis://:hush@127.0.0.1:{port}?password=hush", "redis://:hush?hush@127.0.0.1"),
        *("redis+sentinel://:hush@127.0.0.1:{port}/s", "redis+cluster://:hush@127.0.0.1:{port}"),
        *("redis://:hush", "floppy://:hush@host", "sqlite:///a.db?password=hush", "//:hush@[h"),
    ],
)
async def test_a_store_that_is_not_there_or_none_is_said_without_its_secret(store: str) -> None:
    url = store.format(port=free_port())
    async with program("serve", "--port", "0", "--store", url, "--log-level", "debug") as running:
        await eventually(
            lambda: "listens on" in running.stdout or running.process.returncode is not None
        )
        if running.process.returncode is None:
            async with httpx.AsyncClient(timeout=DEADLINE, trust_env=False) as client:
                body = {"model": "m", "input": "x", "background": True}
                reply = await client.post(f"{running.url}/v1/responses", json=body)
                assert "hush" not in reply.text
    said = running.stdout + running.stderr
    assert said
    assert "hush" not in said
    assert "hu/sh" not in said


@pytest.mark.parametrize(
    "url",
    [
        *("http://me:hu/sh@host/v1", "ftp://me:hush@host/v1"),
        *("http://host/v1#hush", "me:hush@host/v1", "http://me:\x7fhush@host", "hush"),
    ],
)
async def test_an_upstream_that_is_none_is_said_without_its_secret(url: str) -> None:
    code, ended = await run_program("serve", "--upstream", url)
    said = ended.stdout + ended.stderr
    assert code == 2
    assert "--upstream: " in said
    assert not any(part in said for part in ("hush", "hu/sh", "'hu'"))
    with pytest.raises(BadSettings) as complaint:
        load_settings({"upstream": url})
    assert "hu" not in str(complaint.value)


def test_settings_show_their_urls_without_secrets() -> None:
    urls = {"upstream": upstream_at("host"), "store": "redis://:hush@host"}
    settings = load_settings(urls)
    app = build_app(settings, drain_on_signals=False)
    shown = [
        repr(settings),
        str(settings),
        f"{settings}",
        repr(settings.upstream),
        repr(settings.store),
        repr(settings.model_dump()),
        repr(vars(settings)),
        repr(settings.model_copy(update={"port": 1})),
        repr(pickle.loads(pickle.dumps(settings))),
        repr(app),
        repr(ProxyApp(upstream_at("host"))),
    ]
    assert "host/v1?api-version=1" in shown[0]
    assert [text for text in shown if "hush" in text] == []
    assert str(settings.upstream) == upstream_at("host")


async def test_an_app_that_hosts_the_proxy_and_logs_everything_logs_no_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)  # of all loggers: httpx and httpcore, too
    received: list[Message] = []
    asked = anyio.Event()

    async def receive() -> Message:
        if asked.is_set():
            await anyio.sleep_forever()
        asked.set()
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        received.append(message)

    async with serving(echo) as up:
        proxy = ProxyApp(upstream_at(up.removeprefix("http://")))
        scope = {"type": "http", "method": "GET", "path": "/v1/models", "headers": []}
        await proxy({**scope, "query_string": b"sig=hush8"}, receive, send)
        await proxy.aclose()
    seen = json.loads(b"".join(message.get("body", b"") for message in received))
    assert seen["query"] == f"{QUERY}&sig=hush8"
    names = {record.name for record in caplog.records}
    assert {"httpx", "httpcore.connection", "httpcore.http11"} <= names
    assert "hush" not in caplog.text
