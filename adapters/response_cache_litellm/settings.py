"""What the cache is told: by variables, then by the proxy's settings, then by defaults.

``RESPONSE_CACHE_STORE`` names the store; every other option has its name in capitals behind
``RESPONSE_CACHE_``, lists are written with commas. They reach each worker with its environment.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from response_cache import Options, store_from_url
from response_cache.options import DialectName, complaints
from response_cache_litellm.proxy.disconnect import STOP_GRACE
from response_cache_litellm.proxy.log import log_level
from response_cache_litellm.proxy.store_url import redis_url
from response_cache_server.settings import Settings
from response_cache_server.variables import require_known, variable

__all__ = ("KEY_PREFIXES", "STORE", "check", "options_from", "store_url", "try_store")

logger = logging.getLogger("response_cache.litellm")

STORE: Final = "RESPONSE_CACHE_STORE"
KEY_PREFIXES: Final[Mapping[DialectName, str]] = {
    "openai": "response_cache:",
    "litellm": "litellm:polling:response:",
}
"""By dialect: how our keys in the proxy's Redis begin, after its own namespace."""
CORS: Final = "RESPONSE_CACHE_CORS_ORIGINS"
NOBODY: Final[
    tuple[str, ...]
] = ()  # that is let in by us: the proxy's own CORS is around the cache
ADMISSION_WAIT: Final = 5.0  # for a proxy that neither calls its hooks nor answers


def check(environ: Mapping[str, str]) -> None:
    """Find out at the start what would else be found out at the first request.

    Raises:
        ValueError: a variable has a value that cannot be, or is unknown. The message is one line.
        ImportError: the store's driver is not installed.
    """
    require_known(environ, Settings.model_fields)  # of any command of ours
    options_from(environ)
    log_level(environ)
    if environ.get(STORE):
        try:
            store_from_url(environ[STORE])
        except ValueError as error:
            raise ValueError(f"{STORE}: {error}") from None


async def try_store(environ: Mapping[str, str]) -> None:
    """Open the named store, if one is named, and close it again.

    Raises:
        StoreUnavailable: it cannot be opened; the message says why.
    """
    if environ.get(STORE):
        store = store_from_url(environ[STORE])
        await store.open()
        await store.aclose()


def options_from(environ: Mapping[str, str], **defaults: Any) -> Options:
    """The options, with *defaults* where *environ* says nothing.

    Raises:
        ValueError: with the variable that is wrong, and why.
    """
    ours = {
        "admission_wait": ADMISSION_WAIT,
        "stop_grace": STOP_GRACE,
        "cors_origins": NOBODY,
        "check_requests": False,  # the proxy judges its own requests
    }
    given = {**ours, **defaults, **_variables(environ)}
    try:
        return Options(**given)
    except ValidationError as error:
        raise ValueError("; ".join(complaints(error, variable))) from None


def _variables(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if environ.get(CORS):
        raise ValueError(f"{CORS}: the proxy's own CORS counts here: LITELLM_CORS_ORIGINS")
    for name in Options.model_fields:
        value = environ.get(variable(name))
        if value:
            found[name] = [part.strip() for part in value.split(",")] if name == "paths" else value
    return found


def store_url(
    environ: Mapping[str, str],
    redis: Mapping[str, Any] | None,
    namespace: str | None = None,
    *,
    dialect: DialectName = "openai",
) -> str:
    """Where responses are kept: as told, else in the proxy's *redis*, else in memory.

    In LiteLLM's *dialect* its keys are LiteLLM's own.

    Raises:
        ValueError: the proxy's Redis cannot be named by a URL.
    """
    if environ.get(STORE):
        return environ[STORE]
    if redis is not None:
        prefix = KEY_PREFIXES[dialect]
        prefix = f"{namespace}:{prefix}" if namespace else prefix
        return redis_url(redis, environ, key_prefix=prefix)
    logger.warning(
        "the proxy has no Redis: background responses are kept in the memory of each worker, and a "
        "restart loses them. Configure one, or set %s",
        STORE,
    )
    return "memory://"
