"""LiteLLM's callbacks for a run.

At ``async_pre_call_deployment_hook`` the client is answered ``queued``: authentication, limits,
budgets and guardrails have passed, and the provider is called next. The proxy sends its headers
only with the first event, which may come much later.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from litellm.integrations.custom_logger import CustomLogger

from response_cache_litellm._proxy.background_run import BackgroundRun, current_background_run

__all__ = ("HOOKS", "Hooks")

logger = logging.getLogger("response_cache.litellm")


class Hooks(CustomLogger):  # type: ignore[misc]  # LiteLLM is not there when types are checked
    """Takes what LiteLLM says about our runs, and ignores other requests.

    Each method may be called several times for one run: on retries, by bridges from one API to
    another, and where the callback is configured twice.
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
        """LiteLLM knows the cost of the run, also of a cancelled one. Called after the end."""
        run = current_background_run.get()
        if run is not None and not run.is_billed:
            run.is_billed = True
            _log_cost(run, kwargs)


def _about_deployment(kwargs: Mapping[str, Any]) -> dict[str, str]:
    """Provider and deployment of the run, for operators; never a key, never content."""
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
"""Registered with LiteLLM. One object, so that installing twice registers it once."""
