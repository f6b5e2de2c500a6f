"""One test for each promise of ``response_cache.store``, for every store there is.

A subclass gives two fixtures: ``store``, opened, and ``clock``, which moves the store's time on.
Where the time is a server's, ``clock`` may really wait; ``unit`` then says how short a while the
tests may take for long. Only the promises about time depend on it: all other tests use lifetimes
that they do not outlive. Each test uses an id of its own, so a shared database will do.
"""

from __future__ import annotations

from response_cache.testing.store_promises.append import AppendPromises
from response_cache.testing.store_promises.create import (
    CreatePromises,
    PropertyPromises,
    RequestPromises,
)
from response_cache.testing.store_promises.delete import DeletePromises
from response_cache.testing.store_promises.read import ReadPromises
from response_cache.testing.store_promises.subject import Clock
from response_cache.testing.store_promises.take import TakePromises
from response_cache.testing.store_promises.time import TimePromises
from response_cache.testing.store_promises.values import ValuePromises
from response_cache.testing.store_promises.wait import WaitPromises

__all__ = ("Clock", "StoreConformance")


class StoreConformance(
    PropertyPromises,
    CreatePromises,
    RequestPromises,
    AppendPromises,
    TakePromises,
    ReadPromises,
    WaitPromises,
    DeletePromises,
    ValuePromises,
    TimePromises,
):
    """Every promise of the contract. A subclass gives the fixtures ``store`` and ``clock``."""
