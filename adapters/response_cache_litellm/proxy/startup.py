"""Installs the door and the callbacks in a worker of the proxy. Doing it again changes nothing."""

from __future__ import annotations

import logging
import os
from functools import partial
from typing import Any, Final

from response_cache import store_from_url
from response_cache.redaction import redacted
from response_cache_asgi import ResponseCacheMiddleware
from response_cache_asgi.types import ASGIApp
from response_cache_litellm.proxy.front import Door
from response_cache_litellm.proxy.log import set_up_log
from response_cache_litellm.proxy.reply_headers import create_paths, dressed
from response_cache_litellm.settings import check, options_from, store_url

__all__ = ("HOOK", "install")

logger = logging.getLogger("response_cache.litellm")

HOOK: Final = "response_cache_litellm.proxy.startup:install"
"""For ``LITELLM_WORKER_STARTUP_HOOKS``: called in each worker before it loads the configuration."""


def install() -> None:
    """Put the cache in front of this process's proxy.

    Raises:
        ValueError: a variable of ours has a value that cannot be.
    """
    check(os.environ)
    set_up_log(os.environ)
    import litellm
    from litellm.proxy import proxy_server

    from response_cache_litellm.proxy.hooks import HOOKS

    litellm.logging_callback_manager.add_litellm_callback(HOOKS)
    app = proxy_server.app
    if not getattr(app.state, "has_response_cache", False):
        app.state.has_response_cache = True
        _stand_before(app)


def _stand_before(app: Any) -> None:
    """Wrap the stack of the app's middleware: the built one, or the one that will be built.

    Not by ``add_middleware``, which an app that has started refuses.
    """
    build = app.build_middleware_stack
    if app.middleware_stack is None:
        app.build_middleware_stack = lambda: _door(app, build())
    else:
        app.middleware_stack = _door(app, app.middleware_stack)


def _door(app: Any, stack: ASGIApp) -> Door:
    paths = create_paths(app.user_middleware)
    return Door(
        stack,
        make_cache=partial(_make_cache, paths=paths),
        dress=partial(dressed, middleware=app.user_middleware),
        paths=paths,
        dialect=options_from(os.environ).dialect,
    )


def _make_cache(app: ASGIApp, *, paths: tuple[str, ...]) -> ResponseCacheMiddleware:
    """The cache as the proxy's settings and the environment say, now that both are known."""
    from litellm.proxy import proxy_server

    from response_cache_litellm.proxy.identity import Identity
    from response_cache_litellm.proxy.settings import current_policy, current_providers

    redis = proxy_server.redis_usage_cache
    options = options_from(os.environ, paths=paths, ttl=proxy_server.polling_cache_ttl)
    store = store_url(
        os.environ,
        None if redis is None else redis.redis_kwargs,
        None if redis is None else redis.namespace,
        dialect=options.dialect,
    )
    secret = options.secret.get_secret_value()
    owner = Identity(secret=secret, policy=current_policy, providers=current_providers)
    given = {name: getattr(options, name) for name in options.model_fields_set}
    opened_later = store_from_url(store, dialect=options.dialect)  # raises here what is wrong
    cache = ResponseCacheMiddleware(app, opened_later, owner=owner, **given)
    logger.info(
        "background responses are kept in %s; running ones get %g s at the end",
        redacted(store),
        options.drain_timeout,
    )
    return cache
