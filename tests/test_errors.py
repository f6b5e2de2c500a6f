"""The tree of exceptions: as drawn, all exported, each with what a client is told."""

from __future__ import annotations

import errno
import inspect
import re

import pytest

from response_cache import errors
from response_cache.errors import (
    APIError,
    InvalidTransition,
    MethodNotAllowed,
    NotFound,
    NotRecorded,
    ResponseCacheError,
    SequenceGap,
    StreamBroken,
    TooManyRequests,
    Unavailable,
    error_body,
)

LINE = re.compile(r"^((?:[ │├└─])*)(\w+)(?: +(\d{3}))?", re.MULTILINE)


def classes() -> dict[str, type[Exception]]:
    return {
        name: each
        for name, each in vars(errors).items()
        if inspect.isclass(each) and issubclass(each, ResponseCacheError)
    }


def drawn() -> dict[str, tuple[str, int | None]]:
    """By name: the parent and the HTTP status, as the module's docstring draws them."""
    assert errors.__doc__ is not None
    tree = errors.__doc__.split("\n\n")[1]
    above: list[tuple[int, str]] = []
    found: dict[str, tuple[str, int | None]] = {}
    for line in tree.splitlines():
        match = LINE.match(line)
        assert match, line
        depth, name, status = len(match[1]), match[2], match[3]
        while above and above[-1][0] >= depth:
            above.pop()
        found[name] = (above[-1][1] if above else "Exception", int(status) if status else None)
        above.append((depth, name))
    return found


def test_the_tree_is_as_the_docstring_draws_it() -> None:
    assert {name: parent for name, (parent, _) in drawn().items()} == {
        name: each.__bases__[0].__name__ for name, each in classes().items()
    }


def test_the_statuses_are_as_drawn() -> None:
    told = {name: status for name, (_, status) in drawn().items() if status}
    assert told == {
        name: each.status_code
        for name, each in classes().items()
        if issubclass(each, APIError) and each is not APIError
    }


def test_all_are_exported() -> None:
    assert sorted(errors.__all__) == sorted(("ErrorBody", *classes(), "error_body"))


def test_an_error_body_has_always_four_keys() -> None:
    assert error_body("No.", type="server_error") == {
        "error": {"message": "No.", "type": "server_error", "param": None, "code": None}
    }
    assert TooManyRequests("Slow.", param="model").body() == {
        "error": {
            "message": "Slow.",
            "type": "rate_limit_error",
            "param": "model",
            "code": "rate_limit_exceeded",
        }
    }


@pytest.mark.parametrize("name", sorted(drawn()))
def test_no_client_is_told_of_a_conflict(name: str) -> None:
    """Official clients repeat a request that was answered with 409."""
    assert getattr(classes()[name], "status_code", 0) != 409


def test_an_api_error_says_which_field_is_wrong_and_when_to_retry() -> None:
    error = TooManyRequests("Too many.", param="background", retry_after=2.5)
    assert (str(error), error.message) == ("Too many.", "Too many.")
    assert (error.param, error.retry_after) == ("background", 2.5)
    assert (error.type, error.code) == ("rate_limit_error", "rate_limit_exceeded")


def test_what_is_not_found_is_told_in_one_wording() -> None:
    assert str(NotFound.of("resp_1")) == "Response with id 'resp_1' not found."
    assert str(NotRecorded.of("resp_1")) == str(NotFound.of("resp_1"))
    assert isinstance(NotRecorded.of("resp_1"), NotRecorded)


def test_a_method_that_is_not_allowed_brings_those_that_are() -> None:
    assert MethodNotAllowed("Not here.", allow="GET, DELETE").allow == "GET, DELETE"


def test_a_broken_stream_is_a_reset_connection() -> None:
    error = StreamBroken.of("its events have expired", id="resp_1")
    assert isinstance(error, ConnectionResetError)
    assert error.errno == errno.ECONNRESET
    assert error.strerror == "the stream of resp_1 was broken off: its events have expired"
    assert StreamBroken.of("it was slow").strerror == "a stream was broken off: it was slow"


def test_a_move_that_the_lifecycle_has_not_names_both() -> None:
    error = InvalidTransition("completed", "cancel")
    assert str(error) == "a response that is completed cannot cancel"
    assert (error.status, error.trigger) == ("completed", "cancel")


def test_a_gap_says_which_number_is_expected() -> None:
    assert SequenceGap("events 7 to 9 leave a gap", tail=5).tail == 5


def test_an_outage_is_an_error_of_the_server() -> None:
    assert (Unavailable.status_code, Unavailable.type) == (503, "server_error")
