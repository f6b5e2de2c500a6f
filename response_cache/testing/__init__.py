"""What proves a store: for those who write one of their own.

``StoreConformance`` is a class of pytest tests, one for each promise of ``response_cache.store``;
``machine_for`` makes a state machine that drives a store and a plain model of the contract side by
side. Needs ``pip install 'response-cache[testing]'``; nothing is imported before it is asked for.

    from response_cache.testing import StoreConformance, machine_for

    class TestMyStore(StoreConformance):
        @pytest.fixture
        async def store(self): ...      # an opened store
        @pytest.fixture
        def clock(self, store): ...     # what moves its time on

    TestMyStoreAgainstTheModel = machine_for(lambda: (MyStore(...), clock))
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from response_cache.testing.store_machine import machine_for
    from response_cache.testing.store_model import StoreModel
    from response_cache.testing.store_suite import Clock, StoreConformance

__all__ = ("Clock", "StoreConformance", "StoreModel", "machine_for")

HOMES: Final[Mapping[str, str]] = {
    "Clock": "response_cache.testing.store_suite",
    "StoreConformance": "response_cache.testing.store_suite",
    "StoreModel": "response_cache.testing.store_model",
    "machine_for": "response_cache.testing.store_machine",
}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_imported(HOMES[name]), name)


def _imported(module: str) -> Any:
    """Import a module of tests so that pytest explains its failed assertions."""
    try:
        import hypothesis  # noqa: F401 - asked for here, to say how to get it
        import pytest
    except ImportError as error:
        raise ImportError(
            f"{module} needs pytest and hypothesis: pip install 'response-cache[testing]'"
        ) from error
    if module not in sys.modules:
        pytest.register_assert_rewrite(module)
    return importlib.import_module(module)
