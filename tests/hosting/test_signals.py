"""Stop signals: ours first, then the server's, and nothing where no server listens."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

import anyio

from response_cache._eventloop import call_soon
from response_cache._hosting import on_stop_signal
from tests.deadlines import WAIT_TIMEOUT


async def noted(calls: list[str], least: int = 1) -> None:
    with anyio.fail_after(WAIT_TIMEOUT):
        while len(calls) < least:  # noqa: ASYNC110 - a signal sets no event
            await anyio.sleep(0.001)


async def turn_of_the_loop() -> None:
    """Return when the event loop has run all that was handed to it before."""
    turned = anyio.Event()
    call_soon()(turned.set)
    await turned.wait()


async def test_a_signal_reaches_us_and_then_the_server(servers_handler: list[int]) -> None:
    calls: list[str] = []
    handler = signal.getsignal(signal.SIGTERM)
    with on_stop_signal(lambda: calls.append("ours")):
        assert signal.getsignal(signal.SIGTERM) is not handler
        os.kill(os.getpid(), signal.SIGTERM)
        await noted(calls)
    assert servers_handler == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is handler


async def test_after_the_end_a_signal_is_the_server_s_alone(servers_handler: list[int]) -> None:
    calls: list[str] = []
    with on_stop_signal(lambda: calls.append("ours")):
        ours = signal.getsignal(signal.SIGTERM)
    assert callable(ours)
    ours(signal.SIGTERM, None)  # somebody chained to ours and calls it still
    await turn_of_the_loop()
    assert (servers_handler, calls) == ([signal.SIGTERM], [])


async def test_a_signal_just_before_the_end_starts_nothing_after_it(
    servers_handler: list[int],
) -> None:
    calls: list[str] = []
    with on_stop_signal(lambda: calls.append("ours")):
        os.kill(os.getpid(), signal.SIGTERM)
    await turn_of_the_loop()
    assert (servers_handler, calls) == ([signal.SIGTERM], [])


async def test_a_handler_that_came_after_ours_stays(servers_handler: list[int]) -> None:
    def later(number: int, frame: FrameType | None) -> None:
        """Another server's."""

    with on_stop_signal(lambda: None):
        signal.signal(signal.SIGTERM, later)
    assert signal.getsignal(signal.SIGTERM) is later


async def test_signals_that_nobody_handles_are_left_alone() -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with on_stop_signal(lambda: None):
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


async def test_unwanted_signals_are_left_alone(servers_handler: list[int]) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    with on_stop_signal(lambda: None, False):
        assert signal.getsignal(signal.SIGTERM) is handler


def test_outside_of_the_main_thread_signals_are_left_alone(servers_handler: list[int]) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    seen: list[Any] = []

    async def look() -> None:
        with on_stop_signal(lambda: None):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=anyio.run, args=(look,))
    thread.start()
    thread.join()
    assert seen == [handler]
