"""JSON at the edge: what upstreams send can be read, and every parser reads what we write."""

from __future__ import annotations

import json
import math
import traceback
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from response_cache._protocol.jsontext import MAX_DEPTH, dump, load, member, renumber
from tests.data import STREAMS

# Texts that look like the members which renumber searches for.
LOOKALIKES = st.sampled_from(
    [
        "sequence_number",
        "obfuscation",
        '"sequence_number":1',
        ',"sequence_number":1,',
        'x,"obfuscation":"a"',
        'a"sequence_number',
        "sequence_number\\",
        ",\\",
        "NaN",
        "-Infinity",
        "a\nb\r",
        "\ud83d",
        "\ude00",
    ]
)
TEXTS = LOOKALIKES | st.text(st.characters(exclude_categories=()), max_size=8)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(TEXTS, children, max_size=3),
    max_leaves=8,
)
OWN_MEMBERS = st.one_of(
    st.tuples(st.just("sequence_number"), st.integers(0, 99) | VALUES),
    st.tuples(st.just("obfuscation"), st.text("aB3", max_size=3) | VALUES),
)
MEMBERS = st.lists(OWN_MEMBERS | st.tuples(TEXTS, VALUES), max_size=5)
BLANKS = st.sampled_from(["", "", " ", "\t", "\n", "\r\n "])


def spelled_with_escapes(text: str) -> str:
    units = text.encode("utf-16-be", "surrogatepass")
    return (
        '"' + "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2)) + '"'
    )


@st.composite
def spellings(draw: st.DrawFn, members: list[tuple[str, Any]]) -> bytes:
    """One of the ways to write an object down: white space, escapes, members that come twice."""

    def spelled(member: tuple[str, Any]) -> str:
        key, value = member
        name = spelled_with_escapes(key) if draw(st.integers(0, 5)) == 0 else json.dumps(key)
        return blank() + name + blank() + ":" + blank() + json.dumps(value, separators=separators)

    blanks = draw(st.sampled_from([st.just(""), st.just(" "), BLANKS]))
    separators = draw(st.sampled_from([(",", ":"), (", ", ": ")]))

    def blank() -> str:
        return draw(blanks)

    text = blank() + "{" + (blank() + ",").join(map(spelled, members)) + blank() + "}" + blank()
    return text.encode()


def strictly(data: bytes) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(data, parse_constant=refuse)


