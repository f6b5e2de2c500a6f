"""The proxy's present settings: it may reload them while it runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from litellm.proxy import proxy_server

from response_cache_litellm._proxy.policy import Policy, providers_of, read_policy

__all__ = ("current_policy", "current_providers")


def current_policy() -> Policy:
    """The policy: whose background work is recorded."""
    value = proxy_server.polling_via_cache_enabled
    is_set = value is not False or _says_so(proxy_server.proxy_config.config)
    return read_policy(value, proxy_server.native_background_mode, is_set=is_set)


def current_providers(model: str) -> Iterable[str]:
    """The providers that *model* may be answered by."""
    router = proxy_server.llm_router
    deployments = () if router is None else router.get_model_list(model_name=model) or ()
    return providers_of(model, deployments)


def _says_so(config: Any) -> bool:
    """Whether the configuration has the setting: the proxy's own value is ``False`` without it."""
    settings = (config or {}).get("litellm_settings") or {}
    mode = (settings.get("responses") or {}).get("background_mode") or {}
    return "polling_via_cache" in mode
