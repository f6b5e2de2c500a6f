"""The sidecar as a process: what its clients see, also those behind an nginx with its defaults."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from tests.adapters.server.http1.driver import Client, Server, chunked, post
from tests.adapters.servers import DEADLINE, eventually, program
from tests.ports import free_port

pytestmark = pytest.mark.slow


@pytest.fixture
def anyio_backend() -> str:
    """Processes are watched on asyncio only."""
    return "asyncio"


NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
CONFIG = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass {url}; }}
    }}
}}
"""


@asynccontextmanager
async def nginx(url: str, folder: Path) -> AsyncIterator[str]:
    """An nginx before *url* with nothing but ``proxy_pass``; gives its own URL."""
    assert NGINX is not None
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, port=port, url=url))
    command = [NGINX, "-c", str(config), "-p", str(folder), "-e", str(folder / "error.log")]
    async with await anyio.open_process(command, stdout=None, stderr=None) as process:
        try:
            await eventually(lambda: _listens(port))
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def told(**metadata: str) -> dict[str, object]:
    return {"input": "x", "stream": True, "metadata": metadata}


ENDLESS = told(words="100000", pace="0.01")
# What the built-in upstream does for an answer that goes dead: it returns without the last piece.
CUT = told(words="10", pace="0", end="cut")


@asynccontextmanager
async def streaming(url: str, body: dict[str, object]) -> AsyncIterator[AsyncIterator[bytes]]:
    """The pieces of a foreground stream."""
    async with (
        httpx.AsyncClient(base_url=url, timeout=DEADLINE, trust_env=False) as client,
        client.stream("POST", "/v1/responses", json=body) as reply,
    ):
        assert reply.status_code == 200
        yield reply.aiter_raw()


