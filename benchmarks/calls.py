"""How many calls does the interpreter make for a request? A count, the same on every machine.

Calls of Python functions and of built-in ones, as ``sys.setprofile`` reports them, through the ASGI
middleware in this process: what a server adds is not in it. The figure is the smallest of several
runs, so that what happens now and then (a timer, the garbage collector) stays out.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio

from benchmarks.sample import as_frame, frames
from benchmarks.workload import KEY, Counter, ask
from response_cache_asgi import ResponseCacheMiddleware

ROUNDS: Final = 30
WORDS: Final = 1000

Once = Callable[[], Awaitable[object]]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Tells a story when it runs in the background, else says as little as it can."""
    while (await receive()).get("more_body", False):
        pass
    body, kind = b"{}", b"application/json"
    if scope.get("extensions"):
        body, kind = STORY, b"text/event-stream"
    head = [(b"content-type", kind)]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


END: Final = {"type": "response.completed", "response": {"id": "up", "status": "completed"}}
STORY: Final = b"".join(frames(WORDS)) + as_frame(END)


async def calls(once: Once) -> int:
    """The fewest calls of some rounds of *once*."""
    counts = []
    for _ in range(ROUNDS):
        work = Counter()
        with work.counting():
            await once()
        counts.append(work.calls)
    return min(counts)


async def measure() -> dict[str, int]:
    """The counts, by what was asked."""
    middleware = ResponseCacheMiddleware(app)
    foreground = json.dumps({"model": "m", "input": "hi" * 500}).encode()
    background = json.dumps({"model": "m", "input": "hi", "background": True}).encode()

    async def finished() -> str:
        made = json.loads(await ask(middleware, "POST", "/v1/responses", body=background))
        path = f"/v1/responses/{made['id']}"
        await ask(middleware, "GET", f"{path}?stream=true")
        return path

    path = await finished()
    requests: dict[str, Once] = {
        "poll of a closed response": lambda: ask(middleware, "GET", path),
        "poll with Prefer: wait": lambda: ask(
            middleware, "GET", path, headers=(KEY, (b"prefer", b"wait=1"))
        ),
        f"replay of {WORDS} deltas": lambda: ask(middleware, "GET", f"{path}?stream=true"),
        "passed on: another path": lambda: ask(middleware, "GET", "/v1/models"),
        "passed on: a foreground create": lambda: ask(
            middleware, "POST", "/v1/responses", body=foreground
        ),
        f"create and {WORDS} deltas, to the end": finished,
    }
    return {name: await calls(once) for name, once in requests.items()}


def main() -> None:
    """Print the table."""
    print("\nCalls for a request (fewest of several; no server)")
    for name, count in anyio.run(measure).items():
        print(f"  {name:<40}  {count:>8,}")


if __name__ == "__main__":
    main()
