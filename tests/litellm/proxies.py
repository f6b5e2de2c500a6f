"""Real LiteLLM proxies as processes on free ports, with a configuration of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.litellm.client import Client
from tests.litellm.waiting import WAIT_TIMEOUT, until
from tests.ports import free_port

ALONE: Final = bool(os.environ.get("RESPONSE_CACHE_LITELLM_ALONE"))
"""Whether LiteLLM is to be tested as it is, without us: then the tests of its weaknesses fail."""

with_us = pytest.mark.skipif(ALONE, reason="LiteLLM alone has nothing of this")

BIN: Final = Path(sys.executable).parent
START: Final = 120.0  # seconds; LiteLLM imports for 7 to 9 of them on a machine that is free

QUIET: Final = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOG": "ERROR",
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
}
SCALED: Final = {"RESPONSE_CACHE_LEASE": "2", "RESPONSE_CACHE_DRAIN_TIMEOUT": "3"}

AUTHENTICATION: Final = """
from litellm.proxy._types import ProxyException, UserAPIKeyAuth

KEYS = {
    "sk-admin": {"user_id": "root", "user_role": "proxy_admin"},
    "sk-ann": {"user_id": "ann"},
    "sk-ann-2": {"user_id": "ann"},
    "sk-bob": {"user_id": "bob"},
    "sk-nobody": {},
    "sk-slow": {"user_id": "slow", "rpm_limit": 1},
    "sk-narrow": {"user_id": "narrow", "max_parallel_requests": 1},
    "sk-poor": {"user_id": "poor", "max_budget": 0.05},
    "sk-1234": {"user_id": "example"},
}

async def authenticate(request, api_key):
    if api_key not in KEYS:
        raise ProxyException(message="Unknown key", type="auth_error", param="key", code=401)
    return UserAPIKeyAuth(api_key=api_key, **KEYS[api_key])
"""

LEDGER: Final = """
import json, os
from fastapi import HTTPException
from litellm.integrations.custom_logger import CustomLogger

class Ledger(CustomLogger):
    async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):
        if "forbidden" in str(data.get("input")):
            raise HTTPException(status_code=400, detail={"error": "a guardrail says no"})
        self.write({"hook": data.get("metadata"), "input": data.get("input")})

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        line = {"call": kwargs.get("litellm_call_id"), "cost": kwargs.get("response_cost")}
        told = kwargs.get("standard_logging_object") or {}
        metadata = told.get("metadata") or {}
        line["tags"] = told.get("request_tags")
        line["spend"] = metadata.get("spend_logs_metadata")
        line["trace"] = told.get("trace_id")
        line["sent"] = metadata.get("requester_metadata")
        self.write(line)

    def write(self, line):
        with open(os.environ["LEDGER"], "a") as file:
            file.write(json.dumps(line) + "\\n")

ledger = Ledger()
"""


def configuration(
    provider: str, redis: int | None, *, callbacks: Sequence[str] = (), ttl: int = 3600
) -> Any:
    """A proxy's configuration as LiteLLM documents it for polling via cache."""

    def model(name: str, provider_model: str) -> dict[str, Any]:
        costs = {"input_cost_per_token": 0.001, "output_cost_per_token": 0.01}
        place = {"model": provider_model, "api_base": provider, "api_key": "sk-provider"}
        return {"model_name": name, "litellm_params": {**place, **costs}}

    settings: dict[str, Any] = {
        "responses": {"background_mode": {"polling_via_cache": "all", "ttl": ttl}},
        "callbacks": ["ledger.ledger", *callbacks],
    }
    if redis is not None:
        parameters = {"type": "redis", "host": "127.0.0.1", "port": "os.environ/OWN_REDIS_PORT"}
        settings |= {"cache": True, "cache_params": {**parameters, "supported_call_types": []}}
    native, chat = "openai/built-in", "deepseek/chat"
    keys = {"custom_auth": "keys.authenticate", "custom_auth_run_common_checks": True}  # budgets
    return {
        "model_list": [model("native", native), model("story", native), model("chat", chat)],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "general_settings": {"master_key": "sk-admin", **keys},
        "litellm_settings": settings,
    }


@dataclass
class Proxy:
    """A running proxy."""

    url: str
    process: subprocess.Popen[bytes]
    directory: Path
    health: str
    _clients: dict[str, Client] = field(default_factory=dict)

    def client(self, key: str = "sk-ann") -> Client:
        """A client with *key*, one for all tests; closed with the proxy."""
        if key not in self._clients:
            self._clients[key] = Client(self.url, key)
        return self._clients[key]

    def close_clients(self) -> None:
        for client in self._clients.values():
            client.http.close()

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    @property
    def ledger(self) -> list[dict[str, Any]]:
        """What LiteLLM's own callback was told of requests that have ended."""
        return [line for line in self._lines if "call" in line]

    @property
    def hooked(self) -> list[dict[str, Any]]:
        """What LiteLLM's own callback was told of requests before their call."""
        return [line for line in self._lines if "hook" in line]

    @property
    def _lines(self) -> list[dict[str, Any]]:
        file = self.directory / "ledger"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def is_up(self) -> bool:
        assert self.process.poll() is None, self.log[-4000:]
        try:
            return httpx.get(f"{self.url}{self.health}", timeout=WAIT_TIMEOUT).status_code == 200
        except httpx.TransportError:
            return False

    def wait(self) -> int:
        return self.process.wait(WAIT_TIMEOUT)


def _environment(directory: Path, redis: int | None, more: Mapping[str, str]) -> dict[str, str]:
    ours = {name: v for name, v in os.environ.items() if not name.startswith("RESPONSE_CACHE_")}
    path = os.pathsep.join(filter(None, (str(directory), os.environ.get("PYTHONPATH"))))
    own = {"LEDGER": str(directory / "ledger"), "OWN_REDIS_PORT": str(redis), "PYTHONPATH": path}
    return {**ours, **QUIET, **SCALED, **own, **more}


@contextmanager
def running_proxy(
    command: Sequence[str],
    directory: Path,
    config: Any,
    *,
    redis: int | None = None,
    root: str = "",
    env: Mapping[str, str] | None = None,
    health: str = "/health/liveliness",
) -> Iterator[Proxy]:
    """*command* with its port added, ready to serve; ended with its workers by its process id."""
    directory.mkdir(exist_ok=True)
    (directory / "config.yaml").write_text(json.dumps(config))  # every JSON text is YAML
    (directory / "keys.py").write_text(AUTHENTICATION)
    (directory / "ledger.py").write_text(LEDGER)
    port = free_port()
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=directory,
            env=_environment(directory, redis, env or {}),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    proxy = Proxy(f"http://127.0.0.1:{port}{root}", process, directory, health)
    try:
        until(lambda: proxy.is_up, "the proxy serves", within=START)
        yield proxy
    finally:
        proxy.close_clients()
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # the session that was started for it, workers too
    process.wait()


def our_command() -> list[str]:
    """``response-cache litellm``; LiteLLM's own where it is tested alone."""
    return [str(BIN / "litellm")] if ALONE else [str(BIN / "response-cache"), "litellm"]
