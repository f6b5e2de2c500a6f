"""An open cache as an adapter holds it, from the start of a server to the end of its last stream.

An adapter carries requests and replies between a server and a ``ResponsesAPI``. What else a server
needs is here, for asyncio and trio::

    api = ResponsesAPI(ResponseCache(store, options), owner_of)
    async with hosting(api) as hosted:  # in the event loop that serves the requests
        reply = await hosted.api.answer(route, request)
        if isinstance(reply, Stream):
            with hosted.streams.sending():
                async with aclosing(reply.chunks) as chunks:
                    ...  # send each chunk

What it promises:

* The store is open inside of the context, and closed when the context has been left.
* At SIGTERM or SIGINT the cache is drained **before** the server closes its connections. Servers
  wait for open connections before they tell an app to shut down, and the reader of a stream keeps
  its connection open.
* A drain ends. It refuses new background work, gives running responses ``drain_timeout`` seconds
  to end by themselves, and then ends them as ``failed``. Streams are sent to their end; a stream
  that has not ended ``STREAM_END_GRACE`` seconds later is broken off.
* Leaving the context drains. When an exception leaves it, nothing is waited for.
* The log warns of an event loop that was blocked for so long that leases may have run out.
"""

from response_cache._hosting.failures import (
    log_not_open,
    naming_the_cause,
    not_open,
    why_not_open,
)
from response_cache._hosting.hosted import STREAM_END_GRACE, HostedCache, hosting
from response_cache._hosting.signals import on_stop_signal
from response_cache._hosting.streams import Streams
from response_cache._recording.jobs import shutting_down

__all__ = (
    "STREAM_END_GRACE",
    "HostedCache",
    "Streams",
    "hosting",
    "log_not_open",
    "naming_the_cause",
    "not_open",
    "on_stop_signal",
    "shutting_down",
    "why_not_open",
)
