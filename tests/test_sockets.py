"""What the kernel has received on a socket."""

from __future__ import annotations

import os
import resource
import select
import socket
from collections.abc import Iterator

import pytest

from response_cache._sockets import is_readable


@pytest.fixture(params=["poll", "select"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call of the operating system; Windows has no poll()."""
    if request.param == "select":
        monkeypatch.delattr(select, "poll")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


Pair = tuple[socket.socket, socket.socket]
EACH_WAY = pytest.mark.usefixtures("way")


@EACH_WAY
def test_a_silent_connection_has_nothing_to_read(pair: Pair) -> None:
    ours, _ = pair
    assert is_readable(ours.fileno()) is False


@EACH_WAY
def test_what_we_send_ourselves_is_nothing_to_read(pair: Pair) -> None:
    ours, _ = pair
    ours.send(b"x")
    assert is_readable(ours.fileno()) is False


@EACH_WAY
def test_a_byte_can_be_read_until_it_was_read(pair: Pair) -> None:
    ours, theirs = pair
    theirs.send(b"x")
    assert is_readable(ours.fileno()) is True
    assert is_readable(ours.fileno()) is True  # looking takes nothing away
    assert ours.recv(1) == b"x"
    assert is_readable(ours.fileno()) is False


@EACH_WAY
def test_the_end_of_a_connection_can_be_read(pair: Pair) -> None:
    ours, theirs = pair
    theirs.close()
    assert is_readable(ours.fileno()) is True
    assert ours.recv(1) == b""


def test_a_number_that_select_cannot_take_is_looked_at(pair: Pair) -> None:
    ours, theirs = pair
    high = 1500
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, high + 1), hard))
    try:
        os.dup2(ours.fileno(), high)
        assert is_readable(high) is False
        theirs.send(b"x")
        assert is_readable(high) is True
    finally:
        os.close(high)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
