"""The conformance kit: tests for authors of stores and adapters.

``StoreConformance`` is a class of pytest tests, one for each promise of ``response_cache.store``;
``machine_for`` makes a state machine that drives a store and a plain model of the contract side by
side. ``HttpConformance`` has the tests for an adapter: they speak HTTP to it and play its upstream,
a ``ScriptedUpstream``. ``check_log`` says what is wrong with the events of one log; its rule
``read_by_client`` needs the package ``openai``. All else needs
``pip install 'response-cache[testing]'``. A name of this package is imported at its first use.

    from response_cache.testing import StoreConformance, machine_for

    class TestMyStore(StoreConformance):
        @pytest.fixture
        async def store(self): ...      # an opened store
        @pytest.fixture
        def clock(self, store): ...     # what moves its time on

    TestMyStoreAgainstTheModel = machine_for(lambda: (MyStore(...), clock))

    class TestMyAdapter(HttpConformance):
        @pytest.fixture
        def serve(self): ...            # what puts it around an upstream
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from response_cache._protocol.wellformed.log_check import (
        Fault,
        Finding,
        Origin,
        Rule,
        check_log,
    )
    from response_cache._protocol.wellformed.log_state import Announced, LogState
    from response_cache.testing._http_suite import HttpConformance, HttpTimeConformance, Serve
    from response_cache.testing._in_process import ASGIApp, InProcess, Message, Receive, Send
    from response_cache.testing._official_client import read_by_client
    from response_cache.testing._store_machine import machine_for
    from response_cache.testing._store_model import ModelRecord, StoreModel
    from response_cache.testing._store_suite import Clock, StoreConformance
    from response_cache.testing._upstream import Call, Play, ScriptedUpstream
    from response_cache.testing._virtual_time import virtual_backend

__all__ = (
    "ASGIApp",
    "Announced",
    "Call",
    "Clock",
    "Fault",
    "Finding",
    "HttpConformance",
    "HttpTimeConformance",
    "InProcess",
    "LogState",
    "Message",
    "ModelRecord",
    "Origin",
    "Play",
    "Receive",
    "Rule",
    "ScriptedUpstream",
    "Send",
    "Serve",
    "StoreConformance",
    "StoreModel",
    "check_log",
    "machine_for",
    "read_by_client",
    "virtual_backend",
)

HOMES: Final[Mapping[str, str]] = {
    "ASGIApp": "response_cache.testing._in_process",
    "Announced": "response_cache._protocol.wellformed.log_state",
    "Call": "response_cache.testing._upstream",
    "Clock": "response_cache.testing._store_suite",
    "Fault": "response_cache._protocol.wellformed.log_check",
    "Finding": "response_cache._protocol.wellformed.log_check",
    "HttpConformance": "response_cache.testing._http_suite",
    "HttpTimeConformance": "response_cache.testing._http_suite",
    "InProcess": "response_cache.testing._in_process",
    "LogState": "response_cache._protocol.wellformed.log_state",
    "Message": "response_cache.testing._in_process",
    "ModelRecord": "response_cache.testing._store_model",
    "Origin": "response_cache._protocol.wellformed.log_check",
    "Play": "response_cache.testing._upstream",
    "Receive": "response_cache.testing._in_process",
    "Rule": "response_cache._protocol.wellformed.log_check",
    "ScriptedUpstream": "response_cache.testing._upstream",
    "Send": "response_cache.testing._in_process",
    "Serve": "response_cache.testing._http_suite",
    "StoreConformance": "response_cache.testing._store_suite",
    "StoreModel": "response_cache.testing._store_model",
    "check_log": "response_cache._protocol.wellformed.log_check",
    "machine_for": "response_cache.testing._store_machine",
    "read_by_client": "response_cache.testing._official_client",
    "virtual_backend": "response_cache.testing._virtual_time",
}

TESTS: Final = frozenset(
    {
        "response_cache.testing._http_suite",
        "response_cache.testing._store_machine",
        "response_cache.testing._store_promises",
        "response_cache.testing._upstream",
    }
)


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_imported(HOMES[name]), name)


def _imported(module: str) -> Any:
    """Import *module* such that pytest explains its failed assertions."""
    try:
        import hypothesis  # noqa: F401 - imported here to say how to get it
        import pytest
    except ImportError as error:
        raise ImportError(
            f"{module} needs pytest and hypothesis: pip install 'response-cache[testing]'"
        ) from error
    for name in TESTS.difference(sys.modules):
        pytest.register_assert_rewrite(name)
    return importlib.import_module(module)
