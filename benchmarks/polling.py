"""How many polls of a closed response of 2 KB does one sidecar worker answer in a second?

The sidecar with the memory store, against a bare ASGI app that returns the same bytes with two
headers, and another that sends the sidecar's headers, too, each under one uvicorn worker with
uvloop and httptools. Server and load generator share the machine.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.load import requests_a_second
from benchmarks.table import interleaved, show

CONNECTIONS = 16
SECONDS = 3.0

BARE = """
import ast
import sys
from pathlib import Path
import uvicorn

BODY = Path(sys.argv[1]).read_bytes()
HEADERS = ast.literal_eval(sys.argv[2])

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})

uvicorn.run(app, port=0, log_level="info", access_log=False, lifespan="off")
"""


@contextmanager
def server(command: list[str]) -> Iterator[int]:
    """A server process on a free port, which it prints, ended by its process id."""
    process = subprocess.Popen(command, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "http://127.0.0.1:" in line:
                yield int(line.split("http://127.0.0.1:")[1].split("/")[0].split(" ")[0])
                return
        raise RuntimeError(f"{command} did not start")
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.wait(20)


def call(
    port: int,
    path: str,
    body: dict[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """One JSON request."""
    data = None if body is None else json.dumps(body).encode()
    url = f"http://127.0.0.1:{port}{path}"
    request = urllib.request.Request(url, data, dict(headers or {}))
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=10) as reply:
        return dict(json.load(reply))


def closed_response(
    port: int, asked: str = "hello", headers: Mapping[str, str] | None = None
) -> str:
    """The path of a completed response; the sidecar's is of about 2 KB."""
    metadata = {"words": "100", "pace": "0"}
    ask = {"model": "m", "input": asked, "background": True, "metadata": metadata}
    path = f"/v1/responses/{call(port, '/v1/responses', ask, headers)['id']}"
    deadline = time.monotonic() + 20
    while call(port, path, headers=headers)["status"] != "completed":
        assert time.monotonic() < deadline, "the response does not complete"
        time.sleep(0.05)
    return path


def main() -> None:
    """Print the table."""
    sidecar = [sys.executable, "-m", "response_cache_server", "serve", "--port", "0"]
    with server(sidecar) as ours, tempfile.TemporaryDirectory() as folder:
        path = closed_response(ours)
        with urllib.request.urlopen(f"http://127.0.0.1:{ours}{path}", timeout=10) as reply:
            body = reply.read()
            headers = [(name.encode(), value.encode()) for name, value in reply.getheaders()]
        same = [pair for pair in headers if pair[0].lower() not in (b"date", b"connection")]
        few = [pair for pair in same if pair[0].lower() in (b"content-type", b"content-length")]
        script, content = Path(folder, "bare.py"), Path(folder, "body.json")
        script.write_text(BARE)
        content.write_bytes(body)
        command = [sys.executable, str(script), str(content)]
        with server([*command, repr(same)]) as bare, server([*command, repr(few)]) as barest:

            def rate(port: int) -> Callable[[], float]:
                return lambda: requests_a_second(
                    port, path, connections=CONNECTIONS, seconds=SECONDS
                )

            ports = {
                "a bare app, two headers": barest,
                "a bare app, the same reply": bare,
                "the sidecar": ours,
            }
            results = interleaved({name: rate(port) for name, port in ports.items()}, rounds=5)
    show(
        f"Polls of a closed response of {len(body):,} bytes",
        results,
        unit="polls/s",
        targets={"the sidecar": "target: at least 60 % of both"},
    )


if __name__ == "__main__":
    main()
