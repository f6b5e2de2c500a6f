"""What is read of the middleware of a LiteLLM proxy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.middleware import Middleware

from response_cache import Options
from response_cache_litellm._proxy.reply_headers import create_paths


def test_root_paths_of_the_proxy_have_the_routes_below_them() -> None:
    def PerRequestRootPathMiddleware(app: Any, root_paths: Sequence[str]) -> Any:  # noqa: N802
        """LiteLLM's is known by this name."""
        raise AssertionError("only its arguments are read")

    entry = Middleware(PerRequestRootPathMiddleware, root_paths=["/llm", "other/"])
    assert create_paths([]) == Options().paths
    assert {"/llm/v1/responses", "/other/responses"} < set(create_paths([entry]))
