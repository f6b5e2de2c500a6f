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
client (its setting ``http``). Its own classes do not fit where no proxy stands before them: they
have no time-outs, and the fast one has no bounds, takes trailers for header fields and loses the
body of a request that offers an upgrade. By ``benchmarks/serving.py`` a poll costs here what it
costs under the fast one, and two to four times that under h11 and hypercorn.
"""

from __future__ import annotations

from response_cache_server.http1.connection import Connection
from response_cache_server.http1.limits import Limits

__all__ = ("Connection", "Limits")
