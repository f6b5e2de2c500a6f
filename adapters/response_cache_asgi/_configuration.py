"""The options and the store of a middleware, and what happens when they are wrong.

Starlette builds its middleware at the app's first call, which is the lifespan's. Servers take an
exception there for an app without a lifespan, start, and every request fails. So a fault that is
found inside of an ASGI call is kept: the lifespan fails with it. Where there is no lifespan, each
request that needs the cache fails with it. Outside of an ASGI call it is raised at once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

from response_cache import Options, Store
from response_cache.errors import Misconfigured
from response_cache.options import options_of, usable_options
from response_cache.stores import store_of

__all__ = ("Configuration", "configure")

OTHER_PARAMETERS: Final = ("app", "store", "owner", "drain_on_signals")
"""What the middleware takes beside options."""
ASGI_PARAMETERS: Final = ("scope", "receive", "send")


@dataclass(frozen=True, slots=True)
class Configuration:
    """The options, and the store or the fault that leaves the app without one."""

    options: Options
    store: Store | None
    fault: str = ""

    def require_store(self) -> Store:
        """The store.

        Raises:
            Misconfigured: there is none.
        """
        if self.store is None:
            raise Misconfigured(self.fault)
        return self.store


def configure(store: Store | str, given: Mapping[str, Any]) -> Configuration:
    """The *store*, or the one that a URL names, and the options as *given*.

    Raises:
        ValueError: an unknown option, a value out of its range, or a URL of no known store.
        ImportError: the store's driver is not installed.
    """
    try:
        options = options_of(given, beside=OTHER_PARAMETERS)
        store = store_of(store, dialect=options.dialect)
    except (ValueError, ImportError) as error:
        if not _is_in_asgi_call():
            raise
        fault = f"response_cache is misconfigured: {error}"
        return Configuration(usable_options(given), None, fault)
    return Configuration(options, store)


def _is_in_asgi_call() -> bool:
    """Whether a caller is an ASGI app, as the names of its parameters tell."""
    return any(
        set(ASGI_PARAMETERS) <= set(frame.f_code.co_varnames[: frame.f_code.co_argcount])
        for frame in _callers()
    )


def _callers() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        yield frame
        frame = frame.f_back
