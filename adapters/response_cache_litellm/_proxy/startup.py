"""Installs the front and the callbacks in a worker of the proxy, once."""

from __future__ import annotations

import logging
import os
from functools import partial
from typing import Any, Final

from response_cache import store_from_url
from response_cache._redaction import redacted
from response_cache_asgi import ResponseCacheMiddleware
from response_cache_asgi._types import ASGIApp
from response_cache_litellm._proxy.front import ProxyFront
from response_cache_litellm._proxy.log import set_up_log
from response_cache_litellm._proxy.reply_headers import create_paths, with_reply_headers
from response_cache_litellm._proxy.store_url import store_url
from response_cache_litellm._settings import load_proxy_settings

__all__ = ("HOOK", "install")

logger = logging.getLogger("response_cache.litellm")

HOOK: Final = "response_cache_litellm._proxy.startup:install"
"""For ``LITELLM_WORKER_STARTUP_HOOKS``: called in each worker before it loads the configuration."""


def install() -> None:
    """Put the cache in front of this process's proxy. Safe to call twice.

    Raises:
        ValueError: one of our variables is wrong.
    """
    set_up_log(load_proxy_settings().named_log_level)
    import litellm
    from litellm.proxy import proxy_server

    from response_cache_litellm._proxy.hooks import HOOKS

    litellm.logging_callback_manager.add_litellm_callback(HOOKS)
    app = proxy_server.app
    if not getattr(app.state, "has_response_cache", False):
        app.state.has_response_cache = True
        _stand_before(app)


def _stand_before(app: Any) -> None:
    """Wrap the stack of the app's middleware, now or when it is built.

    Not by ``add_middleware``: an app that has started refuses it.
    """
    build = app.build_middleware_stack
    if app.middleware_stack is None:
        app.build_middleware_stack = lambda: _front(app, build())
    else:
        app.middleware_stack = _front(app, app.middleware_stack)


def _front(app: Any, stack: ASGIApp) -> ProxyFront:
    paths = create_paths(app.user_middleware)
    return ProxyFront(
        stack,
        make_cache=partial(_make_cache, paths=paths),
        with_reply_headers=partial(with_reply_headers, middleware=app.user_middleware),
        paths=paths,
        dialect=load_proxy_settings().dialect,
    )


def _make_cache(app: ASGIApp, *, paths: tuple[str, ...]) -> ResponseCacheMiddleware:
    """The cache, by the environment and by the proxy's settings, which are known by now."""
    from litellm.proxy import proxy_server

    from response_cache_litellm._proxy.identity import Identity
    from response_cache_litellm._proxy.settings import current_policy, current_providers

    redis = proxy_server.redis_usage_cache
    settings = load_proxy_settings()  # read again: the proxy's configuration may set variables
    options = settings.options_over(paths=paths, ttl=proxy_server.polling_cache_ttl)
    store = store_url(
        settings.named_store,
        None if redis is None else redis.redis_kwargs,
        os.environ,
        namespace=None if redis is None else redis.namespace,
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
