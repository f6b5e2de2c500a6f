"""Processes that fork while they use a file, as servers do that load the app before their workers.

Each program runs in an interpreter of its own: a fork of the one that runs the tests would take
all of them along.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Final

import pytest

from tests import deadlines

pytestmark = pytest.mark.slow

ROOT: Final = Path(__file__).resolve().parents[3]
WAIT_TIMEOUT: Final = deadlines.WAIT_TIMEOUT

PROLOGUE: Final = """
import os, sys, threading
from anyio.from_thread import start_blocking_portal
from contextlib import contextmanager
from response_cache.store import NewRecord
from response_cache.stores.sqlite._store import SQLiteStore

@contextmanager
def opened():
    "Calls operations of a store that this process has opened."
    with start_blocking_portal() as portal:
        store = SQLiteStore(sys.argv[1])
        portal.call(store.open)
        try:
            yield lambda act, *args, **options: portal.call(
                lambda: getattr(store, act)(*args, **options)
            )
        finally:
            portal.call(store.aclose)

def create(do, id):
    new = NewRecord(id=id, incarnation="first", header=b"{}", request=b"{}", snapshot=b"{}",
                    events=[], status="queued", ttl=600.0)
    do("create", new, lease=60.0)

def forked(child):
    "Runs child in a fork, which must end well, and goes on at once."
    pid = os.fork()
    if pid == 0:
        try:
            child()
        except BaseException as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return pid

def reap(pid):
    assert os.waitpid(pid, 0)[1] == 0, "the child has failed"
"""


def run(program: str, path: Path) -> None:
    """A process that runs *program* on the file must end well, and in time."""
    code = PROLOGUE + textwrap.dedent(program)
    result = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=WAIT_TIMEOUT,
    )
    assert result.returncode == 0, result.stderr


def test_what_a_child_commits_is_kept_when_its_parent_closes_the_file(tmp_path: Path) -> None:
    run(
        """
        parent_closed, tell_closed = os.pipe()
        child_wrote, tell_wrote = os.pipe()

        def child():
            with opened() as do:
                create(do, "before")
                os.write(tell_wrote, b"!")
                os.read(parent_closed, 1)
                create(do, "after")

        with opened() as do:
            create(do, "mine")
            pid = forked(child)
            os.read(child_wrote, 1)
        os.write(tell_closed, b"!")
        reap(pid)
        with opened() as do:
            for id in ("mine", "before", "after"):
                assert do("read", id) is not None, id
        """,
        tmp_path / "responses.db",
    )


def test_a_fork_in_the_middle_of_writes_leaves_child_and_parent_working(tmp_path: Path) -> None:
    run(
        """
        is_over = threading.Event()

        def child():
            with opened() as do:
                create(do, f"child-{os.getpid()}")

        def write(do, name):
            n = 0
            while not is_over.is_set():
                create(do, f"{name}-{n}")
                assert do("read", f"{name}-{n}") is not None
                n += 1

        with opened() as do:
            writers = [threading.Thread(target=write, args=(do, name)) for name in "abc"]
            for writer in writers:
                writer.start()
            pids = []
            for _ in range(25):
                pids.append(forked(child))
                reap(pids[-1])
            is_over.set()
            for writer in writers:
                writer.join()
            for pid in pids:
                assert do("read", f"child-{pid}") is not None
        """,
        tmp_path / "responses.db",
    )
