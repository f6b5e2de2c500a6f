"""Connections of a store's own, to a real server and to one that misbehaves."""

from __future__ import annotations

import asyncio
import inspect
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import hiredis
import pytest
import redis.asyncio.connection
import trustme
from redis import exceptions
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis, RedisCluster
from redis.asyncio.connection import Connection as Driver

from response_cache.errors import StoreUnavailable
from response_cache.store import Append, NewRecord
from response_cache.stores import store_from_url
from response_cache.stores.redis._callbacks import replies_to
from response_cache.stores.redis._cluster import Cluster
from response_cache.stores.redis._connection import Connection, Connections, TakeoverUnsupported
from response_cache.stores.redis._scripts import Command
from response_cache.stores.redis._store import RedisStore
from response_cache.stores.redis._topology import SingleServer
from tests import deadlines
from tests.stores.servers import Server, running_server

pytestmark = pytest.mark.slow

WAIT_TIMEOUT = deadlines.WAIT_TIMEOUT


@pytest.fixture
def anyio_backend() -> str:
    """The driver is for asyncio."""
    return "asyncio"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


async def no_pool(commands: Sequence[Command]) -> list[Any]:
    raise AssertionError(f"{len(commands)} commands were sent through the pool")


straight = partial(Connections, through_pool=no_pool)


@pytest.fixture
async def connections(server: Server) -> AsyncIterator[Connections]:
    connections = straight(lambda: Driver(port=server.port))
    yield connections
    await connections.aclose()


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve, certificates: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server that does *serve* on each connection; none is left open."""
    serving: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await serve(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the other side has gone, or the test is over
        finally:
            writer.transport.abort()

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=certificates)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await asyncio.sleep(0)


@asynccontextmanager
async def connection_to(*replies: bytes, hangs_up: bool = False) -> AsyncIterator[Connection]:
    """A connection to a server that gives these replies, whatever it is asked, and then waits."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in replies:
            await reader.read(1 << 16)
            writer.write(reply)
            await writer.drain()
        if not hangs_up:
            await reader.read(1 << 16)

    async with listening(serve) as port:
        connection = await Connection.taken_from(Driver(port=port, protocol=2, driver_info=None))
        yield connection
        connection.close()
        await asyncio.sleep(0)


async def eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_TIMEOUT):
        while not condition():  # noqa: ASYNC110 - of a server, which has no event to wait for
            await asyncio.sleep(0.005)


async def test_replies_come_in_the_order_of_the_commands(connections: Connections) -> None:
    await replies_to(connections.send, [("SET", "a", b"\x00\xff"), ("INCR", "n")])
    replies = await replies_to(
        connections.send, [("GET", "a"), ("INCR", "n"), ("PING",), ("GET", "none")]
    )
    assert replies == [b"\x00\xff", 2, b"PONG", None]


async def test_an_error_stands_in_the_place_of_its_reply(connections: Connections) -> None:
    first, wrong, last = await replies_to(
        connections.send, [("SET", "a", "x"), ("INCR", "a"), ("GET", "a")]
    )
    assert (first, last) == (b"OK", b"x")
    assert isinstance(wrong, exceptions.ResponseError)
    (unknown,) = await replies_to(connections.send, [("EVALSHA", "0" * 40, 0)])
    assert isinstance(unknown, exceptions.NoScriptError)


async def test_a_reply_of_many_reads_is_put_together(connections: Connections) -> None:
    large = b"x" * 3_000_000
    assert await replies_to(connections.send, [("SET", "large", large), ("GET", "large")]) == [
        b"OK",
        large,
    ]


async def test_exchanges_side_by_side_have_a_connection_each_and_later_ones_share_them(
    server: Server, connections: Connections
) -> None:
    with server.client() as client:
        before = len(client.client_list())
        await asyncio.gather(*(replies_to(connections.send, [("PING",)]) for _ in range(4)))
        for _ in range(10):
            await asyncio.gather(*(replies_to(connections.send, [("PING",)]) for _ in range(3)))
        assert len(client.client_list()) == before + 4
        await connections.aclose()
        await eventually(lambda: len(client.client_list()) == before)


