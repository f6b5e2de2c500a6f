"""What does a LiteLLM proxy pay for background responses: its own polling, and ours in its place?

The same configuration, provider and Redis, one proxy after the other in each round; both are asked
for the same answers at the same pace and polled once a second. Run by an interpreter that has
``litellm[proxy]``: ``make bench-litellm``. With a path as argument the figures go there, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Final

import httpx

from benchmarks.load import requests_a_second
from benchmarks.table import show
from tests.litellm.provider import running_provider
from tests.litellm.proxies import BIN, Proxy, configuration, running_proxy
from tests.stores.servers import Server, running_server

ROUNDS: Final = 2
TOGETHER: Final = 3  # responses at a time
PACES: Final = ((500, 5.0), (2000, 10.0), (8000, 20.0))  # deltas, and the seconds they come in
POSTS: Final = 100
POLLING: Final = 3.0  # seconds
AFTERWARDS: Final = 16.0  # seconds for which a process looks after what has ended
WAIT_TIMEOUT: Final = 120.0
KEY: Final = "sk-ann"
DEFAULTS: Final = {"RESPONSE_CACHE_LEASE": "15", "RESPONSE_CACHE_DRAIN_TIMEOUT": "30"}
COMMANDS: Final = {
    "LiteLLM's own": ["litellm"],
    "response_cache": ["response-cache", "litellm"],
}


@dataclass
class Figures:
    """All that was measured of one system; a list has one value for each round."""

    kilobytes: dict[str, list[float]] = field(default_factory=dict)  # to and from Redis, by pace
    cpu: dict[str, list[float]] = field(default_factory=dict)  # us for each delta, by pace
    polls: list[float] = field(default_factory=list)  # a second
    post_p50: list[float] = field(default_factory=list)  # ms
    post_p99: list[float] = field(default_factory=list)
    running: dict[str, list[float]] = field(default_factory=dict)  # for each core, by pace


@dataclass
class Bench:
    """One running proxy, and what it costs."""

    proxy: Proxy
    redis: Server

    def __post_init__(self) -> None:
        headers = {"authorization": f"Bearer {KEY}"}
        self.http = httpx.Client(base_url=self.proxy.url, headers=headers, timeout=WAIT_TIMEOUT)

    def post(self, words: int, pace: float) -> str:
        """Ask for an answer in the background; its id."""
        metadata = {"words": str(words), "pace": f"{pace:.6f}"}
        ask = {"model": "native", "input": "hi", "background": True, "metadata": metadata}
        reply = self.http.post("/v1/responses", json=ask).raise_for_status()
        return str(reply.json()["id"])

    def follow(self, id: str, every: float = 1.0) -> None:
        """Poll until it has completed."""
        deadline = time.monotonic() + WAIT_TIMEOUT
        while (status := self.http.get(f"/v1/responses/{id}").json()["status"]) != "completed":
            assert status in ("queued", "in_progress"), status
            assert time.monotonic() < deadline, "it does not complete"
            time.sleep(every)

    def paced(self, deltas: int, seconds: float) -> tuple[float, float]:
        """Kilobytes for each response, and CPU microseconds for each delta."""
        bytes_before, cpu_before = self._bytes(), self._cpu()
        followers = [
            threading.Thread(target=self.follow, args=(self.post(deltas, seconds / deltas),))
            for _ in range(TOGETHER)
        ]
        for follower in followers:
            follower.start()
        for follower in followers:
            follower.join()
        time.sleep(AFTERWARDS)
        moved, spent = self._bytes() - bytes_before, self._cpu() - cpu_before
        return moved / TOGETHER / 1000, spent / TOGETHER / deltas * 1e6

    def posts(self) -> tuple[float, float]:
        """Milliseconds of a create: the median, and what one in a hundred exceeds."""
        times = []
        for _ in range(POSTS):
            before = time.perf_counter()
            self.post(1, 0)
            times.append((time.perf_counter() - before) * 1000)
        return median(times), quantiles(times, n=100)[98]

    def polls(self) -> float:
        """Replies a second for a closed response of 100 words."""
        id = self.post(100, 0)
        self.follow(id, every=0.05)
        port = int(self.proxy.url.rpartition(":")[2])
        return requests_a_second(
            port,
            f"/v1/responses/{id}",
            connections=8,
            seconds=POLLING,
            headers={"Authorization": f"Bearer {KEY}"},
        )

    def _bytes(self) -> int:
        with self.redis.client() as client:
            stats = client.info("stats")
        assert isinstance(stats, dict)
        return int(stats["total_net_input_bytes"]) + int(stats["total_net_output_bytes"])

    def _cpu(self) -> float:
        """Seconds that the proxy and its threads have had."""
        fields = Path(f"/proc/{self.proxy.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def benches() -> Iterator[dict[str, Bench]]:
    """Both proxies, each with a Redis of its own, behind them one provider."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _, provider = stack.enter_context(running_provider())
        found = {}
        for number, (name, command) in enumerate(COMMANDS.items()):
            redis = stack.enter_context(running_server())
            words = [str(BIN / command[0]), *command[1:], "--config", "config.yaml"]
            config = configuration(provider, redis.port)
            proxy = running_proxy(
                words, directory / str(number), config, redis=redis.port, env=DEFAULTS
            )
            found[name] = Bench(stack.enter_context(proxy), redis)
        for bench in found.values():
            bench.follow(bench.post(1, 0), every=0.05)  # what is done once is done
        time.sleep(AFTERWARDS)
        yield found


def measured(found: dict[str, Bench]) -> dict[str, Figures]:
    """Everything of every proxy, in turn."""
    figures = {name: Figures() for name in found}
    for _ in range(ROUNDS):
        for deltas, seconds in PACES:
            pace = f"{deltas} deltas in {seconds:g} s"
            for name, bench in found.items():
                kilobytes, cpu = bench.paced(deltas, seconds)
                of = figures[name]
                of.kilobytes.setdefault(pace, []).append(kilobytes)
                of.cpu.setdefault(pace, []).append(cpu)
                of.running.setdefault(pace, []).append(1e6 / (cpu * deltas / seconds))
        for name, bench in found.items():
            p50, p99 = bench.posts()
            figures[name].post_p50.append(p50)
            figures[name].post_p99.append(p99)
            figures[name].polls.append(bench.polls())
        time.sleep(AFTERWARDS)
    return figures


def report(figures: dict[str, Figures]) -> None:
    """Print the tables."""

    def table(title: str, unit: str, name: str, pace: str = "") -> None:
        rows = {}
        for system, of in figures.items():
            values = getattr(of, name)
            rows[system] = values[pace] if pace else values
        show(f"{title}{pace and ', '}{pace}", rows, unit=unit)

    for pace in next(iter(figures.values())).cpu:
        table("To and from Redis", "kB a response", "kilobytes", pace)
        table("CPU of the proxy", "us a delta", "cpu", pace)
        table("Running responses", "for each core", "running", pace)
    table("Polls of a closed response", "polls/s", "polls")
    table("POST, median", "ms", "post_p50")
    table("POST, 99 of 100", "ms", "post_p99")


def main() -> None:
    """Print the tables, and keep the figures where they are wanted."""
    with benches() as found:
        figures = measured(found)
    report(figures)
    if len(sys.argv) > 1:
        kept = {name: asdict(of) for name, of in figures.items()}
        Path(sys.argv[1]).parent.mkdir(exist_ok=True)
        Path(sys.argv[1]).write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
