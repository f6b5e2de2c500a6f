"""The sidecar: the cache in front of any server of the Responses API, as one command.

    response-cache serve --upstream https://api.openai.com/v1 --store redis://localhost

``build_app(Settings(...))`` gives the same as an ASGI app for a server of your own. Importing this
package loads nothing; its names are loaded when they are used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from response_cache_server._app import Sidecar, build_app
    from response_cache_server._builtin.upstream import BuiltInUpstream
    from response_cache_server._proxy.answer import UpstreamBroken
    from response_cache_server._proxy.app import ProxyApp
    from response_cache_server._settings import URL, LogLevel, Settings

__all__ = (
    "URL",
    "BuiltInUpstream",
    "LogLevel",
    "ProxyApp",
    "Settings",
    "Sidecar",
    "UpstreamBroken",
    "build_app",
)

_HOMES: Final = {
    "URL": "_settings",
    "BuiltInUpstream": "_builtin.upstream",
    "LogLevel": "_settings",
    "ProxyApp": "_proxy.app",
    "Settings": "_settings",
    "Sidecar": "_app",
    "UpstreamBroken": "_proxy.answer",
    "build_app": "_app",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