async def test_an_exchange_that_is_given_up_closes_its_connection_and_nobody_gets_its_replies(
    server: Server, connections: Connections
) -> None:
    await replies_to(connections.send, [("SET", "mine", "mine"), ("SET", "yours", "yours")])
    told: list[object] = []
    for _ in range(50):
        cancel = connections.send([("GET", "mine")] * 10, told.append)
        await asyncio.sleep(0)
        cancel()
        assert await replies_to(connections.send, [("GET", "yours")]) == [b"yours"]
        cancel()
    assert told == []
    with server.client() as client:
        await eventually(lambda: len(client.client_list()) <= 1 + 2)


async def test_a_connection_that_the_server_closed_is_not_used_again(
    server: Server, connections: Connections
) -> None:
    await replies_to(connections.send, [("PING",)])
    with server.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)
    await eventually(lambda: not connections.open)
    assert await replies_to(connections.send, [("PING",)]) == [b"PONG"]
    assert connections.open == 1


async def test_a_connection_that_is_lost_in_a_reply_is_an_error() -> None:
    async with connection_to(b"$100\r\nonly a part", hangs_up=True) as connection:
        with pytest.raises(exceptions.ConnectionError, match="lost"):
            await replies_to(connection.exchange, [("GET", "a")])
        assert not connection.is_open


async def test_what_is_no_reply_closes_the_connection() -> None:
    async with connection_to(b"HTTP/1.1 400 Bad Request\r\n\r\n") as connection:
        with pytest.raises(exceptions.InvalidResponse):
            await replies_to(connection.exchange, [("GET", "a")])
        assert not connection.is_open


async def test_what_comes_unasked_closes_the_connection() -> None:
    async with connection_to(b"+OK\r\n+and more\r\n") as connection:
        assert await replies_to(connection.exchange, [("SET", "a", "b")]) == [b"OK"]
        await eventually(lambda: not connection.is_open)


class Talkative:
    """A server that answers the key that is asked for, and says more than that."""

    def __init__(self) -> None:
        self.connections = 0
        self.surplus = b""  # with the next answer
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        parser = hiredis.Reader()
        while data := await reader.read(1 << 16):
            parser.feed(data)
            while (command := parser.gets()) is not False:
                if command[0] == b"HELLO":
                    writer.write(b"%1\r\n$5\r\nproto\r\n:3\r\n")
                    continue
                writer.write(self.answer(command))

    def answer(self, command: list[bytes]) -> bytes:
        surplus, self.surplus = self.surplus, b""
        return b"$%d\r\n%b\r\n%b" % (len(command[-1]), command[-1], surplus)

    def say(self, words: bytes) -> None:
        """Say *words* unasked, on every connection; they have arrived when this returns."""
        for writer in self.writers:
            writer.write(words)  # at once to the socket, which is of this machine


SURPLUS = [b"+stranger\r\n", b"$8\r\nstranger\r\n", b"*1\r\n+stranger\r\n", b":1\r\n", b"$8\r\nstr"]


@pytest.mark.parametrize("surplus", SURPLUS)
@pytest.mark.parametrize("late", ["at once", "seen by the loop", "not seen by the loop"])
async def test_what_comes_unasked_answers_no_other_command(late: str, surplus: bytes) -> None:
    talkative = Talkative()
    async with listening(talkative.serve) as port:
        connections = straight(lambda: Driver(port=port, protocol=2, driver_info=None))
        talkative.surplus = surplus if late == "at once" else b""
        assert await replies_to(connections.send, [("GET", "first")]) == [b"first"]
        if late != "at once":
            talkative.say(surplus)
        if late == "seen by the loop":
            await eventually(lambda: not connections.open)
        assert await replies_to(connections.send, [("GET", "a"), ("GET", "b")]) == [b"a", b"b"]
        assert await replies_to(connections.send, [("GET", "c")]) == [b"c"]
        assert talkative.connections == 2
        await connections.aclose()
        await asyncio.sleep(0)


