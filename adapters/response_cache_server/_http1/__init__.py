"""HTTP/1.1 as the sidecar speaks it: a protocol class for uvicorn, over the parser of httptools.

    connection   one client: requests in, answers out in their order, time-outs, how it is closed
    reader       bytes into requests, within bounds
    rules        which requests are refused for their heads
    exchange     one request and its answer, as an ASGI app sees them
    framing      an answer into bytes
    refusal      errors that the server itself sends
    deadline     the one timer of a connection
    limits       the numbers

uvicorn listens, stops and holds the state of the server. It makes a ``Connection`` for each client
(its setting ``http``). Its own protocol classes need a proxy before them: they have no time-outs.
The fast one, over httptools, also has no bounds, takes trailers for header fields, and loses the
body of a request that offers an upgrade. By ``benchmarks/serving.py`` a poll costs here what it
costs under the fast one, and two to four times as much under h11 and hypercorn.
"""

from __future__ import annotations

from response_cache_server._http1.connection import Connection
from response_cache_server._http1.limits import Limits

__all__ = ("Connection", "Limits")
