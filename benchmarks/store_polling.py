"""How many polls of a closed response does one sidecar worker answer from each store in a second?

Against a bare ASGI app that awaits one GET of the same Redis client for each request, under the
same server. Server, Redis and load generator share the machine.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks.load import requests_a_second
from benchmarks.polling import CONNECTIONS, SECONDS, closed_response, server
from benchmarks.table import interleaved, show

__all__ = ("measure",)

BARE: Final = """
import sys
import uvicorn
from redis.asyncio import Redis

client = Redis.from_url(sys.argv[1])

async def app(scope, receive, send):
    body = await client.get("response_cache:" + scope["path"].rpartition("/")[2])
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})

uvicorn.run(app, port=0, log_level="info", access_log=False, lifespan="off")
"""


def measure(urls: Mapping[str, str], *, rounds: int) -> None:
    """Print the table."""
    sidecar = [sys.executable, "-m", "response_cache_server", "serve", "--port", "0", "--store"]
    with ExitStack() as stack:
        script = Path(stack.enter_context(tempfile.TemporaryDirectory()), "bare.py")
        script.write_text(BARE)

        def polls(command: list[str], path: str) -> Callable[[], float]:
            port = stack.enter_context(server(command))
            path = path or closed_response(port)
            paths.append(path)
            return lambda: requests_a_second(port, path, connections=CONNECTIONS, seconds=SECONDS)

        paths: list[str] = []
        measures = {
            f"the sidecar, {name}": polls([*sidecar, url], "") for name, url in urls.items()
        }
        bare = [sys.executable, str(script), urls["Redis"]]
        measures["a bare app, one GET of Redis"] = polls(bare, paths[[*urls].index("Redis")])
        results = interleaved(measures, rounds=rounds)
    target = {"the sidecar, Redis": "target: at least 50 % of the bare app"}
    show("Polls of a closed response of 2 KB", results, unit="polls/s", targets=target)
