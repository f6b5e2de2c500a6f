"""One test for each promise that is made over HTTP, for every adapter.

A subclass has one fixture, ``serve`` (see ``Serve``). The tests speak HTTP through an
``httpx.AsyncClient`` and play the upstream, a ``ScriptedUpstream``. ``HttpConformance`` tests what
is answered. ``HttpTimeConformance`` tests when: hours pass in it, in virtual time.
"""

from __future__ import annotations

from response_cache.testing._http_suite.answering import Answering
from response_cache.testing._http_suite.continuing import Continuing
from response_cache.testing._http_suite.creating import Creating, Passing, Refusing
from response_cache.testing._http_suite.ending import Cancelling, Deleting
from response_cache.testing._http_suite.idempotency import Idempotency
from response_cache.testing._http_suite.lifetimes import Enduring, Expiring, Waiting
from response_cache.testing._http_suite.limits import Limits
from response_cache.testing._http_suite.owners import OwnersByCallback, Owning
from response_cache.testing._http_suite.paging import Paging
from response_cache.testing._http_suite.polling import Conditional, LongPolling, Polling
from response_cache.testing._http_suite.preferring import Preferring
from response_cache.testing._http_suite.routes import Routes
from response_cache.testing._http_suite.site import Serve
from response_cache.testing._http_suite.streaming import Breaking, Resuming, Streaming

__all__ = ("HttpConformance", "HttpTimeConformance", "Serve")


class HttpConformance(
    Creating,
    Refusing,
    Answering,
    Passing,
    Continuing,
    Preferring,
    Idempotency,
    Polling,
    Conditional,
    LongPolling,
    Streaming,
    Resuming,
    Breaking,
    Cancelling,
    Deleting,
    Paging,
    Routes,
    Owning,
    OwnersByCallback,
    Limits,
):
    """What is answered. Subclass it with a ``serve`` fixture."""


class HttpTimeConformance(Expiring, Enduring, Waiting):
    """When it is answered, and for how long. The site's time must be virtual."""