@pytest.mark.parametrize("surplus", SURPLUS)
@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("late", ["at once", "later"])
async def test_nor_does_it_on_a_client_that_was_handed_in(
    late: str, protocol: int, surplus: bytes
) -> None:
    talkative = Talkative()
    async with listening(talkative.serve) as port:
        pool = ConnectionPool(port=port, protocol=protocol, driver_info=None)
        servers = SingleServer(Redis(connection_pool=pool))
        talkative.surplus = surplus if late == "at once" else b""
        assert await replies_to(servers.send, [("GET", "first")]) == [b"first"]
        if late == "later":
            talkative.say(surplus)
        assert await replies_to(servers.send, [("GET", "a"), ("GET", "b")]) == [b"a", b"b"]
        assert await replies_to(servers.send, [("GET", "c")]) == [b"c"]
        assert talkative.connections == 2
        await servers.aclose()
        await pool.disconnect()


class TalkativeNode(Talkative):
    """The same as the only node of a cluster, of whatever name it is asked by."""

    def __init__(self) -> None:
        super().__init__()
        self.port = 0

    def answer(self, command: list[bytes]) -> bytes:
        match command:
            case [b"CLUSTER", b"SLOTS"]:
                return b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % self.port
            case [b"INFO", *_]:
                return b"$17\r\ncluster_enabled:1\r\n"
            case [b"COMMAND"]:
                return b"*0\r\n"
            case [b"EVALSHA", _, _, key, *_]:
                return super().answer([key])
            case _:
                return super().answer(command)


@pytest.mark.parametrize("surplus", SURPLUS)
@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("late", ["at once", "later"])
async def test_nor_does_it_in_a_cluster(late: str, protocol: int, surplus: bytes) -> None:
    talkative = TalkativeNode()
    async with listening(talkative.serve) as port:
        talkative.port = port
        client = RedisCluster("127.0.0.1", port, protocol=protocol, driver_info=None)
        servers = Cluster(client, is_owned=True)
        await client.initialize()

        def get(key: str) -> Command:
            return ("EVALSHA", "0" * 40, 1, key)

        talkative.surplus = surplus if late == "at once" else b""
        assert await replies_to(servers.send, [get("first")]) == [b"first"]
        before = talkative.connections
        if late == "later":
            talkative.say(surplus)
        assert await replies_to(servers.send, [get("a"), get("b")]) == [b"a", b"b"]
        assert await replies_to(servers.send, [get("c")]) == [b"c"]
        assert talkative.connections == before + 1
        await servers.aclose()


async def test_a_server_that_is_no_primary_any_more_is_left() -> None:
    async with connection_to(
        b"-READONLY You can't write against a read only replica.\r\n"
    ) as connection:
        (reply,) = await replies_to(connection.exchange, [("SET", "a", "b")])
        assert isinstance(reply, exceptions.ReadOnlyError)
        await asyncio.sleep(0)
        assert not connection.is_open


async def test_a_closed_connection_says_so() -> None:
    async with connection_to() as connection:
        connection.close()
        connection.close()
        with pytest.raises(exceptions.ConnectionError):
            await replies_to(connection.exchange, [("GET", "a")])


async def test_a_server_that_is_not_there_is_an_error(server: Server) -> None:
    connections = straight(lambda: Driver(port=1, socket_connect_timeout=1))
    with pytest.raises(exceptions.ConnectionError):
        await replies_to(connections.send, [("PING",)])
    await connections.aclose()


