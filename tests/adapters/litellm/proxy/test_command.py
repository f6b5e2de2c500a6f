"""``response-cache litellm``: what workers are told, and what is said without LiteLLM."""

from __future__ import annotations

import pytest

from response_cache_litellm._proxy.command import prepare
from tests.adapters.servers import run_program


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_our_hook_is_appended_once() -> None:
    environ = {"LITELLM_WORKER_STARTUP_HOOKS": "a:b, c:d"}
    for _ in range(2):
        prepare(environ)
    assert (
        environ["LITELLM_WORKER_STARTUP_HOOKS"] == "a:b,c:d,"
        "response_cache_litellm._proxy.startup:install"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [("litellm", "--config", "x.yaml"), ("serve", "--upstream", "litellm")],
    ids=["proxy", "sdk"],
)
async def test_without_litellm_one_line_names_the_extra(command: tuple[str, ...]) -> None:
    code, program = await run_program(*command, env={"PYTHONPATH": ""})
    assert code == 2
    assert "pip install 'response-cache[litellm]'" in program.stderr
    assert program.stderr.count("\n") == 1
