"""What does the sidecar cost under each of several servers of HTTP/1.1?

    polls       of a closed response of 2 KB, with a credential, over 32 connections
    streams     of one background response to 100 readers
    foreground  streams through the proxy, 20 at a time, from an upstream that speaks a word each ms

CPU time of the server, which other work on the machine hardly changes, and for polls the rate, too.
Servers that are not installed are left out: ``pip install granian`` for that one.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from benchmarks.load import requests_a_second
from benchmarks.polling import closed_response
from benchmarks.serving_process import SERVERS
from benchmarks.table import interleaved, show

ROUNDS: Final = 5
SECONDS: Final = 3.0
CONNECTIONS: Final = 32
READERS: Final = 100
STREAMS: Final = 20
WORDS: Final = 200
KEY: Final = {"Authorization": "Bearer sk-0123456789abcdef0123456789abcdef"}


@contextmanager
def served(name: str, *upstream: str) -> Iterator[tuple[int, int]]:
    """The sidecar under the server called *name*: its process id and port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "benchmarks.serving_process", name, str(port), *upstream]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 20
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert time.monotonic() < deadline, f"{name} does not start"
            time.sleep(0.05)
        yield process.pid, port
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.wait(60)


def spent(pid: int) -> float:
    """CPU seconds of a process and its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(spent(int(child)) for child in children)


def polls(pid: int, port: int, path: str) -> tuple[float, float]:
    """Polls a second, and CPU microseconds for each."""
    before, start = spent(pid), time.perf_counter()
    rate = _rate(port, path)
    used = (spent(pid) - before) / (time.perf_counter() - start)
    return rate, used / rate * 1e6


def _rate(port: int, path: str) -> float:
    wrk = shutil.which("wrk")
    if wrk is None:
        return requests_a_second(port, path, connections=CONNECTIONS, seconds=SECONDS, headers=KEY)
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS:.0f}"]
    command += [f"-H{name}: {value}" for name, value in KEY.items()]
    told = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{path}"], check=True, capture_output=True, text=True
    ).stdout
    assert "Non-2xx" not in told, told
    return float(told.split("Requests/sec:")[1].split()[0])


def streams(pid: int, port: int) -> float:
    """CPU microseconds for an event to one of 100 readers, its recording included."""

    async def run() -> int:
        async with _client(port) as client:
            metadata = {"words": str(WORDS), "pace": "0.005"}
            asked = {"model": "m", "input": "x", "background": True, "metadata": metadata}
            created = (await client.post("/v1/responses", json=asked)).json()
            path = f"/v1/responses/{created['id']}?stream=true"
            return sum(
                await asyncio.gather(*(_events(client, "GET", path) for _ in range(READERS)))
            )

    before = spent(pid)
    events = asyncio.run(run())
    return (spent(pid) - before) / events * 1e6


def foreground(pid: int, port: int) -> float:
    """CPU microseconds for an event of a stream that passes through."""

    async def run() -> int:
        async with _client(port) as client:
            metadata = {"words": str(WORDS), "pace": "0.001"}
            asked = {"model": "m", "input": "x", "stream": True, "metadata": metadata}
            each = (_events(client, "POST", "/v1/responses", asked) for _ in range(STREAMS))
            return sum(await asyncio.gather(*each))

    before = spent(pid)
    events = asyncio.run(run())
    return (spent(pid) - before) / events * 1e6


def _client(port: int) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None)
    url = f"http://127.0.0.1:{port}"
    return httpx.AsyncClient(base_url=url, headers=KEY, timeout=60, limits=limits, trust_env=False)


async def _events(client: httpx.AsyncClient, method: str, path: str, json: object = None) -> int:
    async with client.stream(method, path, json=json) as reply:
        assert reply.status_code == 200, await reply.aread()
        return sum([chunk.count(b"event: ") async for chunk in reply.aiter_raw()])


def main() -> None:
    """Print the tables."""
    names = [name for name in SERVERS if name != "granian" or importlib.util.find_spec(name)]
    rates: dict[str, list[float]] = {name: [] for name in names}

    def poll(name: str) -> Callable[[], float]:
        def once() -> float:
            with served(name) as (pid, port):
                path = closed_response(port, headers=KEY)
                rate, used = polls(pid, port, path)
            rates[name].append(rate)
            return used

        return once

    def stream(name: str) -> Callable[[], float]:
        def once() -> float:
            with served(name) as (pid, port):
                return streams(pid, port)

        return once

    def pass_on(name: str) -> Callable[[], float]:
        def once() -> float:
            with (
                served("uvicorn, httptools") as (_, behind),
                served(name, f"http://127.0.0.1:{behind}/v1") as (pid, port),
            ):
                return foreground(pid, port)

        return once

    costs = interleaved({name: poll(name) for name in names}, rounds=ROUNDS)
    show("Polls of a closed response", rates, unit="polls/s")
    show("The same", costs, unit="CPU us of the server for each")
    tables = {
        f"A background response to {READERS} readers": stream,
        f"{STREAMS} foreground streams through the proxy": pass_on,
    }
    for title, measure in tables.items():
        found = interleaved({name: measure(name) for name in names}, rounds=ROUNDS)
        show(title, found, unit="CPU us of the server for each event and reader")


if __name__ == "__main__":
    main()
