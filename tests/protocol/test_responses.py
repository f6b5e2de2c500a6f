"""The Response as we write it: queued, and in each status after that."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response

from response_cache._protocol import jsontext as codec
from response_cache._protocol.lifecycle import Status
from response_cache._protocol.requests import CreateRequest, parse_create
from response_cache._protocol.responses import (
    BROKEN_OFF,
    Failure,
    adopted,
    in_status,
    queued_response,
    require_short_echo,
    unsaid_fields,
    with_our_comparison,
)
from response_cache.errors import InvalidRequest
from tests.data import table

NOW = 1_700_000_000.5
SECRET = "xyzzy-never-repeat-me"

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
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


def test_an_echo_that_is_too_long_is_refused_by_the_longest_field() -> None:
    response = queued(instructions="x" * 50, user="y")
    require_short_echo(response, 100, most=100)
    with pytest.raises(InvalidRequest) as caught:
        require_short_echo(response, 101, most=100)
    assert caught.value.param == max(response, key=lambda name: len(codec.dump(response[name])))


FUNCTION = {"type": "function", "name": "f"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "f"}},
        {"tools": [{**FUNCTION, "strict": None, "parameters": {"type": "object"}}]},
        {"tools": [{**FUNCTION, "strict": True}], "temperature": 0, "reasoning": {"effort": "low"}},
        {"metadata": {"a": "b"}, "text": {"format": {"type": "json_object"}}, "top_logprobs": 5},
    ],
)
def test_a_queued_response_passes_the_schema_of_open_responses(body: dict[str, Any]) -> None:
    response = queued(background=True, model="m", **body)
    jsonschema.validate(response, table("open-responses"))
    assert all(isinstance(tool["strict"], bool) for tool in response["tools"])


# --- What an upstream says ---------------------------------------------------------------------


def test_defaults_are_unsaid_where_the_request_does_not_name_the_field() -> None:
    request = create(temperature=1.0, text={"format": {"type": "text"}}, top_p=None)
    response = queued_response(request, id="resp_1", created_at=1)
    assert unsaid_fields(request, response) == {
        "service_tier": None,
        "top_logprobs": None,
        "top_p": None,
        "truncation": None,
        "text": {"format": {"type": "text"}, "verbosity": None},
    }
    assert Response.model_validate({**response, **unsaid_fields(request, response)})
    everything = dict.fromkeys(["service_tier", "temperature", "top_logprobs", "top_p"], 1)
    said = create(**everything, truncation="auto", text={"verbosity": "low"})
    assert unsaid_fields(said, response) == {}


@pytest.mark.parametrize("theirs", [None, "text", 7, [], {}])
def test_metadata_that_says_nothing_leaves_that_of_the_request(theirs: Any) -> None:
    folded = {"metadata": {"mine": "1"}}
    assert adopted(folded, {"metadata": theirs}, folded)["metadata"] == {"mine": "1"}


def test_metadata_of_the_upstream_is_added_to_that_of_the_request() -> None:
    ours = {"metadata": {"mine": "1"}}
    first = adopted(ours, {"metadata": {"mine": "2", "thread": "a"}}, ours)
    assert first["metadata"] == {"mine": "1", "thread": "a"}
    last = adopted(first, {"metadata": {"thread": "b", "more": "c"}}, ours)
    assert last["metadata"] == {"mine": "1", "thread": "b", "more": "c"}
    assert adopted(last, {}, ours)["metadata"] == last["metadata"]


USAGE = {
    "input_tokens": 7,
    "output_tokens": 5,
    "total_tokens": 12,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 0},
}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}, USAGE),
        ({"prompt_tokens": 7, "completion_tokens": 5}, USAGE),
        ({"prompt_tokens": 7, "output_tokens": 5, "cost": 1.5}, {**USAGE, "cost": 1.5}),
        (
            {
                "prompt_tokens": 7,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 1},
                "completion_tokens_details": {"reasoning_tokens": None, "audio_tokens": 2},
            },
            {
                **USAGE,
                "input_tokens_details": {"cached_tokens": 3, "audio_tokens": 1},
                "output_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 2},
            },
        ),
        ({**USAGE, "prompt_tokens": 8, "prompt_tokens_details": None}, USAGE),
        ({"acme_tokens": 3}, {"acme_tokens": 3}),
        ({"input_tokens": 7}, {"input_tokens": 7}),
        (None, None),
        ("many", "many"),
    ],
)
def test_usage_in_the_names_of_chat_completions_is_that_of_responses(
    given: Any, shown: Any
) -> None:
    assert adopted({}, {"usage": given}, {})["usage"] == shown


@pytest.mark.parametrize("tokens", ["7", [1], {"a": 1}, True, 1.5, None])
def test_any_nonsense_as_usage_is_taken(tokens: Any) -> None:
    usage = adopted({}, {"usage": {"prompt_tokens": tokens}}, {})["usage"]
    assert usage["input_tokens"] == (tokens or 0)


def test_functions_that_an_upstream_repeats_have_all_keys() -> None:
    whole: dict[str, Any] = {**FUNCTION, "description": "d", "parameters": {}, "strict": None}
    tools = [FUNCTION, whole, {"type": "web_search"}, "no tool"]
    shown = adopted({}, {"tools": tools}, {})["tools"]
    assert shown[0] == {**FUNCTION, "description": None, "parameters": None, "strict": False}
    assert shown[1:] == tools[1:], "what the upstream says stays"
    assert list(shown[1]) == list(whole)


# --- By status ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", Status)
def test_fields_that_hold_in_one_status_only_are_null_in_the_others(status: Status) -> None:
    full = {"completed_at": 5, "error": {"code": "c"}, "incomplete_details": {"reason": "r"}}
    response = in_status(dict(full), status, now=NOW)
    assert response["completed_at"] == (5 if status is Status.COMPLETED else None)
    assert response["error"] == ({"code": "c"} if status is Status.FAILED else None)
    assert response["incomplete_details"] == (
        {"reason": "r"} if status is Status.INCOMPLETE else None
    )


@pytest.mark.parametrize("status", Status)
def test_a_response_in_another_status_is_a_new_object_with_all_other_fields(status: Status) -> None:
    response = {"status": "queued", "model": "m", "acme": 1}
    changed = in_status(response, status, now=NOW)
    assert changed["status"] == status
    assert (changed["model"], changed["acme"]) == ("m", 1)
    assert response["status"] == "queued"


@pytest.mark.parametrize("error", [None, {}, "no", 7])
@pytest.mark.parametrize("failure", [None, Failure("It broke.", "c")])
def test_a_failed_response_always_has_an_error(error: Any, failure: Failure | None) -> None:
    response = in_status({"error": error}, Status.FAILED, now=NOW, failure=failure)
    said = failure or BROKEN_OFF
    assert response["error"] == {"code": said.code, "message": said.message}


# --- The comparison ----------------------------------------------------------------------------


def test_the_clients_own_id_stands_in_the_place_of_the_upstreams() -> None:
    upstream = {"a": 1, "prompt_cache_options": {"ttl": "12h", "comparison_response_id": "up"}}
    ours = {"prompt_cache_options": {"mode": "x", "comparison_response_id": "ours"}}
    told = {"ttl": "12h", "comparison_response_id": "ours"}
    assert with_our_comparison(upstream, ours) == {"a": 1, "prompt_cache_options": told}
    assert upstream["prompt_cache_options"] == {"ttl": "12h", "comparison_response_id": "up"}


@pytest.mark.parametrize("theirs", [None, 5, {}, {"comparison_response_id": None}])
@pytest.mark.parametrize("given", [None, {"comparison_response_id": "ours"}])
def test_where_the_upstream_names_no_comparison_none_is_added(theirs: Any, given: Any) -> None:
    upstream = {"prompt_cache_options": theirs}
    assert with_our_comparison(upstream, {"prompt_cache_options": given}) == upstream


@pytest.mark.parametrize("given", [None, "x", {}, {"comparison_response_id": 5}])
def test_what_the_client_did_not_give_is_the_upstreams(given: Any) -> None:
    upstream = {"prompt_cache_options": {"comparison_response_id": "up"}}
    assert with_our_comparison(upstream, {"prompt_cache_options": given}) == upstream
