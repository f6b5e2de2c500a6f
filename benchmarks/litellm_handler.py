"""The polling handler of a LiteLLM proxy in isolation, fed with the same stream at the same pace.

``... REDIS_URL`` and a ``paced.Load``; for an interpreter that has ``litellm[proxy]`` and not this
library. Theirs: the handler, the background task and the Redis cache. Ours: only the call of the
model, which gives our stream.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import urlsplit

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # nothing is fetched
os.environ.setdefault("LITELLM_LOG", "ERROR")

from fastapi import Request, Response
from litellm.caching.redis_cache import RedisCache
from litellm.proxy._types import UserAPIKeyAuth
from litellm.proxy.common_request_processing import ProxyBaseLLMRequestProcessing
from litellm.proxy.response_polling.background_streaming import background_streaming_task
from litellm.proxy.response_polling.polling_handler import ResponsePollingHandler

from benchmarks.paced import Load, measure_alone

# What the background task only hands on to the call of the model.
UNUSED: Final = (
    "llm_router",
    "proxy_config",
    "proxy_logging_obj",
    "select_data_generator",
    "user_model",
    "user_temperature",
    "user_request_timeout",
    "user_max_tokens",
    "user_api_base",
    "version",
)


async def call_model(processing: ProxyBaseLLMRequestProcessing, **_: object) -> Any:
    """In the place of LiteLLM's call: the stream that came with the request."""
    return SimpleNamespace(body_iterator=processing.data["input"])


async def handled(cache: RedisCache, chunks: AsyncIterator[bytes]) -> None:
    """One response, as the proxy makes it after its checks."""
    handler = ResponsePollingHandler(redis_cache=cache, ttl=3600)
    asked = {"model": "m", "input": chunks, "background": True}
    id = ResponsePollingHandler.generate_polling_id()
    await handler.create_initial_state(id, asked)
    await background_streaming_task(
        polling_id=id,
        data=asked,
        polling_handler=handler,
        request=Request({"type": "http", "method": "POST", "headers": []}),
        fastapi_response=Response(),
        user_api_key_dict=UserAPIKeyAuth(),
        general_settings={},
        **dict.fromkeys(UNUSED),
    )
    state = await handler.get_state(id)
    assert state is not None
    assert state["status"] == "completed", state
    assert state["output"][0]["content"][0]["text"], state


async def run(url: str, load: Load) -> None:
    """See ``paced.measure_alone``."""
    ProxyBaseLLMRequestProcessing.base_process_llm_request = call_model
    address = urlsplit(url)
    cache = RedisCache(host=address.hostname, port=address.port)

    async def work(chunks: AsyncIterator[bytes]) -> None:
        await handled(cache, chunks)

    await measure_alone(work, load)


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], Load.of(*sys.argv[2:])))
