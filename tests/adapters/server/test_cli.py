"""The command line, as a process."""

from __future__ import annotations

import errno
import importlib.metadata
import os
import signal
import socket

import anyio
import httpx
import pytest

from response_cache_server._server import listen
from tests.adapters.servers import DEADLINE, Program, program, run_program
from tests.deadlines import allowed

pytestmark = pytest.mark.slow


@pytest.fixture
def anyio_backend() -> str:
    """Processes are watched on asyncio only."""
    return "asyncio"


def complaint_of(ended: Program) -> str:
    """The one line that the program ended with."""
    assert ended.stdout == ""
    assert ended.stderr.startswith("response-cache: ")
    assert ended.stderr.count("\n") == 1
    return ended.stderr.removeprefix("response-cache: ").rstrip()


async def test_the_version_is_that_of_the_distribution() -> None:
    code, ended = await run_program("--version")
    version = importlib.metadata.version("response-cache")
    assert (code, ended.stdout) == (0, f"response-cache {version}\n")


@pytest.mark.parametrize(
    ("flags", "env", "complaint"),
    [
        (["--upstream", "api.example.com"], {}, "--upstream: the base URL must look like"),
        (["--port", "eighty"], {}, "--port: Input should be a valid integer"),
        (["--store", "floppy://a"], {}, "unknown scheme of a store URL"),
        ([], {"RESPONSE_CACHE_TTL": "-1"}, "RESPONSE_CACHE_TTL: Input should be greater than 0"),
        ([], {"RESPONSE_CACHE_TTTL": "5"}, "RESPONSE_CACHE_TTTL: unknown variable (did you mean"),
    ],
)
async def test_a_bad_setting_is_one_line_and_exit_code_2(
    flags: list[str], env: dict[str, str], complaint: str
) -> None:
    code, ended = await run_program("serve", *flags, env=env)
    assert code == 2
    assert complaint_of(ended).startswith(complaint)


async def test_a_port_in_use_is_one_line_and_exit_code_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, ended = await run_program("serve", "--port", port)
    assert code == 1
    reason = os.strerror(errno.EADDRINUSE)
    assert complaint_of(ended) == f"cannot listen on 127.0.0.1:{port}: {reason}"


def test_small_answers_are_not_held_back_until_others_are_acknowledged() -> None:
    with (
        listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as connection,
    ):
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_serve_says_where_it_listens_and_what_to_try() -> None:
    async with program("serve", "--port", "0", "--store", "memory://?max_responses=5") as running:
        url = await running.listening()
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            assert (await client.get("/healthz")).json() == {"status": "ok"}
            body = running.stdout.split("-d '")[1].removesuffix("'\n")
            created = await client.post("/v1/responses", content=body)
    assert f"Try: curl {url}/v1/responses" in running.stdout
    assert created.json()["status"] == "queued"


async def test_the_announcement_repeats_no_credentials() -> None:
    upstream = "http://user:hush@127.0.0.1:9/v1"
    async with program("serve", "--port", "0", "--upstream", upstream) as running:
        await running.listening()
    assert "http://127.0.0.1:9/v1" in running.stdout
    assert "hush" not in running.stdout + running.stderr


async def start_endless(client: httpx.AsyncClient) -> str:
    """A background response that does not end by itself; gives its path."""
    metadata = {"words": "100000", "pace": "0.01"}
    body = {"input": "x", "background": True, "metadata": metadata}
    created = await client.post("/v1/responses", json=body)
    return f"/v1/responses/{created.json()['id']}"


async def test_sigterm_ends_the_process_in_time_although_a_reader_is_attached() -> None:
    async with program("serve", "--port", "0", "--drain-timeout", "0.5") as running:
        url = await running.listening()
        async with httpx.AsyncClient(base_url=url, timeout=DEADLINE, trust_env=False) as client:
            path = await start_endless(client)
            async with client.stream("GET", path, params={"stream": "true"}) as reply:
                lines = reply.aiter_lines()
                assert (await anext(lines)).startswith("event: response.created")
                running.process.send_signal(signal.SIGTERM)
                told = anyio.current_time()
                rest = [line async for line in lines]  # ends, and not by an error
        assert await running.ended() == 0
        assert anyio.current_time() - told < 0.5 + allowed(1)
    assert rest
    assert "Traceback" not in running.stderr


async def test_sigterm_cuts_a_foreground_stream_that_outlasts_the_drain() -> None:
    async with program("serve", "--port", "0", "--drain-timeout", "0.2") as running:
        url = await running.listening()
        request = {"input": "x", "stream": True, "metadata": {"words": "100000"}}
        async with (
            httpx.AsyncClient(base_url=url, timeout=DEADLINE, trust_env=False) as client,
            client.stream("POST", "/v1/responses", json=request) as reply,
        ):
            chunks = reply.aiter_raw()
            await anext(chunks)
            running.process.send_signal(signal.SIGTERM)
            told = anyio.current_time()
            with pytest.raises(httpx.RemoteProtocolError):
                async for _ in chunks:
                    pass
        assert await running.ended() == 0
        assert anyio.current_time() - told < 0.2 + allowed(1)
    assert "Traceback" not in running.stderr


async def test_work_that_ends_within_the_drain_is_read_to_its_end() -> None:
    async with program("serve", "--port", "0", "--drain-timeout", "30") as running:
        url = await running.listening()
        body = {"input": "x", "background": True, "stream": True}
        body["metadata"] = {"words": "20", "pace": "0.05"}
        async with (
            httpx.AsyncClient(base_url=url, timeout=DEADLINE, trust_env=False) as client,
            client.stream("POST", "/v1/responses", json=body) as reply,
        ):
            lines = reply.aiter_lines()
            await anext(lines)
            running.process.send_signal(signal.SIGTERM)
            rest = [line async for line in lines]
        assert await running.ended() == 0
    assert "event: response.completed" in rest


async def test_a_second_signal_ends_the_process_at_once() -> None:
    async with program("serve", "--port", "0", "--drain-timeout", "600") as running:
        url = await running.listening()
        async with httpx.AsyncClient(base_url=url, timeout=DEADLINE, trust_env=False) as client:
            await start_endless(client)
            running.process.send_signal(signal.SIGTERM)
            with anyio.fail_after(DEADLINE):
                while (await client.get("/healthz")).status_code != 503:
                    await anyio.lowlevel.checkpoint()
            running.process.send_signal(signal.SIGTERM)
            second = anyio.current_time()
            assert await running.ended() == -signal.SIGTERM
            assert anyio.current_time() - second < allowed(1)


async def test_a_demonstration_that_cannot_start_says_so_and_fails() -> None:
    code, ended = await run_program("demo", "--store", "floppy://a")
    assert code == 1
    assert "unknown scheme of a store URL" in ended.stderr
    assert ended.stderr.endswith("response-cache: the server did not start\n")