async def read_all(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


@pytest.fixture
def needs_nginx() -> None:
    """Skips where there is no nginx, and fails in CI, which installs one."""
    if NGINX is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("nginx is not installed")


NEEDS_NGINX = pytest.mark.usefixtures("needs_nginx")


@NEEDS_NGINX
async def test_behind_nginx_an_answer_that_ends_is_whole(tmp_path: Path) -> None:
    async with (
        program("serve", "--port", "0") as running,
        nginx(await running.listening(), tmp_path) as url,
        streaming(url, told(words="10", pace="0")) as pieces,
    ):
        assert b"response.completed" in await read_all(pieces)


@NEEDS_NGINX
async def test_behind_nginx_an_answer_that_is_cut_is_an_error(tmp_path: Path) -> None:
    async with (
        program("serve", "--port", "0") as running,
        nginx(await running.listening(), tmp_path) as url,
        streaming(url, CUT) as pieces,
    ):
        with pytest.raises(httpx.RemoteProtocolError):
            await read_all(pieces)


@NEEDS_NGINX
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_behind_nginx_an_answer_that_outlives_the_sidecar_is_an_error(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with (
        program("serve", "--port", "0", "--drain-timeout", "0.2") as running,
        nginx(await running.listening(), tmp_path) as url,
        streaming(url, ENDLESS) as pieces,
    ):
        await anext(pieces)
        running.process.send_signal(number)
        with pytest.raises(httpx.RemoteProtocolError):
            await read_all(pieces)
        await running.ended()
    assert "Traceback" not in running.stderr


OLD = (
    b"POST /v1/responses HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
)
ENDLESS_JSON = b'{"input": "x", "stream": true, "metadata": {"words": "100000", "pace": "0.01"}}'


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_an_older_client_whose_answer_outlives_the_sidecar_is_reset(
    number: signal.Signals,
) -> None:
    async with program("serve", "--port", "0", "--drain-timeout", "0.2") as running:
        async with Server(await running.listening()).client() as client:
            await client.send(OLD % (len(ENDLESS_JSON), ENDLESS_JSON))
            await client.until(b"response.created")
            running.process.send_signal(number)
            await client.rest()
        await running.ended()
    assert client.end == "reset"


async def test_a_client_that_does_not_read_is_reset_at_the_end_and_logged_as_no_error() -> None:
    body = json.dumps(told(words="100000", pace="0")).encode()
    create = post(b"Content-Length: %d" % len(body), path=b"/v1/responses", body=body)
    async with (
        # A busy machine needs its time to send more than the buffers of the kernel hold.
        program("serve", "--port", "0", "--drain-timeout", "8") as running,
        Server(await running.listening()).client(buffer=4096) as client,
    ):
        await client.send(create)
        await client.until(b"response.output_text.delta")
        running.process.send_signal(signal.SIGTERM)
        assert await running.ended() == 0
        await client.rest()
    assert client.end == "reset"
    assert "ERROR" not in running.stderr


async def test_the_settings_of_the_server_are_obeyed() -> None:
    env = {
        "RESPONSE_CACHE_MAX_HEAD_BYTES": "2000",
        "RESPONSE_CACHE_MAX_HEAD_FIELDS": "10",
        "RESPONSE_CACHE_HEAD_TIMEOUT": "0.2",
        "RESPONSE_CACHE_BODY_TIMEOUT": "0.2",
        "RESPONSE_CACHE_MAX_CONNECTIONS": "1",
    }
    begin = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    requests = {
        begin + b"A: " + b"b" * 2000: 431,
        begin + b"A: b\r\n" * 11 + b"\r\n": 431,
        begin: 408,
        post(b"Content-Length: 2", path=b"/v1/responses"): 408,
        post(b"Content-Length: 2", path=b"/v1/files"): 408,
    }
    async with program("serve", "--port", "0", env=env) as running:
        server = Server(await running.listening())
        for request, status in requests.items():
            assert await _status(server, request) == status
        async with server.client(), server.client() as second:
            assert (await second.reply()).status == 503


async def _status(server: Server, request: bytes) -> int:
    """The answer to *request* once there is a connection for it."""
    with anyio.fail_after(DEADLINE):
        while True:
            async with server.client() as client:
                status = await _answered(client, request)
            if status != 503:
                return status


async def _answered(client: Client, request: bytes) -> int:
    await client.send(request)
    reply = await client.reply()
    assert reply.error["message"]
    await client.rest()
    return reply.status


async def test_each_request_is_logged_in_debug_alone() -> None:
    for level, count in {"debug": 1, "info": 0}.items():
        async with program("serve", "--port", "0", "--log-level", level) as running:
            server = Server(await running.listening())
            await server.ask(b"GET /v1/mo%64els?limit=5 HTTP/1.1\r\nHost: x\r\n\r\n")
            running.process.send_signal(signal.SIGTERM)
            await running.ended()
        lines = (running.stdout + running.stderr).splitlines()
        assert len([line for line in lines if "/v1/models?limit=5 HTTP/1.1" in line]) == count


async def test_a_trailer_is_no_credential() -> None:
    body = b'{"model": "m", "input": "x", "background": true}'
    trailer = b"0\r\nauthorization: Bearer FROM-TRAILER\r\n\r\n"
    create = post(
        b"Authorization: Bearer ALICE",
        b"Transfer-Encoding: chunked",
        path=b"/v1/responses",
        body=chunked(body, end=trailer),
    )
    read = b"GET /v1/responses/%b HTTP/1.1\r\nHost: x\r\n"
    async with program("serve", "--port", "0") as running:
        server = Server(await running.listening())
        id = (await server.ask(create)).json["id"].encode()
        own = await server.ask(read % id + b"Authorization: Bearer ALICE\r\n\r\n")
        others = await server.ask(
            read % id
            + b"Transfer-Encoding: chunked\r\n\r\n0\r\nauthorization: Bearer ALICE\r\n\r\n"
        )
    assert (own.status, others.status) == (200, 404)
