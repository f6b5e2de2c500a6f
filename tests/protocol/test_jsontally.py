"""How many values a JSON text holds, compared with what a parser finds in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from response_cache._protocol import jsontally as tally
from response_cache._protocol.jsontally import BYTES_OF_A_VALUE, holds_more

TRICKY = st.text(st.sampled_from('"\\,[]{}: ntu0é\n'), max_size=12)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(0, 99) | TRICKY,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TRICKY, inner, max_size=4),
    max_leaves=20,
)


def values_in(value: Any) -> int:
    """How many there are, empty arrays and objects twice."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    is_empty = isinstance(value, dict | list) and not value
    return 1 + is_empty + sum(map(values_in, inner))


@pytest.fixture(params=[1, 2, 3, 7, 1 << 18], autouse=True)
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strings and escapes are cut in every way by pieces as short as this."""
    monkeypatch.setattr(tally, "_PIECE", request.param)
    monkeypatch.setattr(tally, "_LEAST", 0)  # short texts are counted, too


@given(json_values, st.sampled_from([None, 2]), st.booleans())
def test_it_counts_what_a_parser_finds(value: Any, indent: int | None, in_ascii: bool) -> None:
    data = json.dumps(value, indent=indent, ensure_ascii=in_ascii).encode()
    count = values_in(value)
    assert holds_more(data, count - 1)
    assert not holds_more(data, count)


@pytest.mark.parametrize("text", ["," * 99, "{[" * 99, '\\"[' * 99, "\\\\" * 99, '\\\\"' * 99])
def test_what_stands_in_strings_counts_nothing(text: str) -> None:
    for value in (text, [text, text], {text: text}):
        assert not holds_more(json.dumps(value).encode(), 4)


def test_white_space_counts_nothing() -> None:
    assert not holds_more(b" \t\r\n" * 9999 + b"1" + b" " * 9999, 1)


@pytest.mark.parametrize("number", ["9", "1.5", "1e", "-"])
def test_long_numbers_count_by_their_bytes(number: str) -> None:
    data = (number * 10 * BYTES_OF_A_VALUE).encode()
    size = len(data) // BYTES_OF_A_VALUE
    assert holds_more(data, size - 1)
    assert not holds_more(data, size)


@pytest.mark.parametrize(
    "data", [b"[1,2,3", b'["a","b', b'{"a":1,"b":', b'["a\\', b'[1,2,3] "', b"[[[[", b"\\[,,,"]
)
def test_of_what_is_not_json_it_counts_what_comes_before_the_fault(data: bytes) -> None:
    assert holds_more(data, data.count(b",") + data.count(b"["))
