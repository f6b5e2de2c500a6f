"""What is read of a create request, and what is made from it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response

from response_cache.errors import InvalidRequest
from response_cache.protocol import jsontext as codec
from response_cache.protocol.requests import (
    CreateRequest,
    create_request,
    parse_create,
    queued_response,
    upstream_body,
    with_previous_response_id,
)
from tests.data import table

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


def queued(**body: Any) -> dict[str, Any]:
    return queued_response(create(**body), id="resp_1", created_at=1_700_000_000)


def recorded() -> dict[str, Any]:
    queued_object: dict[str, Any] = table("response")["queued"]
    return queued_object


def refused(data: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse_create(data)
    assert SECRET not in caught.value.message
    return caught.value


# --- Reader -----------------------------------------------------------------------------------


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
    sent = json.loads(upstream_body(request, previous_response_id=None))
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
    assert json.loads(upstream_body(request, previous_response_id=None))["metadata"] == text


@pytest.mark.parametrize("name", ["background", "stream"])
def test_what_a_reply_depends_on_is_judged_everywhere(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        create_request({name: "true"}, is_checked=False)
    assert caught.value.param == name


def test_metadata_at_its_bounds_is_taken() -> None:
    metadata = {f"{n:064}": "é" * 512 for n in range(16)}
    assert create(metadata=metadata).metadata == metadata


def test_a_lone_surrogate_is_no_reason_to_refuse() -> None:
    request = parse_create(
        b'{"background": true, "input": "\\ud83d", "metadata": {"k": "\\ud83d"}}'
    )
    assert request.metadata == {"k": "\ud83d"}
    assert json.loads(upstream_body(request, previous_response_id=None))["input"] == "\ud83d"
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
    sent = upstream_body(request, previous_response_id=None)
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


# --- The queued response -----------------------------------------------------------------------


def test_the_queued_response_has_the_recorded_fields_in_the_recorded_order() -> None:
    expected = recorded() | {"id": "resp_1", "model": "m"}
    response = queued(background=True, model="m", input="hi")
    assert response == expected
    assert list(response) == list(expected)


def test_the_queued_response_has_every_field_that_the_reference_wants_with_its_default() -> None:
    fields = table("response")["fields"]
    response = queued(background=True)
    # `moderation` is newer than the recordings of a queued object, and never null in some of them.
    wanted = {name for name, is_wanted in fields.items() if is_wanted} - {"moderation"}
    assert set(response) == wanted


def test_what_the_request_says_is_echoed() -> None:
    echoed = {
        "instructions": "be brief",
        "max_output_tokens": 100,
        "max_tool_calls": 3,
        "model": "m",
        "parallel_tool_calls": False,
        "previous_response_id": "resp_0",
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "safety_identifier": "s",
        "service_tier": "flex",
        "store": False,
        "temperature": 0.25,
        "tool_choice": {"type": "function", "name": "f"},
        "tools": [{"type": "web_search"}],
        "top_logprobs": 2,
        "top_p": 0.5,
        "truncation": "auto",
        "user": "u",
        "metadata": {"a": "b"},
        "prompt": {"id": "pmpt_1"},
        "prompt_cache_options": {"mode": "explicit"},
        "image": {"detail": "low"},
    }
    response = queued(background=True, input="hi", **echoed)
    assert {name: response[name] for name in echoed} == echoed


@given(st.sets(st.sampled_from(["temperature", "tools", "text", "reasoning", "metadata", "model"])))
def test_a_field_that_is_null_is_answered_with_its_default(names: set[str]) -> None:
    assert queued(**dict.fromkeys(names)) == queued()


def test_what_the_client_cannot_set_is_not_echoed() -> None:
    given = {"status": "completed", "output": [1], "usage": {}, "id": "x", "error": {}, "object": 1}
    penalties = {"frequency_penalty": 2, "presence_penalty": 2, "created_at": 1}
    assert queued(**given, **penalties) == queued()


def test_reasoning_and_text_are_merged_over_their_defaults() -> None:
    response = queued(
        reasoning={"effort": "low", "mode": "x"},
        text={"format": None, "verbosity": "high"},
    )
    assert response["reasoning"] == {"effort": "low", "summary": None, "mode": "x"}
    assert response["text"] == {"format": {"type": "text"}, "verbosity": "high"}


@pytest.mark.parametrize("name", ["reasoning", "text", "tools"])
@pytest.mark.parametrize("garbage", ["x", 1, True])
def test_garbage_where_an_object_belongs_is_answered_with_the_default(
    name: str, garbage: object
) -> None:
    assert queued(**{name: garbage}) == queued()


@pytest.mark.parametrize("given", ["conv_1", {"id": "conv_1"}, {"id": "conv_1", "more": 1}])
def test_a_conversation_is_shown_by_its_id(given: object) -> None:
    assert queued(conversation=given)["conversation"] == {"id": "conv_1"}


@pytest.mark.parametrize("given", [None, {}, {"id": None}, 7, []])
def test_without_a_named_conversation_there_is_none(given: object) -> None:
    assert "conversation" not in queued(conversation=given)


def test_credentials_of_a_tool_server_are_not_shown_again() -> None:
    tool = {
        "type": "mcp",
        "server_label": "s",
        "server_url": "https://mcp.example/sse",
        "authorization": SECRET,
        "headers": {"X-Key": SECRET},
    }
    response = queued(tools=[tool])
    assert SECRET not in json.dumps(response)
    assert response["tools"][0]["server_label"] == "s"
    assert tool["authorization"] == SECRET


def test_defaults_are_never_shared_between_two_responses() -> None:
    first = queued()
    first["output"].append("item")
    first["text"]["format"]["type"] = "changed"
    first["metadata"]["k"] = "v"
    assert queued()["output"] == []
    assert queued()["text"]["format"] == {"type": "text"}
    assert queued()["metadata"] == {}


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "input": "hi"},
        {"model": "m", "tools": [{"type": "function", "name": "f"}], "tool_choice": "required"},
        {"model": "m", "instructions": [{"role": "user", "content": "hi", "type": "message"}]},
        {"model": "m", "conversation": "conv_1", "reasoning": {"effort": "high"}, "store": False},
        {"model": "m", "text": {"format": {"type": "json_object"}}, "metadata": {"a": "b"}},
        {
            "model": "m",
            "tools": [{"type": "mcp", "server_label": "s", "headers": {}}],
            "prompt": {"id": "pmpt_1"},
        },
    ],
)
def test_the_official_client_accepts_the_queued_response(body: dict[str, Any]) -> None:
    response = queued(background=True, **body)
    assert Response.model_validate(response).status == "queued"
    built = Response.construct(**response)
    assert built.id == "resp_1"
    assert built.output_text == ""


@given(json_objects)
def test_a_queued_response_can_be_made_of_whatever_was_accepted(body: dict[str, Any]) -> None:
    names = ["text", "tools", "reasoning", "conversation", "prompt", "instructions", "tool_choice"]
    request = create(**dict(zip(names, body.values(), strict=False)))
    response = queued_response(request, id="resp_1", created_at=1)
    assert codec.load(codec.dump(response)) == response


# --- What the upstream is sent -----------------------------------------------------------------


def test_the_upstream_is_asked_in_the_foreground_and_streamed() -> None:
    request = create(
        model="m",
        background=True,
        background_options={"completion_window": "8h"},
        stream=False,
        unknown={"kept": [1, None]},
        previous_response_id="resp_0",
    )
    assert json.loads(upstream_body(request, previous_response_id=None)) == {
        "model": "m",
        "stream": True,
        "unknown": {"kept": [1, None]},
        "previous_response_id": "resp_0",
    }


def test_the_upstream_is_told_its_own_name_of_the_previous_response() -> None:
    request = create(background=True, previous_response_id="resp_ours")
    sent = json.loads(upstream_body(request, previous_response_id="resp_theirs"))
    assert sent == {"stream": True, "previous_response_id": "resp_theirs"}
    assert request.body == {"background": True, "previous_response_id": "resp_ours"}


def test_numbers_reach_the_upstream_exactly() -> None:
    request = parse_create(b'{"seed": 123456789012345678901234567890, "temperature": 0.1}')
    sent = upstream_body(request, previous_response_id=None)
    assert b"123456789012345678901234567890" in sent
    assert json.loads(sent)["temperature"] == 0.1


@given(json_objects)
def test_everything_else_reaches_the_upstream_unchanged(body: dict[str, Any]) -> None:
    body = {f"x-{key}": value for key, value in body.items()}
    sent = json.loads(upstream_body(create(background=True, **body), previous_response_id=None))
    assert sent == body | {"stream": True}


def test_a_foreground_create_can_continue_another_response() -> None:
    body = {"input": "hi", "previous_response_id": "resp_ours", "stream": False}
    sent = json.loads(with_previous_response_id(body, "resp_theirs"))
    assert sent == {"input": "hi", "previous_response_id": "resp_theirs", "stream": False}
    assert body["previous_response_id"] == "resp_ours"
