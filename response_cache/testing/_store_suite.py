"""One test for each promise of ``response_cache.store``, for every store.

A subclass has two fixtures: ``store``, opened, and ``clock``, which moves the store's time forward.
Where the time is a server's, ``clock`` may wait for real time; then ``unit`` is the length in
seconds of a second of the tests. Only the promises about time use the clock: in all other tests
nothing expires. Each test uses an id of its own, so the store may be a shared database.
"""

from __future__ import annotations

from response_cache.testing._store_promises.append import AppendPromises
from response_cache.testing._store_promises.create import (
    CreatePromises,
    PropertyPromises,
    RequestPromises,
)
from response_cache.testing._store_promises.delete import DeletePromises
from response_cache.testing._store_promises.read import ReadPromises
from response_cache.testing._store_promises.renew import RenewPromises
from response_cache.testing._store_promises.subject import Clock
from response_cache.testing._store_promises.take import TakePromises
from response_cache.testing._store_promises.time import TimePromises
from response_cache.testing._store_promises.values import ValuePromises
from response_cache.testing._store_promises.wait import WaitPromises

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
    RenewPromises,
    ValuePromises,
    TimePromises,
):
    """Every promise of the contract. A subclass has the fixtures ``store`` and ``clock``."""
