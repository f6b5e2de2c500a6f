"""Our lines in the log of a LiteLLM proxy."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from response_cache_litellm._proxy.log import set_up_log


@contextmanager
def bare_log() -> Iterator[logging.Logger]:
    """Our logger, in a process that has set up neither it nor the root's (pytest has)."""
    ours, root = logging.getLogger("response_cache"), logging.getLogger()
    before = ours.level, ours.handlers[:], root.handlers[:]
    ours.setLevel(logging.NOTSET)
    ours.handlers[:], root.handlers[:] = [], []
    try:
        yield ours
    finally:
        ours.setLevel(before[0])
        ours.handlers[:], root.handlers[:] = before[1], before[2]


def test_our_lines_are_seen_where_no_log_is_set_up(capsys: pytest.CaptureFixture[str]) -> None:
    with bare_log():
        for _ in range(2):
            set_up_log(None)
        logging.getLogger("response_cache.litellm").info("a line")
    assert capsys.readouterr().err == "INFO: response_cache.litellm: a line\n"


def test_the_variable_sets_the_level(capsys: pytest.CaptureFixture[str]) -> None:
    with bare_log() as ours:
        set_up_log("error")
        ours.warning("no line")
        ours.error("a line")
    assert capsys.readouterr().err == "ERROR: response_cache: a line\n"


def test_a_log_that_the_host_has_set_up_is_the_hosts(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line is written once, and by its handlers."""
    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    with bare_log() as ours:
        logging.getLogger().addHandler(Kept())
        set_up_log(None)
        assert ours.level == logging.NOTSET
        set_up_log("info")
        ours.info("a line")
    assert lines == ["a line"]
    assert capsys.readouterr().err == ""
