"""Processes over one store, before one upstream that the test plays.

Some are ``response-cache serve`` as processes of their own, which can be killed, stopped and
frozen. One more, *here*, lives in the process of the test: to the others it is as foreign as they
are to each other.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import anyio
import anyio.lowlevel
import httpx

from response_cache.errors import StoreUnavailable
from response_cache.testing import ScriptedUpstream
from response_cache.testing._http_suite.site import Site
from response_cache_asgi import ResponseCacheMiddleware
from response_cache_server._proxy.app import ProxyApp
from tests import deadlines
from tests.adapters.servers import Program, program, serving
from tests.faults.lengths import SCALED
from tests.processes.logs import opened

WAIT_TIMEOUT: Final = deadlines.WAIT_TIMEOUT
"""Seconds after which a test that waits for something has failed."""

CREDENTIALS: Final = {"authorization": "Bearer sk-alice"}
QUICK: Final = {**SCALED.options, "orphan_confirmation": 0.5}  # enough where the store never fails
AT_ONCE: Final = {"admission_wait": 0}  # a create does not wait for a refusal that no test here has


@dataclass(frozen=True)
class Replica:
    """A sidecar: its process, and a client of it."""

    program: Program
    site: Site

    async def kill(self) -> None:
        """End it as a crash does."""
        self.program.process.kill()
        await self.program.process.wait()

    def tell_to_stop(self) -> None:
        """What a supervisor does."""
        self.program.process.send_signal(signal.SIGTERM)

    async def freeze(self, store: str) -> None:
        """Let it do nothing more; but not while it holds a lock of the *store*."""
        self.program.process.send_signal(signal.SIGSTOP)
        while not await _takes_writes(store):
            self.thaw()
            await anyio.lowlevel.checkpoint()
            self.program.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.program.process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def replicas(
    count: int, store: str, **options: float
) -> AsyncIterator[tuple[Site, list[Replica]]]:
    """Here, and *count* other processes with the same *options*, all before one upstream."""
    upstream = ScriptedUpstream()
    async with (
        serving(upstream) as url,
        started(count, store, upstream, url, **options) as others,
        here(store, upstream, url, **options) as site,
    ):
        yield site, others


@asynccontextmanager
async def here(
    store: str, upstream: ScriptedUpstream, url: str, **options: float
) -> AsyncIterator[Site]:
    """A client of this process, before the *upstream* at *url*."""
    given: dict[str, Any] = {**AT_ONCE, "drain_timeout": 0, **options}
    app = ResponseCacheMiddleware(ProxyApp(f"{url}/v1"), store=store, **given)
    async with serving(app, lifespan="on") as own_url, client_of(own_url) as client:
        yield Site(client, upstream)


@asynccontextmanager
async def started(
    count: int, store: str, upstream: ScriptedUpstream, url: str, **options: float
) -> AsyncIterator[list[Replica]]:
    """*count* sidecars before the *upstream* at *url*, started side by side; killed at the end."""
    flags = ("serve", "--port", "0", "--store", store, "--upstream", f"{url}/v1")
    env = _variables({**AT_ONCE, **options})
    async with AsyncExitStack() as stack:
        programs = [await stack.enter_async_context(program(*flags, env=env)) for _ in range(count)]
        urls = [await each.listening() for each in programs]
        clients = [await stack.enter_async_context(client_of(each)) for each in urls]
        sites = [Site(client, upstream) for client in clients]
        yield [Replica(program, site) for program, site in zip(programs, sites, strict=True)]


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the sidecar at *url*, always with the same credential."""
    async with httpx.AsyncClient(
        base_url=f"{url}/v1", headers=CREDENTIALS, timeout=WAIT_TIMEOUT, trust_env=False
    ) as client:
        yield client


def _variables(options: Mapping[str, float]) -> dict[str, str]:
    return {f"RESPONSE_CACHE_{name.upper()}": str(value) for name, value in options.items()}


async def _takes_writes(url: str) -> bool:
    async with opened(url) as store:
        try:
            await store.delete("resp_that_is_not_there")
        except StoreUnavailable:
            return False
    return True
