"""What does the WSGI middleware cost under gunicorn? Polls, and one stream to eight readers.

Against bare WSGI apps under the same server (one gthread worker): one returns the bytes of the
poll, one is a generator that yields the bytes of the stream in the same batches. The response is
over, so that nothing but the serving is measured. Server and load generator share the machine.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.load import requests_a_second
from benchmarks.polling import closed_response
from benchmarks.table import interleaved, show

CONNECTIONS: Final = 16
SECONDS: Final = 3.0
READERS: Final = 8
EVENTS: Final = 20_000

APPS: Final = """
import sys
from pathlib import Path
from benchmarks.sample import frames
from response_cache_wsgi import ResponseCacheMiddleware

HERE = Path(__file__).parent
SHORT, LONG = frames(8), frames({events})

def upstream(environ, start_response):
    start_response("200 OK", [("content-type", "text/event-stream")])
    return LONG if b'"long"' in environ["wsgi.input"].read() else SHORT

ours = ResponseCacheMiddleware(upstream)

def bare(environ, start_response):
    if environ["QUERY_STRING"]:
        start_response("200 OK", [("content-type", "text/event-stream")])
        return (page for page in PAGES)
    length = ("content-length", str(len(BODY)))
    start_response("200 OK", [("content-type", "application/json"), length])
    return [BODY]

if (HERE / "body").exists():
    BODY = (HERE / "body").read_bytes()
    sizes = map(int, (HERE / "sizes").read_text().split())
    stream = (HERE / "stream").read_bytes()
    PAGES, at = [], 0
    for size in sizes:
        PAGES.append(stream[at : at + size])
        at += size
"""


@contextmanager
def server(app: str, folder: str) -> Iterator[int]:
    """gunicorn with one gthread worker on a free port, ended by its process id."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    options = ["--threads", str(CONNECTIONS), "--keep-alive", "30", "--chdir", folder]
    command = [sys.executable, "-m", "gunicorn", "-k", "gthread", "-b", f"127.0.0.1:{port}"]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    process = subprocess.Popen([*command, *options, f"apps:{app}"], env=environment)
    try:
        deadline = time.monotonic() + 20
        while not _listens(port):
            assert time.monotonic() < deadline, "gunicorn does not start"
            time.sleep(0.05)
        yield port
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.wait(40)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def read(port: int, path: str) -> bytes:
    """The reply to one request, as it comes over the connection, to its end."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        ask = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        connection.sendall(ask.encode())
        return b"".join(iter(lambda: connection.recv(1 << 18), b""))


def batches(reply: bytes) -> list[bytes]:
    """The chunks of a chunked reply: what the server was given at a time."""
    rest = reply.partition(b"\r\n\r\n")[2]
    found: list[bytes] = []
    while True:
        size, _, rest = rest.partition(b"\r\n")
        if int(size, 16) == 0:
            return found
        found.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]


def events_a_second(port: int, path: str) -> float:
    """Events for each second, of all readers together."""
    with ThreadPoolExecutor(READERS) as readers:
        start = time.perf_counter()
        replies = list(readers.map(lambda _: read(port, path), range(READERS)))
        assert all(len(r) > EVENTS * 100 for r in replies), [(len(r), r[:600]) for r in replies]
        return READERS * EVENTS / (time.perf_counter() - start)


def main() -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "apps.py").write_text(APPS.format(events=EVENTS))
        with server("ours", folder) as ours:
            poll = closed_response(ours)
            stream = f"{closed_response(ours, 'long')}?stream=true"
            pages = batches(read(ours, stream))
            (here / "sizes").write_text(" ".join(str(len(page)) for page in pages))
            (here / "stream").write_bytes(b"".join(pages))
            (here / "body").write_bytes(read(ours, poll).partition(b"\r\n\r\n")[2])
            with server("bare", folder) as bare:
                _measure(bare, ours, poll, stream, len(pages))


def _measure(bare: int, ours: int, poll: str, stream: str, batch_count: int) -> None:
    def polls(port: int) -> float:
        return requests_a_second(port, poll, connections=CONNECTIONS, seconds=SECONDS)

    target = {"the middleware": "target: at least 50 % of the bare app"}
    results = interleaved(
        {"a bare WSGI app": lambda: polls(bare), "the middleware": lambda: polls(ours)}, rounds=5
    )
    show("Polls under gunicorn gthread", results, unit="polls/s", targets=target)
    results = interleaved(
        {
            "a bare generator": lambda: events_a_second(bare, stream),
            "the middleware": lambda: events_a_second(ours, stream),
        },
        rounds=7,
    )
    title = f"{EVENTS:,} events in {batch_count} batches to {READERS} readers"
    show(title, results, unit="events/s", targets=target)


if __name__ == "__main__":
    main()
