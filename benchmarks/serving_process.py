"""Serves the sidecar's app with one of several servers: ``... SERVER PORT [UPSTREAM]``.

Each has uvloop, one process and no access log.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import uvicorn
import uvloop

from response_cache_server import Sidecar, build_app
from response_cache_server._http1 import Connection, Limits
from response_cache_server._settings import load_settings

__all__ = ("SERVERS", "app")

UPSTREAM: Final = "BENCHMARK_UPSTREAM"


def app() -> Sidecar:
    """The app, for servers that make it themselves."""
    return build_app(load_settings({"upstream": os.environ.get(UPSTREAM)}))


def _uvicorn(port: int, **options: Any) -> None:
    uvicorn.run(app(), port=port, log_level="warning", access_log=False, **options)


def _hypercorn(port: int) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    uvloop.run(serve(app(), config))  # type: ignore[arg-type]


def _granian(port: int) -> None:
    from granian import Granian
    from granian.constants import Interfaces, Loops
    from granian.log import LogLevels

    Granian(
        f"{__name__ if __name__ != '__main__' else 'benchmarks.serving_process'}:app",
        port=port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        factory=True,
        log_level=LogLevels.warning,
    ).serve()


SERVERS: Final[Mapping[str, Callable[[int], None]]] = {
    "ours": partial(_uvicorn, http=partial(Connection, limits=Limits())),
    "uvicorn, httptools": partial(_uvicorn, http="httptools"),
    "uvicorn, h11": partial(_uvicorn, http="h11"),
    "hypercorn": _hypercorn,
    "granian": _granian,
}


if __name__ == "__main__":
    if len(sys.argv) > 3:
        os.environ[UPSTREAM] = sys.argv[3]
    SERVERS[sys.argv[1]](int(sys.argv[2]))