async def test_redis_py_keeps_a_connection_where_it_is_taken_from(server: Server) -> None:
    """The one place where private attributes of redis-py are used."""
    driver = Driver(port=server.port)
    await driver.connect()  # type: ignore[no-untyped-call]  # redis-py's
    assert isinstance(driver._writer, asyncio.StreamWriter)
    assert driver.is_connected
    await driver.disconnect()
    assert driver._writer is None
    connection = await Connection.taken_from(driver)
    assert not driver.is_connected
    assert await replies_to(connection.exchange, [("PING",)]) == [b"PONG"]
    connection.close()


def moved(name: str, value: Any = None) -> type[Driver]:
    """A connection of redis-py that keeps its stream under another *name*, as a later one may.

    All of redis-py's own code works with it: it is compiled anew with that name. With *value* there
    still is something under the old name.
    """
    original = redis.asyncio.connection
    module = ModuleType(original.__name__)
    module.__package__ = original.__package__
    source = inspect.getsource(original).replace("_writer", name)
    exec(compile(source, module.__name__, "exec"), module.__dict__)
    later: type[Driver] = module.Connection
    if value is None:
        return later
    return type("Connection", (later,), {"_writer": value})


@pytest.mark.parametrize("value", [None, "no stream at all"])
async def test_where_its_attributes_have_moved_the_pool_is_used_and_said_once(
    server: Server, caplog: pytest.LogCaptureFixture, value: Any
) -> None:
    pool = BlockingConnectionPool(
        connection_class=moved("_stream_out", value), port=server.port, max_connections=4
    )
    client = Redis.from_pool(pool)
    store = RedisStore(SingleServer(client, owned=[client]), key_prefix=f"{uuid4().hex}:")
    with server.client() as looker, caplog.at_level("WARNING", "response_cache"):
        before = len(looker.client_list())
        await store.open()
        found = await asyncio.gather(*(store.read(f"r{n}") for n in range(300)))
        assert found == [None] * 300
        assert len(looker.client_list()) <= before + 4
        await store.aclose()
        await eventually(lambda: len(looker.client_list()) == before)
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"the connections of redis-py {redis.__version__} cannot be taken over")


async def test_a_connection_that_cannot_be_taken_is_closed(server: Server) -> None:
    driver = moved("_stream_out")(port=server.port)
    with pytest.raises(TakeoverUnsupported):
        await Connection.taken_from(driver)
    assert not driver.is_connected


def door_to(target: int) -> Serve:
    """Passes everything on to the port *target*."""

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
        raise ConnectionResetError("closed")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", target)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(pump(reader, inner_writer))
                pumps.create_task(pump(inner_reader, writer))
        except* OSError:
            pass  # one side has closed it, as both may
        finally:
            inner_writer.close()

    return serve


async def test_a_store_over_tls_works_and_trusts_only_whom_it_should(
    server: Server, tmp_path: Path
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    for name, trusted in (("ours", authority), ("another", trustme.CA())):
        trusted.cert_pem.write_to_path(str(tmp_path / name))
    async with listening(door_to(server.port), context) as port:
        url = f"rediss://localhost:{port}?key_prefix=tls:&ssl_ca_certs="
        store = store_from_url(f"{url}{tmp_path / 'ours'}")
        assert isinstance(store, RedisStore)
        await store.open()
        new = NewRecord(
            id="r",
            incarnation="first",
            header=b"h",
            request=b"x" * 500_000,
            snapshot=b"{}",
            events=[b"0"],
            status="queued",
            ttl=100.0,
        )
        claim = await store.create(new, 15.0)
        waiting = asyncio.create_task(store.wait("r", after=0, epoch=1, incarnation="first"))
        await store.append(claim, Append(events=[b"1"], token="b", ttl=100.0), 15.0)
        await waiting
        assert await store.request("r") == b"x" * 500_000
        await store.aclose()
        stranger = store_from_url(f"{url}{tmp_path / 'another'}")
        with pytest.raises(StoreUnavailable):
            await stranger.open()
        await stranger.aclose()