def same(left: Any, right: Any) -> bool:
    """Equal as JSON: True is not 1, 1 is not 1.0, order of members does not matter."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@given(VALUES)
def test_what_is_dumped_is_loaded_again(value: Any) -> None:
    data = dump(value)
    joined = json.loads(json.dumps(value))  # two halves in a row become one character
    assert same(load(data), joined)
    assert same(strictly(data), joined)


@given(VALUES)
def test_a_dump_is_one_line(value: Any) -> None:
    assert not {b"\n", b"\r"} & {bytes([byte]) for byte in dump(value)}


def test_a_dump_is_compact() -> None:
    assert dump({"a": [1, 2.5, "x y"], "b": None}) == b'{"a":[1,2.5,"x y"],"b":null}'


def test_a_dump_with_lone_surrogates_is_compact_too() -> None:
    assert dump({"a": ["\ud83d", 1]}) == b'{"a":["\\ud83d",1]}'


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("text", ["plain", "lone \ud83d"])
def test_numbers_that_json_lacks_are_dumped_as_null(number: float, text: str) -> None:
    assert strictly(dump({"x": [number], "text": text})) == {"x": [None], "text": text}


@pytest.mark.parametrize("text", [b"NaN", b"Infinity", b"-Infinity"])
def test_numbers_that_json_lacks_are_loaded_as_null(text: bytes) -> None:
    assert load(b'{"x":[%b],"text":"NaN"}' % text) == {"x": [None], "text": "NaN"}


def test_a_number_too_large_for_a_float_is_dumped_as_null() -> None:
    assert dump(load(b"[1e400,-1e400]")) == b"[null,null]"


@pytest.mark.parametrize("text", ["plain", "\ud83d"])
def test_long_integers_stay_exact(text: str) -> None:
    number = 123456789012345678901234567890
    assert load(dump([number, text])) == [number, text]


def test_a_lone_surrogate_survives() -> None:
    assert load(b'"a\\ud83d"') == "a\ud83d"
    assert load(dump("a\ud83d")) == "a\ud83d"


def test_a_pair_cut_into_two_deltas_reads_as_one_character_when_joined() -> None:
    joined = load(b'"a\\ud83d"') + load(b'"\\ude00b"')
    assert strictly(dump(joined)) == "a\N{GRINNING FACE}b"


def test_a_byte_order_mark_is_read_over() -> None:
    assert load(b'\xef\xbb\xbf{"a":1}') == {"a": 1}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'{"secret":tru}', id="bad-literal"),
        pytest.param(b'{"secret":1,}', id="trailing-comma"),
        pytest.param(b'{"secret":1} secret', id="trailing-text"),
        pytest.param(b'"secret\xff"', id="invalid-utf-8"),
        pytest.param(b'"secret\xed\xa0\xbd"', id="encoded-surrogate"),
        pytest.param('"secret"'.encode("utf-16"), id="utf-16"),
        pytest.param(b'"secret\n"', id="raw-line-end-in-a-string"),
        pytest.param(b'["secret",%b]' % (b"1" * 5000), id="number-too-long"),
        pytest.param(b'["secret",%b]' % nested(MAX_DEPTH), id="one-level-too-deep"),
        pytest.param(b'["secret",%b]' % nested(100_000), id="far-too-deep"),
    ],
)
def test_malformed_data_is_a_value_error_that_does_not_quote_it(data: bytes) -> None:
    with pytest.raises(ValueError, match="JSON") as caught:
        load(data)
    assert "secret" not in "".join(traceback.format_exception(caught.value))
    assert not isinstance(caught.value, UnicodeError | json.JSONDecodeError)  # they carry the data


@pytest.mark.parametrize("levels", [1, 150, 250, MAX_DEPTH])
def test_what_was_loaded_can_be_dumped_however_deep(levels: int) -> None:
    assert dump(load(nested(levels))) == nested(levels)


def test_a_value_too_deep_to_dump_is_a_value_error() -> None:
    value: list[Any] = []
    for _ in range(200_000):
        value = [value]
    with pytest.raises(ValueError, match="too deep"):
        dump(value)


@given(MEMBERS.flatmap(spellings), st.integers(0, 10**12))
@example(b'{"a":{"sequence_number":1},"sequence_number" :1}', 2)
@example(b'{"sequence_n\\u0075mber":1,"a":[0,{"b":0,"sequence_number":1}]}', 2)
@example(b'{"obfuscation":"a","a":{"b":0,"obfuscation":"a"}}', 2)
@example(b'{"a":0,"obf\\u0075scation":"a","b":{"c":0,"obfuscation":"a"}}', 2)
@example(b'{"a":0,"sequence_number":1,"sequence_number":12}', 2)
@example(b'{"a":0,"sequence_number":-0}', 2)
@example(b'{"a":0,"sequence_number":true}', 2)
@example(b'{"a,\\"sequence_number":1,"b\\"sequence_number":1}', 2)
@example(b'{"a":0,"obfuscation":"\\ud83d"}', 2)
@example(b'{"obfuscation":"a"}', 2)
@example(b"{}", 2)
def test_renumbering_changes_two_members_and_nothing_else(data: bytes, number: int) -> None:
    event = load(data)
    expected = {**event, "sequence_number": number}
    expected.pop("obfuscation", None)
    written = renumber(data, event, number)
    assert same(load(written), expected)
    assert b"\n" not in written
    assert b"\r" not in written


@given(MEMBERS.flatmap(spellings))
def test_renumbering_twice_is_renumbering_once(data: bytes) -> None:
    once = renumber(data, load(data), 7)
    twice = renumber(once, load(once), 8)
    assert same(load(twice), load(renumber(data, load(data), 8)))


@given(MEMBERS.flatmap(spellings))
def test_renumbering_leaves_the_event_as_it_was(data: bytes) -> None:
    event = load(data)
    renumber(data, event, 7)
    assert same(event, load(data))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(
            b'{"type":"t","obfuscation":"aB3","n":1.50,"sequence_number":7,"u":"\\/\\u00e9"}',
            b'{"type":"t","n":1.50,"sequence_number":41,"u":"\\/\\u00e9"}',
            id="number-and-obfuscation",
        ),
        pytest.param(
            b'{"type":"t","sequence_number":7,"n":1.50,"obfuscation":"aB3"}',
            b'{"type":"t","sequence_number":41,"n":1.50}',
            id="obfuscation-last",
        ),
        pytest.param(
            b'{"type":"t","delta":"\\ud83d","sequence_number":7}',
            b'{"type":"t","delta":"\\ud83d","sequence_number":41}',
            id="lone-surrogate",
        ),
        pytest.param(
            b'{"type":"t","n":1.50,"sequence_number":7,"sequence_numbers":[1.0]}',
            b'{"type":"t","n":1.50,"sequence_number":41,"sequence_numbers":[1.0]}',
            id="longer-key",
        ),
        pytest.param(
            b'{"type":"t","n":1.50,"delta":"NASA, India"}',
            b'{"sequence_number":41,"type":"t","n":1.50,"delta":"NASA, India"}',
            id="no-number",
        ),
        pytest.param(
            b'{"type":"t","n":1.50,"a":{"sequence_number":7}}',
            b'{"sequence_number":41,"type":"t","n":1.50,"a":{"sequence_number":7}}',
            id="only-a-nested-number",
        ),
        pytest.param(b"{}", b'{"sequence_number":41}', id="empty-object"),
    ],
)
def test_plain_events_stay_byte_for_byte_as_received(data: bytes, expected: bytes) -> None:
    assert renumber(data, load(data), 41) == expected


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b'\xef\xbb\xbf{"type":"t","x":null}', id="byte-order-mark"),
        pytest.param(b'{"type":"t",\n"x":null,"sequence_number":7}', id="line-feed"),
        pytest.param(b'{"type":"t",\r"x":null,"sequence_number":7}', id="carriage-return"),
        pytest.param(b'{"type":"t","x":NaN,"sequence_number":7}', id="not-a-number"),
        pytest.param(b'{"type":"t","x":-Infinity,"sequence_number":7}', id="infinity"),
        pytest.param(b'{"sequence_number":7,"type":"t","x":null}', id="number-first"),
        pytest.param(b'{"type": "t", "sequence_number": 7, "x": null}', id="spaces"),
        pytest.param(b'{"type":"t","x":null,"obfuscation":""}', id="empty-obfuscation"),
        pytest.param(b'{"type":"t","x":null,"obfuscation":"\\u0061"}', id="escaped-obfuscation"),
    ],
)
def test_unusual_events_are_written_anew_as_strict_json(data: bytes) -> None:
    written = renumber(data, load(data), 41)
    assert strictly(written) == {"type": "t", "x": None, "sequence_number": 41}
    assert written == dump(strictly(written))


def test_every_recorded_event_keeps_its_meaning_under_a_new_number() -> None:
    recordings = sorted(STREAMS.glob("*.jsonl"))
    assert recordings
    for recording in recordings:
        for line in filter(None, recording.read_bytes().splitlines()):
            event = load(line)
            expected = {**event, "sequence_number": 41}
            expected.pop("obfuscation", None)
            assert same(load(renumber(line, event, 41)), expected), recording.name


# --- One member of an object, as it came ----------------------------------------------------------


@given(st.dictionaries(TEXTS, VALUES, max_size=4), st.booleans())
def test_a_member_is_the_part_of_the_text_that_is_its_value(
    body: dict[str, Any], indented: bool
) -> None:
    text = json.dumps(body, indent=1 if indented else None)
    for name in body:
        found = member(text.encode(), name)
        assert found is not None
        assert json.loads(found) == body[name]
        assert found.decode() in text
    assert member(text.encode(), "never such a name") is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'{"a":1,"input":"x","b":2}', b'"x"'),
        (b'\xef\xbb\xbf{"input" : 1.50 }', b"1.50"),
        (b'{"input":1,"input":[2]}', b"[2]"),
        (b'{"a":{"input":1}}', None),
        (b'{"in\\u0070ut":NaN}', b"NaN"),
        (b'{"input":%s}' % (b"1" * 5000), b"1" * 5000),
        (b"{}", None),
    ],
    ids=["between", "mark", "last", "inner", "escaped", "long number", "empty"],
)
def test_a_member_is_found_as_parsers_find_it(text: bytes, found: bytes | None) -> None:
    assert member(text, "input") == found


def test_a_member_as_deep_as_is_read_is_found() -> None:
    deep = b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1)
    text = b'{"input":%b}' % deep
    load(text)
    assert member(text, "input") == deep
