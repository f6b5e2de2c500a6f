"""Calls of scripts, each on the keys of one response, over the node that has them."""

from __future__ import annotations

import asyncio
from typing import Any

from response_cache.stores.redis._errors import DRIVER_ERRORS, Attempt, safe_cause, translated
from response_cache.stores.redis._keys import keys_of
from response_cache.stores.redis._pipelining import AutoPipeline
from response_cache.stores.redis._scripts import Argument, Script
from response_cache.stores.redis._topology import Servers

__all__ = ("Calls",)


class Calls:
    """Calls scripts; calls to one node at the same time travel together."""

    def __init__(self, servers: Servers, prefix: str, *, pipelines: int, timeout: float) -> None:
        """At most *pipelines* are on their way to a node at a time; a call has *timeout* seconds.

        *prefix* is that of all keys.
        """
        self._servers = servers
        self._prefix = prefix
        self._pipelines = pipelines
        self._timeout = timeout
        self._by_node: dict[str, AutoPipeline] = {}

    def call(
        self, script: Script, id: str, attempt: Attempt, *arguments: Argument
    ) -> asyncio.Future[Any]:
        """The answer of *script*, to be awaited: a word, and what belongs to it (``wire``).

        Raises:
            StoreUnavailable: there is no answer; at once, or when it is awaited.
        """
        keys = keys_of(self._prefix, id)
        try:
            node = self._servers.node_of(keys[0])
        except DRIVER_ERRORS as error:
            raise translated(error, attempt) from safe_cause(error)
        pipeline = self._by_node.get(node)
        if pipeline is None:
            pipeline = self._by_node[node] = self._new_pipeline()
        return pipeline.call(script, keys, arguments, attempt)

    def close(self) -> None:
        """Give up what is on its way; every call without an answer fails."""
        for pipeline in self._by_node.values():
            pipeline.close()
        self._by_node.clear()

    def _new_pipeline(self) -> AutoPipeline:
        return AutoPipeline(self._servers.send, pipelines=self._pipelines, timeout=self._timeout)
