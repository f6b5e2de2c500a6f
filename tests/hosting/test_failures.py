"""What clients and operators are told of a store that cannot be opened."""

from __future__ import annotations

import logging

import pytest

from response_cache._hosting import log_not_open, naming_the_cause, not_open, why_not_open
from response_cache.errors import Misconfigured, StoreUnavailable, Unavailable


def test_clients_are_not_told_why_and_operators_are_without_secrets() -> None:
    error = StoreUnavailable("cannot reach redis://user:hunter2@db.example/0")
    assert "db.example" not in not_open().message
    assert not_open().retry_after == 1.0
    assert why_not_open(error).startswith("the response store could not be opened: cannot reach")
    assert "db.example" in why_not_open(error)
    assert "hunter2" not in why_not_open(error)
    assert why_not_open(Misconfigured("unknown option ttll")) == "unknown option ttll"


@pytest.mark.parametrize("error", [StoreUnavailable("ours"), OSError("of a driver")])
def test_a_traceback_is_logged_where_the_words_are_not_ours(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    log_not_open(logging.getLogger("host"), error)
    assert [record.getMessage() for record in caplog.records] == [why_not_open(error)]
    assert (caplog.records[0].exc_info is None) is isinstance(error, StoreUnavailable)


def test_who_opens_the_store_now_is_told_the_cause() -> None:
    with pytest.raises(Unavailable, match="no route") as caught, naming_the_cause():
        raise not_open() from StoreUnavailable("no route")
    assert caught.value.retry_after == 1.0
    with pytest.raises(Unavailable, match="shutting down"), naming_the_cause():
        raise Unavailable("This server is shutting down.")
