"""The clients that a store makes for itself from a URL:

    redis://[user:password@]host[:port][/db]                      one server
    redis+sentinel://[user:password@]host[:port],…/service[/db]   the primary that Sentinel names
    redis+cluster://[user:password@]host[:port],…                 a cluster

``rediss`` instead of ``redis`` is the same over TLS, to Sentinels as well. User and password are
sent to the servers, and to no Sentinel. No error message repeats a part of the URL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, unquote

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster, Sentinel, SSLConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo

from response_cache._version import __version__
from response_cache.stores.redis._cluster import Cluster
from response_cache.stores.redis._topology import (
    MAX_CONNECTIONS,
    SOCKET_TIMEOUT,
    Servers,
    SingleServer,
)

__all__ = ("servers_at",)

SENTINEL_PORT: Final = 26379
PORT: Final = 6379


def servers_at(
    url: SplitResult,
    *,
    socket_timeout: float = SOCKET_TIMEOUT,
    max_connections: int = MAX_CONNECTIONS,
    **tls: str,
) -> Servers:
    """The servers at *url*, not connected yet. Their ``aclose`` closes the clients.

    The query of *url* is not read: its options are the keyword arguments, in seconds.

    Raises:
        ValueError: the URL has none of the forms above.
    """
    if url.fragment:
        raise ValueError(f"a {url.scheme}:// URL has no fragment")
    is_encrypted = url.scheme.startswith("rediss")
    if tls and not is_encrypted:
        raise ValueError(f"{', '.join(sorted(tls))}: only with rediss")
    address = _Address.of(url)
    options = _client_options(address, socket_timeout, max_connections, tls)
    if url.scheme.endswith("+cluster"):
        return _cluster(address, options, is_encrypted)
    if url.scheme.endswith("+sentinel"):
        return _sentinel(address, options, is_encrypted, tls)
    return _single(address, options, is_encrypted)


@dataclass(frozen=True, slots=True)
class _Address:
    """What a URL says about the servers: where they are, and the credentials for them."""

    hosts: tuple[tuple[str, int], ...]
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)
    path: tuple[str, ...]

    @classmethod
    def of(cls, url: SplitResult) -> _Address:
        credentials, _, hosts = url.netloc.rpartition("@")
        username, _, password = credentials.partition(":")
        port = SENTINEL_PORT if url.scheme.endswith("sentinel") else PORT
        return cls(
            tuple(_host(host, port) for host in hosts.split(",")),
            unquote(username) or None,
            unquote(password) or None,
            tuple(unquote(part) for part in url.path.split("/")[1:] if part),
        )


def _host(text: str, port: int) -> tuple[str, int]:
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]*))(?::([0-9]{1,5}))?", text)
    if found is None:
        raise ValueError("a host of the store URL must be a name or address and perhaps a port")
    return found[1] or found[2] or "localhost", int(found[3] or port)


def _db(path: tuple[str, ...]) -> int:
    if len(path) > 1 or not re.fullmatch("[0-9]{1,5}", "".join(path) or "0"):
        raise ValueError("the path of the store URL must end with the number of a database, if any")
    return int("".join(path) or "0")


def _client_options(
    address: _Address, socket_timeout: float, max_connections: int, tls: dict[str, str]
) -> dict[str, Any]:
    """The options of every client. Connecting has a time-out, and nothing is repeated."""
    return {
        "username": address.username,
        "password": address.password,
        "socket_connect_timeout": socket_timeout,
        "max_connections": max_connections,
        "protocol": 2,
        # Shown by CLIENT LIST. By default redis-py looks up its version for each connection.
        "driver_info": DriverInfo().add_upstream_driver("response-cache", __version__),
        **tls,
    }


def _single(address: _Address, options: dict[str, Any], is_encrypted: bool) -> Servers:
    if len(address.hosts) > 1:
        raise ValueError("one host; several need redis+cluster:// or redis+sentinel://")
    ((host, port),) = address.hosts
    client = Redis.from_pool(
        BlockingConnectionPool(
            connection_class=SSLConnection if is_encrypted else Connection,
            host=host,
            port=port,
            db=_db(address.path),
            timeout=options["socket_connect_timeout"],
            socket_timeout=None,  # AutoPipeline has one time-out for a whole call
            retry=Retry(NoBackoff(), 0),
            **options,
        )
    )
    return SingleServer(client, owned=[client])


def _sentinel(
    address: _Address, options: dict[str, Any], is_encrypted: bool, tls: dict[str, str]
) -> Servers:
    if not address.path:
        raise ValueError("the path of a redis+sentinel:// URL must begin with the service's name")
    timeout = options["socket_connect_timeout"] / len(address.hosts)  # time to ask each of them
    sentinel = Sentinel(  # type: ignore[no-untyped-call]  # redis-py's
        address.hosts,
        sentinel_kwargs={
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "protocol": 2,
            "retry": Retry(NoBackoff(), 0),
            "ssl": is_encrypted,  # a Sentinel names the server that gets the password
            **tls,
        },
    )
    client = sentinel.master_for(
        address.path[0],
        db=_db(address.path[1:]),
        ssl=is_encrypted,
        socket_timeout=None,
        retry=Retry(NoBackoff(), 0),
        **options,
    )
    return SingleServer(client, owned=[client, *sentinel.sentinels])


def _cluster(address: _Address, options: dict[str, Any], is_encrypted: bool) -> Servers:
    if address.path:
        raise ValueError("a redis+cluster:// URL has no path: a cluster has one database")
    client = RedisCluster(
        startup_nodes=[ClusterNode(host, port) for host, port in address.hosts],
        require_full_coverage=False,
        socket_timeout=options["socket_connect_timeout"],  # also when a node is asked for the nodes
        retry=Retry(NoBackoff(), 0),
        ssl=is_encrypted,
        **options,
    )
    return Cluster(client, is_owned=True)
