"""Background responses in LiteLLM: in its proxy, and over its SDK.

    response-cache litellm --config config.yaml              the proxy, by our command
    litellm_settings: {callbacks: [response_cache_litellm.callback]}     by its configuration
    app = response_cache_litellm.proxy_app()                 as an app for uvicorn or gunicorn
    app = response_cache_litellm.litellm_app(model=...)      the SDK as an app, without the proxy

Importing this package does not import LiteLLM. Its names are loaded when they are used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from response_cache_litellm._proxy.app import callback, proxy_app
    from response_cache_litellm._sdk.app import litellm_app

__all__ = ("callback", "litellm_app", "proxy_app")

# No module of this package may have one of these names: its import would replace the name.
_HOMES: Final = {"callback": "_proxy.app", "litellm_app": "_sdk.app", "proxy_app": "_proxy.app"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
