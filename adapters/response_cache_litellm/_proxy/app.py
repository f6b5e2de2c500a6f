"""The two public names: ``callback`` for the proxy's configuration, ``proxy_app`` for servers."""

from __future__ import annotations

import sys
from typing import Any

from response_cache_asgi._types import ASGIApp
from response_cache_litellm._proxy.hooks import HOOKS
from response_cache_litellm._proxy.startup import install

__all__ = ("callback", "proxy_app")


def proxy_app() -> ASGIApp:
    """LiteLLM's proxy with background responses, for a server such as uvicorn or gunicorn.

    The proxy reads its configuration from ``CONFIG_FILE_PATH`` when the server starts it.
    """
    from litellm.proxy import proxy_server

    install()
    app: ASGIApp = proxy_server.app
    return app


def _callback() -> Any:
    """The callback. In a process of the proxy (not of the SDK alone) it installs the front."""
    if "litellm.proxy.proxy_server" in sys.modules:
        install()
    return HOOKS


callback: Any = _callback()
"""For ``litellm_settings.callbacks``: each worker that loads it installs the cache."""
