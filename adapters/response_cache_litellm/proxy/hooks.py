"""The callbacks through which LiteLLM tells how a run goes.

``async_pre_call_deployment_hook`` is the moment to answer ``queued``: authentication, limits,
budgets and guardrails have passed, and the provider is called next. The response's headers would
come only with the first event, however long that takes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from litellm.integrations.custom_logger import CustomLogger

from response_cache_litellm.proxy.background_run import BackgroundRun, current_background_run

__all__ = ("HOOKS", "Hooks")

logger = logging.getLogger("response_cache.litellm")


class Hooks(CustomLogger):  # type: ignore[misc]  # LiteLLM is not there when types are checked
    """Passes on what is said about our runs; other requests are none of our business.

    Each of these may be called several times for one run: on retries, by bridges from one API to
    another, and when the callback is configured twice.
    """

    async def async_pre_call_deployment_hook(
        self, kwargs: dict[str, object], call_type: object
    ) -> None:
        """All checks have passed, and a deployment is chosen."""
        run = current_background_run.get()
        if run is not None:
            run.admitted(**_about_deployment(kwargs))

    async def async_log_success_event(
        self, kwargs: Mapping[str, Any], response_obj: object, start_time: object, end_time: object
    ) -> None:
        """LiteLLM knows what the run cost, also when it was cancelled. Comes after the end."""
        run = current_background_run.get()
        if run is not None and not run.is_billed:
            run.is_billed = True
            _log_cost(run, kwargs)


def _about_deployment(kwargs: Mapping[str, Any]) -> dict[str, str]:
    """What operators want to know of where the run went; never a key, never content."""
    info = kwargs.get("model_info")
    named = {
        "provider": kwargs.get("custom_llm_provider"),
        "deployment": info.get("id") if isinstance(info, Mapping) else None,
    }
    return {name: value for name, value in named.items() if isinstance(value, str)}


def _log_cost(run: BackgroundRun, kwargs: Mapping[str, Any]) -> None:
    cost = kwargs.get("response_cost")
    if isinstance(cost, int | float):
        run.answer.note("cost", cost)
        logger.info("%s: cost %g", run.answer.id, cost)
    else:
        logger.info("%s: cost unknown to LiteLLM", run.answer.id)


HOOKS: Final = Hooks()
"""The one that is registered with LiteLLM, however often the package is installed."""
