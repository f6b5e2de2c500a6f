"""``response-cache litellm``: LiteLLM's own command, with background responses in every worker."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import MutableMapping, Sequence
from typing import Final

import anyio

from response_cache._hosting import why_not_open
from response_cache.errors import StoreUnavailable
from response_cache_litellm._proxy.startup import HOOK
from response_cache_litellm._settings import STORE, load_proxy_settings, try_store

__all__ = ("CannotRun", "prepare", "run")

HOOKS_VARIABLE: Final = "LITELLM_WORKER_STARTUP_HOOKS"


class CannotRun(Exception):
    """The proxy cannot start; the message is one line that says why."""


def run(arguments: Sequence[str], *, store: str | None = None) -> None:
    """Run LiteLLM's proxy with *arguments* of its own command until it ends.

    Raises:
        CannotRun: LiteLLM is not installed, one of our settings is wrong, or the named store cannot
            be opened.
        SystemExit: with the proxy's exit code.
    """
    if importlib.util.find_spec("litellm") is None:
        raise CannotRun("LiteLLM is not installed: pip install 'response-cache[litellm]'")
    if store:
        os.environ[STORE] = store
    try:
        anyio.run(try_store, load_proxy_settings())
    except (ValueError, ImportError) as error:
        raise CannotRun(str(error)) from error
    except StoreUnavailable as error:
        raise CannotRun(why_not_open(error)) from error
    prepare(os.environ)
    from litellm.proxy.proxy_cli import run_server

    run_server(args=list(arguments), prog_name="response-cache litellm")


def prepare(environ: MutableMapping[str, str]) -> None:
    """Let each worker that gets *environ* call our hook, after the hooks that it has."""
    hooks = [hook.strip() for hook in environ.get(HOOKS_VARIABLE, "").split(",") if hook.strip()]
    if HOOK not in hooks:
        environ[HOOKS_VARIABLE] = ",".join((*hooks, HOOK))
