"""What is read of a create request, and the body that its upstream is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from response_cache._protocol import jsontext as codec
from response_cache._protocol.requests import (
    CreateRequest,
    create_request,
    parse_create,
    references,
    upstream_body,
    with_upstream_ids,
    without_stream,
)
from response_cache._protocol.responses import queued_response
from response_cache.errors import InvalidRequest

SECRET = "xyzzy-never-repeat-me"

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(st.text(), json_values, max_size=5)


def create(**body: Any) -> CreateRequest:
    return parse_create(json.dumps(body).encode())


def refused(data: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse_create(data)
    assert SECRET not in caught.value.message
    return caught.value


# --- Reading -----------------------------------------------------------------------------------


def test_the_fields_that_decide_our_part_are_read() -> None:
    request = create(
        background=True,
        stream=True,
        store=False,
        metadata={"job": "7"},
        previous_response_id="resp_0",
        input="hi",
    )
    assert (request.background, request.stream, request.store) == (True, True, False)
    assert request.metadata == {"job": "7"}
    assert request.previous_response_id == "resp_0"
    assert request.body["input"] == "hi"


NAMES = ("background", "stream", "store", "metadata", "previous_response_id", "input", "model")


@pytest.mark.parametrize("body", [{}, dict.fromkeys(NAMES)], ids=["absent", "null"])
def test_what_is_absent_or_null_means_a_stored_foreground_response(body: dict[str, Any]) -> None:
    request = create(**body)
    assert (request.background, request.stream, request.store) == (False, False, True)
    assert request.metadata == {}
    assert request.previous_response_id is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"input": "xyzzy-never-repeat-me"',
        b"\xff{}",
        b"background=true",
        b"[" * 100_000,
        b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_is_not_json_is_refused_without_naming_a_field(data: bytes) -> None:
    assert refused(data).param is None


@pytest.mark.parametrize("data", [b"[]", b'"xyzzy-never-repeat-me"', b"null", b"1", b"true"])
def test_json_that_is_no_object_is_refused_without_naming_a_field(data: bytes) -> None:
    assert refused(data).param is None


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *[(name, SECRET) for name in ("background", "stream", "store", "metadata")],
        *[(name, 1) for name in ("background", "stream", "store", "metadata", "model", "input")],
        *[(name, {SECRET: SECRET}) for name in ("input", "model", "previous_response_id")],
        ("previous_response_id", 1),
        ("metadata", [SECRET]),
        ("input", True),
    ],
)
def test_a_field_of_another_type_is_refused_by_name(name: str, wrong: object) -> None:
    error = refused(json.dumps({name: wrong}).encode())
    assert error.param == name
    assert name in error.message


@pytest.mark.parametrize(
    "metadata",
    [
        {SECRET: 1},
        {SECRET: None},
        {SECRET: {"nested": SECRET}},
        {SECRET * 4: "long key"},
        {"long value": "v" * 513},
        {f"key {n}": "v" for n in range(17)},
    ],
)
def test_metadata_outside_its_bounds_is_refused(metadata: dict[str, object]) -> None:
    assert refused(json.dumps({"metadata": metadata}).encode()).param == "metadata"


JUDGED_BY_THE_APP: list[dict[str, Any]] = [
    {"metadata": {"tags": ["team:search"], "spend_logs_metadata": {"project": "x"}}},
    {"metadata": {"trace_id": "t" * 600, "k" * 100: None, "n": 1}},
    {"metadata": {f"key {n}": "v" for n in range(40)}},
    {"metadata": [1]},
    {"metadata": 5},
    {"input": {"role": "user", "content": "hi"}},
    {"input": 5},
    {"model": 5},
    {"store": "no"},
    {"previous_response_id": 5},
]


@pytest.mark.parametrize("body", JUDGED_BY_THE_APP)
def test_where_the_app_judges_a_request_goes_on_as_it_came(body: dict[str, Any]) -> None:
    request = create_request({**body, "background": True}, is_checked=False)
    sent = json.loads(upstream_body(request, {}))
    assert sent == {**body, "stream": True}
    echoed = queued_response(request, id="resp_1", created_at=1)["metadata"]
    given = body.get("metadata")
    assert echoed == request.metadata == (given if isinstance(given, dict) else {})


# fmt: off
TEXTS: list[tuple[str, dict[str, Any]]] = [
    ('{"tags": ["a"]}',             {"tags": ["a"]}),
    ("no json",                     {}),
    ("[1]",                         {}),
    ("\ud83d",                     {}),
    ('{"a": "%s"}' % ("x" * 2**17), {}),
]
# fmt: on


@pytest.mark.parametrize(("text", "shown"), TEXTS, ids=range(len(TEXTS)))
def test_metadata_as_text_is_shown_as_the_object_in_it(text: str, shown: dict[str, Any]) -> None:
    request = create_request({"background": True, "metadata": text}, is_checked=False)
    assert queued_response(request, id="resp_1", created_at=1)["metadata"] == shown
    assert json.loads(upstream_body(request, {}))["metadata"] == text


@pytest.mark.parametrize("name", ["background", "stream"])
def test_what_a_reply_depends_on_is_judged_everywhere(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        create_request({name: "true"}, is_checked=False)
    assert caught.value.param == name


@pytest.mark.parametrize(
    "options",
    [
        None,
        {},
        {"completion_window": None},
        {"completion_window": "soonest"},
        {"continuation_id": None, "completion_window": "soonest"},
    ],
)
def test_background_work_without_delay_is_taken_and_is_not_the_upstreams(options: object) -> None:
    request = create(background=True, background_options=options)
    sent = json.loads(upstream_body(request, {}))
    assert sent == {"stream": True}


@pytest.mark.parametrize("is_checked", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"completion_window": "2h"},
        {"completion_window": "8h"},
        {"completion_window": "tomorrow"},
        {"completion_window": ""},
        {"completion_window": 2},
        {"completion_window": ["soonest"]},
        {"continuation_id": "chat-1"},
        {"continuation_id": ""},
        {"continuation_id": 7},
        {"completion_window": "soonest", "continuation_id": "chat-1"},
        {"of_a_later_release": True},
        "soonest",
        [],
        5,
        False,
    ],
)
def test_background_options_that_cannot_be_kept_are_refused(
    options: object, is_checked: bool
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        create_request({"background": True, "background_options": options}, is_checked=is_checked)
    assert caught.value.param == "background_options"
    assert "chat-1" not in caught.value.message


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (None, False),
        ({}, False),
        ({"include_obfuscation": None}, False),
        ({"include_obfuscation": False, "include_usage": True}, False),
        ({"include_obfuscation": True}, True),
    ],
)
def test_padding_is_for_clients_that_ask_for_it(options: object, expected: bool) -> None:
    request = create(background=True, stream_options=options)
    assert request.include_obfuscation is expected
    assert json.loads(upstream_body(request, {}))["stream_options"] == options


@pytest.mark.parametrize("options", ["on", 1, [], True, {"include_obfuscation": "true"}])
def test_padding_is_asked_for_by_a_boolean(options: object) -> None:
    body = {"background": True, "stream_options": options}
    assert refused(json.dumps(body).encode()).param == "stream_options"
    assert not create_request(body, is_checked=False).include_obfuscation


def test_metadata_at_its_bounds_is_taken() -> None:
    metadata = {f"{n:064}": "é" * 512 for n in range(16)}
    assert create(metadata=metadata).metadata == metadata


def test_a_lone_surrogate_is_no_reason_to_refuse() -> None:
    request = parse_create(
        b'{"background": true, "input": "\\ud83d", "metadata": {"k": "\\ud83d"}}'
    )
    assert request.metadata == {"k": "\ud83d"}
    assert json.loads(upstream_body(request, {}))["input"] == "\ud83d"
    assert len(request.fingerprint) == 64


def test_the_text_form_of_a_request_shows_no_content() -> None:
    assert SECRET not in repr(create(input=SECRET, metadata={SECRET: SECRET}))


def verdict(body: dict[str, Any]) -> str | None:
    try:
        return None if create(**body).body == body else "changed"
    except InvalidRequest as error:
        return error.param


@given(st.dictionaries(st.sampled_from(NAMES), json_values))
def test_any_json_object_is_read_or_refused_by_name(body: dict[str, Any]) -> None:
    assert verdict(body) in {None, *body}


@given(json_objects)
def test_fields_that_are_not_read_are_never_refused(body: dict[str, Any]) -> None:
    assert verdict({f"x-{key}": value for key, value in body.items()}) is None


def test_a_request_nested_as_deep_as_may_be_can_be_used() -> None:
    depth = codec.MAX_DEPTH - 1
    request = parse_create(b'{"x": ' + b"[" * depth + b"]" * depth + b"}")
    sent = upstream_body(request, {})
    assert parse_create(sent).body["x"] == request.body["x"]
    assert len(request.fingerprint) == 64


# --- Fingerprint -------------------------------------------------------------------------------


@given(json_objects)
def test_key_order_and_white_space_do_not_change_the_fingerprint(inner: dict[str, Any]) -> None:
    body = {"input": "hi", "nested": inner}
    turned = {"nested": dict(reversed(inner.items())), "input": "hi"}
    spaced = json.dumps(turned, indent=3, ensure_ascii=False).encode()
    assert parse_create(spaced).fingerprint == create(**body).fingerprint


def test_nested_key_order_does_not_change_the_fingerprint() -> None:
    one = parse_create(b'{"tools":[{"a":1,"b":{"c":2,"d":3}}],"input":"x"}')
    two = parse_create(b'{"input":"x","tools":[{"b":{"d":3,"c":2},"a":1}]}')
    assert one.fingerprint == two.fingerprint


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (b'{"input":"x"}', b'{"input":"y"}'),
        (b'{"input":"x"}', b'{"input":"x","store":null}'),
        (b'{"seed":1}', b'{"seed":true}'),
        (b'{"seed":1}', b'{"seed":"1"}'),
        (b'{"input":["a","b"]}', b'{"input":["b","a"]}'),
        (b'{"seed":100000000000000000000000000001}', b'{"seed":100000000000000000000000000002}'),
    ],
)
def test_another_body_has_another_fingerprint(one: bytes, two: bytes) -> None:
    assert parse_create(one).fingerprint != parse_create(two).fingerprint


def test_the_fingerprint_is_the_same_in_each_release() -> None:
    """It is kept in the store, where another version of this library may compare it."""
    request = parse_create(b'{"input": "h\\u00e9", "background": true, "temperature": 0.5}')
    assert request.fingerprint == (
        "d0a3e51109e4dd322f5492890ab788d0fa55e44e48cdc16620c6f9ad523fda29"
    )


# --- What the upstream is sent -----------------------------------------------------------------


def test_the_upstream_is_asked_in_the_foreground_and_streamed() -> None:
    request = create(
        model="m",
        background=True,
        background_options={"completion_window": "soonest"},
        stream=False,
        unknown={"kept": [1, None]},
        previous_response_id="resp_0",
    )
    assert json.loads(upstream_body(request, {})) == {
        "model": "m",
        "stream": True,
        "unknown": {"kept": [1, None]},
        "previous_response_id": "resp_0",
    }


def test_the_upstream_is_told_its_own_name_of_the_previous_response() -> None:
    request = create(background=True, previous_response_id="resp_ours")
    sent = json.loads(upstream_body(request, {"resp_ours": "resp_theirs"}))
    assert sent == {"stream": True, "previous_response_id": "resp_theirs"}
    assert request.body == {"background": True, "previous_response_id": "resp_ours"}


def test_numbers_reach_the_upstream_exactly() -> None:
    request = parse_create(b'{"seed": 123456789012345678901234567890, "temperature": 0.1}')
    sent = upstream_body(request, {})
    assert b"123456789012345678901234567890" in sent
    assert json.loads(sent)["temperature"] == 0.1


@given(json_objects)
def test_everything_else_reaches_the_upstream_unchanged(body: dict[str, Any]) -> None:
    body = {f"x-{key}": value for key, value in body.items()}
    sent = json.loads(upstream_body(create(background=True, **body), {}))
    assert sent == body | {"stream": True}


def test_a_foreground_create_can_continue_another_response() -> None:
    body = {"input": "hi", "previous_response_id": "resp_ours", "stream": False}
    sent = with_upstream_ids(body, {"resp_ours": "resp_theirs"})
    assert sent == {"input": "hi", "previous_response_id": "resp_theirs", "stream": False}
    assert body["previous_response_id"] == "resp_ours"


# --- Other responses that a request names ------------------------------------------------------

COMPARED = {"mode": "explicit", "comparison_response_id": "resp_b", "of_a_later_release": [1]}


def test_two_fields_may_name_other_responses() -> None:
    body = {"previous_response_id": "resp_a", "prompt_cache_options": COMPARED}
    assert references(body) == {
        "previous_response_id": "resp_a",
        "prompt_cache_options.comparison_response_id": "resp_b",
    }


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"previous_response_id": None, "prompt_cache_options": None},
        {"previous_response_id": 5, "prompt_cache_options": "resp_b"},
        {"prompt_cache_options": {"mode": "implicit"}},
        {"prompt_cache_options": {"comparison_response_id": ["resp_b"]}},
    ],
)
def test_what_names_no_response_stays_as_it_is(body: dict[str, Any]) -> None:
    assert references(body) == {}
    assert with_upstream_ids(body, {"resp_b": "resp_theirs"}) == body


def test_only_known_ids_are_replaced_and_all_else_stays() -> None:
    body = {"previous_response_id": "resp_a", "prompt_cache_options": COMPARED, "input": "resp_b"}
    sent = with_upstream_ids(body, {"resp_b": "resp_theirs"})
    assert sent == {
        "previous_response_id": "resp_a",
        "prompt_cache_options": {**COMPARED, "comparison_response_id": "resp_theirs"},
        "input": "resp_b",
    }
    assert COMPARED["comparison_response_id"] == "resp_b"


@given(json_objects)
def test_a_request_without_a_stream_is_the_same_in_all_else(body: dict[str, Any]) -> None:
    body = {f"x-{key}": value for key, value in body.items()}
    streamed = body | {"stream_options": {"include_obfuscation": True}}
    sent = upstream_body(create(background=True, **streamed), {})
    assert json.loads(without_stream(sent)) == body
