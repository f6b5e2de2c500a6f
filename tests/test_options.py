"""The options of a cache: ranges, conversions, and what is said of a wrong one."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from response_cache.options import (
    Options,
    complaints,
    did_you_mean,
    options_of,
    usable_options,
)


def error_of(**given: Any) -> ValidationError:
    with pytest.raises(ValidationError) as raised:
        Options(**given)
    return raised.value


def test_options_are_given_by_name_or_have_their_default() -> None:
    options = options_of({"ttl": 60})
    assert options.ttl == 60.0
    assert options.stream_ttl == Options().stream_ttl == 600.0


def test_options_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Options().ttl = 1.0


def test_the_secret_is_not_shown() -> None:
    options = options_of({"secret": "hush"})
    assert options.secret.get_secret_value() == "hush"
    assert "hush" not in repr(options)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tttl": 1}, "tttl: unknown option (did you mean ttl?)"),
        ({"zzz": 1}, "zzz: unknown option"),
        ({"ttl": 0}, "ttl: Input should be greater than 0"),
        ({"paths": ["/v1/chat"]}, "paths: '/v1/chat' must begin with '/' and end with"),
        ({"paths": ["/{a}b/responses"]}, "may have braces around whole segments only"),
        ({"cors_origins": "https://a.example/"}, "cors_origins: 'https://a.example/' must be"),
    ],
)
def test_a_mistake_is_told_in_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        options_of(given)
    assert "\n" not in str(raised.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"^ttl: .*; lese: unknown option"):
        options_of({"ttl": 0, "lese": 1})


def test_a_suggestion_may_be_another_parameter_of_the_caller() -> None:
    with pytest.raises(ValueError, match=r"did you mean owner\?"):
        options_of({"onwer": 1}, beside=("owner",))


def test_a_complaint_names_the_option_as_users_do() -> None:
    (complaint,) = complaints(error_of(tttl=1), lambda name: f"--{name}")
    assert complaint == "--tttl: unknown option (did you mean --ttl?)"


def test_no_complaint_repeats_a_value() -> None:
    (complaint,) = complaints(error_of(ttl="hush"))
    assert complaint.startswith("ttl: ")
    assert "hush" not in complaint


def test_what_is_usable_is_used_and_the_rest_left_at_its_default() -> None:
    options = usable_options({"ttl": -1, "tttl": 5, "lease": 7.0})
    assert (options.ttl, options.lease) == (Options().ttl, 7.0)


def test_what_is_not_near_to_anything_gets_no_suggestion() -> None:
    assert did_you_mean("xyz", ["ttl", "lease"]) == ""
    assert did_you_mean("leese", ["ttl", "lease"]) == " (did you mean lease?)"
