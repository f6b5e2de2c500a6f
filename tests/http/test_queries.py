"""What a read asks for in its headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from response_cache.http import _queries as queries


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("wait=5", 5),
        ("WAIT = 5", 5),
        ('wait="5"', 5),
        ("respond-async,wait=5", 5),
        ("return=minimal; x, wait=5; y", 5),
        ("wait=0", 0),
        ("wait=0005", 5),
        ("wait=5, wait=7", 5),
        ("wait=99999999999999999999", 50),
        ("wait=" + "9" * 9999, 50),
        ('a="x, wait=1", wait=5', 5),
        ('a="\\", wait=1", wait=5', 5),
        (",, ,wait=5,", 5),
        ("", None),
        ("wait", None),
        ("wait=", None),
        ('wait=""', None),
        ("wait=soon", None),
        ("wait=soon, wait=5", None),  # the first counts
        ("wait=-1", None),
        ("wait=1.5", None),
        ('wait="5', None),
        ("wait=5 6", None),
        ("await=5", None),
        ("a; wait=5", None),
        ('a="x, wait=5', None),
        ("wait=٥", None),
    ],
)
def test_a_wait_is_read_as_preferences_are_written(prefer: str, seconds: int | None) -> None:
    assert queries.wait_seconds(prefer, 50.9) == seconds


@given(st.text(st.sampled_from('wait=5,; "\\x'), max_size=30))
def test_no_preference_is_an_error(prefer: str) -> None:
    assert queries.wait_seconds(prefer, 50) in {None, *range(51)}


@pytest.mark.parametrize(
    "unit", ['"', "\\", '"\\', 'a="x",', ",", "wait=0", '"a', "\\\\", "0", " "]
)
@pytest.mark.parametrize("end", ["", "x", "\\", '"', ","])
def test_a_long_header_is_read_in_one_go(unit: str, end: str) -> None:
    """With a pattern that goes back and forth this would take minutes."""
    for start in ("", '"', "wait=", 'wait="'):
        assert queries.wait_seconds(start + unit * 20_000 + end, 50) in {None, *range(51)}
