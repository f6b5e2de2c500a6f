"""HTTP/1.1 as the sidecar speaks it: a protocol class for uvicorn, over the parser of httptools.

    connection   one client: requests in, answers out in their order, time-outs, how it is closed
    reader       bytes into requests, within bounds
    rules        what makes a request one that is refused
    exchange     one request and its answer, as an ASGI app sees them
    framing      an answer into bytes
    refusal      what the server itself answers
    deadline     the one timer of a connection
    limits       the numbers

uvicorn listens, stops and holds the state of the server; ``Connection`` is what it makes for each
client (its setting ``http``). uvicorn's own classes do not fit behind no proxy: they have no bounds
and no time-outs, take trailers for header fields and lose the body of a request that offers an
upgrade.
"""

from __future__ import annotations

from response_cache_server.http1.connection import Connection
from response_cache_server.http1.limits import Limits

__all__ = ("Connection", "Limits")
