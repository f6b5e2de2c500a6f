"""Folding, compared with a plain interpreter of the reference table and with recorded streams."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from response_cache._fold.operations import MAX_AHEAD
from response_cache._fold.reducer import Fold, fold
from response_cache._protocol.events import EVENTS, LIFECYCLE, TERMINAL
from response_cache._protocol.jsontext import JsonObject
from response_cache.testing._strategies import valid_streams
from tests.data import STREAMS, table

Stream = list[JsonObject]


# An interpreter of `ops` in events.json: plain, slow, and ignorant of how the reducer works.


@pytest.fixture(scope="module")
def reference() -> dict[str, JsonObject]:
    """The rows of the reference table, by type."""
    events = table("events")
    return {row["type"]: row for row in [*events["events"], *events["not_in_package"]]}


def interpret(rows: dict[str, JsonObject], snapshot: JsonObject, event: JsonObject) -> JsonObject:
    """*snapshot* after the operations that the reference gives for *event*."""
    for op in rows.get(event["type"], {"ops": []})["ops"]:
        snapshot = perform(op, snapshot, event)
    return snapshot


def perform(op: JsonObject, snapshot: JsonObject, event: JsonObject) -> JsonObject:
    value = op["value"] if "value" in op else deepcopy(read(event, op["from"]))
    if op["op"] == "replace_response":
        assert isinstance(value, dict)
        return value
    if op.get("when") == "non_empty" and not value:
        return snapshot
    container, key = locate(snapshot, op["path"], event)
    match op["op"]:
        case "append":
            entries = list(container.get(key) or [])
            assert len(entries) == event[op["index"]]
            container[key] = [*entries, value]
        case "set":
            container[key] = value
        case "set_or_append":
            container[key : key + 1] = [value]
        case "append_text":
            before = container.get(key) if isinstance(container, dict) else container[key]
            container[key] = (before or "") + (value or "")
        case "extend":
            container[key] = (container.get(key) or []) + value
        case "pad":
            while len(container[key]) <= event[op["index"]]:
                container[key].append(deepcopy(op["value"]))
        case unknown:
            pytest.fail(f"the reference has an operation that this test does not know: {unknown}")
    return snapshot


def read(event: JsonObject, path: str) -> Any:
    """The value at a path such as ``delta.stdout`` or ``output[0]``; None where there is none."""
    found: Any = event
    for word in re.findall(r"\w+", path):
        found = found[int(word)] if isinstance(found, list) else found.get(word)
    return found


def locate(snapshot: JsonObject, path: str, event: JsonObject) -> tuple[Any, Any]:
    """The container and the key or index of the last step of a path."""
    words: list[str | int] = [
        event[index] if index else name
        for name, index in re.findall(r"(\w+)(?=[\[.]|$)|\[(\w+)\]", path)
    ]
    container: Any = snapshot
    for word in words[:-1]:
        container = container[word]
    return container, words[-1]


# The reference and the reducer agree.


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(stream=valid_streams())
def test_it_agrees_with_the_reference_after_every_event(
    reference: dict[str, JsonObject], stream: Stream
) -> None:
    folded, expected = Fold({}), JsonObject()
    for event in stream:
        assert folded.apply(event)
        expected = interpret(reference, expected, event)
        assert folded.response() == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(stream=valid_streams())
def test_it_agrees_with_the_reference_when_nobody_looks_in_between(
    reference: dict[str, JsonObject], stream: Stream
) -> None:
    expected = JsonObject()
    for event in stream[:-1]:
        expected = interpret(reference, expected, event)
    assert fold({}, stream[:-1]) == expected


@pytest.mark.slow
def test_the_streams_it_is_tested_with_have_every_event() -> None:
    seen: set[str] = set()

    @settings(derandomize=True, database=None, deadline=None, max_examples=400)
    @given(stream=valid_streams())
    def look(stream: Stream) -> None:
        seen.update(event["type"] for event in stream)

    look()
    assert set(EVENTS) - seen == {"response.cancelled", "response.done"}


@pytest.mark.parametrize("name", ["response.cancelled", "response.done"])
def test_what_only_upstreams_send_as_an_end_is_folded_too(name: str) -> None:
    assert fold({"id": "resp_1"}, [{"type": name, "response": {"id": "resp_2"}}]) == {
        "id": "resp_2"
    }


# Laws.


@given(stream=valid_streams(), at=st.integers(0, 40))
def test_it_can_go_on_from_a_response_that_was_stored(stream: Stream, at: int) -> None:
    for events in (stream, stream[:-1]):  # the terminal event would hide what went wrong
        stored = json.loads(json.dumps(fold({}, events[:at])))
        assert fold(stored, events[at:]) == fold({}, events)


@given(stream=valid_streams(), data=st.data())
def test_splitting_a_delta_changes_nothing(stream: Stream, data: st.DataObject) -> None:
    pieces: Stream = []
    for event in stream[:-1]:
        pieces += _split(event, data) if _is_text_delta(event) else [event]
    assert fold({}, pieces) == fold({}, stream[:-1])


def _is_text_delta(event: JsonObject) -> bool:
    return event["type"].endswith(".delta") and isinstance(event["delta"], str)


def _split(event: JsonObject, data: st.DataObject) -> Stream:
    at = data.draw(st.integers(0, len(event["delta"])))
    first, second = event["delta"][:at], event["delta"][at:]
    silent = {**event, "delta": second}
    silent.pop("logprobs", None)
    return [{**event, "delta": first}, silent]


@given(stream=valid_streams())
def test_finished_items_are_what_their_last_event_says(stream: Stream) -> None:
    assert fold({}, stream[:-1])["output"] == stream[-1]["response"]["output"]


@given(stream=valid_streams())
def test_unfinished_items_show_the_text_so_far(stream: Stream) -> None:
    events = [event for event in stream[:-1] if not event["type"].endswith(".done")]
    for item, done in zip(
        fold({}, events)["output"], stream[-1]["response"]["output"], strict=True
    ):
        if item["type"] in {"message", "reasoning"}:
            assert (item.get("content") or []) == (done.get("content") or [])
            assert item.get("summary") == done.get("summary")
        for field in ("arguments", "input", "code"):
            assert (item.get(field) or "") == (done.get(field) or "")


@given(stream=valid_streams())
def test_events_stay_as_they_were_and_share_nothing_with_the_response(stream: Stream) -> None:
    before = json.dumps(stream)
    response = fold({}, stream)
    response["metadata"]["of"] = "somebody else"
    _spoil(response["output"])
    assert json.dumps(stream) == before


def _spoil(value: Any) -> None:
    for child in list(value.values() if isinstance(value, dict) else value):
        if isinstance(child, (dict, list)):
            _spoil(child)
    value.clear()


# Nonsense.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 400) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
FIELDS = (
    *("output_index", "content_index", "summary_index", "annotation_index", "command_index"),
    *("response", "item", "part", "annotation", "logprobs", "delta", "text", "refusal"),
    *("arguments", "input", "code", "command", "output"),
)
LIKELY = st.sampled_from(
    (0, 1, True, 1.0, "x", [], {}, {"stdout": "x"}, {"stderr": 1}, [{"stdout": ""}], {"output": 1})
)


@st.composite
def nonsense(draw: st.DrawFn) -> JsonObject:
    """Events with a known name and whatever in them."""
    fields = draw(st.dictionaries(st.sampled_from(FIELDS), LIKELY | JSON))
    return {**fields, "type": draw(st.sampled_from(sorted(EVENTS)) | JSON)}


@st.composite
def damaged(draw: st.DrawFn) -> Stream:
    """Streams in which some events have a field that is missing or something else."""
    stream = draw(valid_streams())
    for event in stream[1:]:
        if draw(st.integers(0, 3)) == 0:
            field = draw(st.sampled_from(sorted(event)))
            event[field] = draw(LIKELY | JSON)
            if draw(st.booleans()):
                del event[field]
    return stream


@given(
    events=st.lists(nonsense()) | damaged(),
    start=st.just({}) | st.dictionaries(st.just("output"), JSON),
)
def test_no_json_makes_it_raise_and_what_it_refuses_changes_nothing(
    events: Stream, start: JsonObject
) -> None:
    folded = Fold(start)
    for event in events:
        before = _state(folded)
        if not folded.apply(event):
            assert _state(folded) == before


@given(stream=valid_streams(), event=nonsense(), at=st.integers(1, 20))
def test_nonsense_inside_a_valid_stream_never_shows_half_of_it(
    stream: Stream, event: JsonObject, at: int
) -> None:
    folded = Fold({})
    for valid in stream[:at]:
        folded.apply(valid)
    before = _state(folded)
    if not folded.apply(event):
        assert _state(folded) == before


@given(events=damaged())
def test_reading_in_between_changes_nothing(events: Stream) -> None:
    folded = Fold({})
    for event in events:
        folded.apply(event)
        folded.response()
    assert json.dumps(folded.response()) == json.dumps(fold({}, events))


def _state(folded: Fold) -> tuple[str, bool]:
    return json.dumps(folded.response()), folded.has_gaps


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stream=valid_streams())
def test_events_for_an_item_of_another_type_are_refused(
    reference: dict[str, JsonObject], stream: Stream
) -> None:
    strangers = {"output": [{"type": "unheard_of"}] * 4}
    for event in stream:
        row = reference.get(event["type"], {})
        if row.get("ops") and row["item_types"] not in ([], ["*"]):
            folded = Fold(deepcopy(strangers))
            assert not folded.apply(event)
            assert folded.response() == strangers


def test_an_item_may_be_nested_deeper_than_the_stack() -> None:
    deep: Any = []
    for _ in range(20_000):
        deep = [deep]
    folded = Fold({"output": []})
    assert folded.apply(_added({"type": "message", "content": deep}))
    found, depth = folded.output[0]["content"], 0
    while found:
        assert found is not deep
        found, deep, depth = found[0], deep[0], depth + 1
    assert depth == 20_000


# Examples: what `.done` sets, what grows, and where the reducer is more lenient than the reference.

TEXT_PART: JsonObject = {"type": "output_text", "text": ""}
MESSAGE: JsonObject = {"type": "message", "content": [TEXT_PART]}


def _added(item: JsonObject, index: int = 0) -> JsonObject:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def _done(item: JsonObject, index: int = 0) -> JsonObject:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def _delta(text: str, index: int = 0) -> JsonObject:
    place = {"output_index": index, "content_index": 0}
    return {"type": "response.output_text.delta", **place, "delta": text}


def _of(*items: JsonObject) -> Fold:
    return Fold({"output": [deepcopy(item) for item in items]})


@pytest.mark.parametrize(
    ("name", "field", "item", "path"),
    [
        ("output_text", "text", MESSAGE, "content[0].text"),
        ("refusal", "refusal", {"type": "message", "content": [{}]}, "content[0].refusal"),
        ("reasoning_text", "text", {"type": "reasoning", "content": [{}]}, "content[0].text"),
        ("reasoning", "text", {"type": "reasoning", "content": [{}]}, "content[0].text"),
        (
            "reasoning_summary_text",
            "text",
            {"type": "reasoning", "summary": [{}]},
            "summary[0].text",
        ),
        ("function_call_arguments", "arguments", {"type": "function_call"}, "arguments"),
        ("custom_tool_call_input", "input", {"type": "custom_tool_call"}, "input"),
        ("mcp_call_arguments", "arguments", {"type": "mcp_call"}, "arguments"),
        ("code_interpreter_call_code", "code", {"type": "code_interpreter_call"}, "code"),
        (
            "shell_call_command",
            "command",
            {"type": "shell_call", "action": {"commands": [""]}},
            "action.commands[0]",
        ),
    ],
)
def test_a_finished_text_is_set_with_other_deltas_before_it_or_none(
    name: str, field: str, item: JsonObject, path: str
) -> None:
    at = {"output_index": 0, "content_index": 0, "summary_index": 0, "command_index": 0}
    done = {"type": f"response.{name}.done", **at, field: "whole"}
    delta = {"type": f"response.{name}.delta", **at, "delta": "other"}
    for events, expected in (
        ([done], "whole"),
        ([delta, delta, done], "whole"),
        ([delta, done, delta], "wholeother"),
    ):
        folded = _of(item)
        assert all(folded.apply(event) for event in events)
        assert read(folded.response()["output"][0], path) == expected


def test_text_is_joined_only_when_somebody_looks() -> None:
    folded = _of(MESSAGE)
    for _ in range(1000):
        assert folded.apply(_delta("x"))
    assert folded.output[0]["content"][0]["text"] == ""
    assert folded.response()["output"][0]["content"][0]["text"] == "x" * 1000


def test_deltas_of_two_items_may_alternate() -> None:
    folded = _of(MESSAGE, MESSAGE)
    for text, index in (("a", 0), ("b", 1), ("c", 0), ("d", 1), ("e", 1)):
        assert folded.apply(_delta(text, index))
    texts = [item["content"][0]["text"] for item in folded.response()["output"]]
    assert texts == ["ac", "bde"]


def test_an_index_that_only_equals_a_number_is_no_index() -> None:
    folded = _of(MESSAGE, MESSAGE)
    for index in (False, 0.0, True, "0", None, [0], -1):
        folded.apply(_delta("right"))
        assert not folded.apply({**_delta("wrong"), "output_index": index})
        assert not folded.apply({**_delta("wrong"), "content_index": index})
    assert "wrong" not in json.dumps(folded.response())


def test_indexes_beyond_the_small_ones_are_followed_too() -> None:
    folded = _of(*[MESSAGE] * 1001)
    for index in (1000, int("1000"), 999):
        assert folded.apply(_delta("x", index))
    assert [folded.response()["output"][n]["content"][0]["text"] for n in (999, 1000)] == [
        "x",
        "xx",
    ]


def test_a_part_that_is_replaced_while_its_text_grows_ends_as_replaced() -> None:
    folded = _of(MESSAGE)
    folded.apply(_delta("old"))
    part = {"type": "output_text", "text": "new"}
    at = {"output_index": 0, "content_index": 0}
    assert folded.apply({"type": "response.content_part.done", **at, "part": part})
    assert folded.response()["output"][0]["content"] == [part]
    assert folded.apply(_delta("er"))
    assert folded.response()["output"][0]["content"][0]["text"] == "newer"


def test_a_delta_is_folded_whole_or_not_at_all() -> None:
    folded = _of(MESSAGE)
    assert not folded.apply({**_delta("x"), "logprobs": "none"})
    assert not folded.apply({**_delta("x"), "logprobs": [], "delta": None})
    assert folded.response()["output"] == [MESSAGE]


@pytest.mark.parametrize("logprobs", [5, "none", {}])
def test_what_is_no_list_collects_nothing(logprobs: Any) -> None:
    message = {"type": "message", "content": [{"text": "", "logprobs": logprobs}]}
    folded = _of(message)
    assert not folded.apply({**_delta("x"), "logprobs": [{"logprob": -1}]})
    assert folded.response()["output"] == [message]


@pytest.mark.parametrize("text", [5, [], {}, False])
def test_what_is_no_text_does_not_grow(text: Any) -> None:
    outputs = {"type": "shell_call_output", "output": [{"stdout": text}, text]}
    folded = _of({"type": "message", "content": [{"text": text}]}, outputs)
    before = json.dumps(folded.response())
    assert not folded.apply(_delta("x"))
    for index in (0, 1) if not isinstance(text, dict) else (0,):
        name = "response.shell_call_output_content.delta"
        event = {"type": name, "output_index": 1, "command_index": index}
        assert not folded.apply({**event, "delta": {"stderr": "x", "stdout": "x"}})
    assert json.dumps(folded.response()) == before


@pytest.mark.parametrize("item", [{}, {"content": [{"text": None}]}])
def test_what_is_missing_or_null_grows_from_nothing(item: JsonObject) -> None:
    folded = _of({"type": "message", "content": [{}], **item})
    assert folded.apply(_delta("x"))
    assert folded.response()["output"][0]["content"] == [{"text": "x"}]


def test_logprobs_are_collected_and_then_set() -> None:
    folded = _of(MESSAGE)
    part = folded.response()["output"][0]["content"][0]
    for score in (-1, -2):
        assert folded.apply({**_delta("x"), "logprobs": [{"logprob": score}]})
    assert folded.response()["output"][0]["content"][0]["logprobs"] == [
        {"logprob": -1},
        {"logprob": -2},
    ]
    done = {**_delta(""), "type": "response.output_text.done", "text": "xx"}
    assert folded.apply({**done, "logprobs": []})
    assert len(part["logprobs"]) == 2
    assert folded.apply({**done, "logprobs": [{"logprob": -3}]})
    assert folded.response()["output"][0]["content"][0]["logprobs"] == [{"logprob": -3}]


def test_an_item_that_was_never_announced_comes_with_its_last_event() -> None:
    folded = Fold({"output": []})
    assert folded.apply(_done(MESSAGE))
    assert folded.response()["output"] == [MESSAGE]


def test_an_item_may_come_before_its_predecessors() -> None:
    folded = Fold({"id": "resp_1", "output": []})
    assert folded.apply(_added({"type": "third", "content": []}, 2))
    assert folded.has_gaps
    assert folded.response() == {"id": "resp_1", "output": [{"type": "third", "content": []}]}
    assert folded.apply(_done({"type": "first"}, 0))
    assert folded.has_gaps
    assert folded.apply(_added({"type": "second"}, 1))
    assert not folded.has_gaps
    assert [item["type"] for item in folded.response()["output"]] == ["first", "second", "third"]


def test_nothing_can_be_said_of_an_item_that_is_missing() -> None:
    folded = Fold({"output": []})
    folded.apply(_added(MESSAGE, 1))
    assert not folded.apply(_delta("x", 0))
    assert folded.apply(_delta("x", 1))
    assert len(folded.output) == 2
    assert not isinstance(folded.output[0], dict)


def test_the_terminal_response_ends_all_gaps() -> None:
    folded = Fold({"output": []})
    folded.apply(_added(MESSAGE, 1))
    assert folded.apply({"type": "response.completed", "response": {"output": [MESSAGE]}})
    assert not folded.has_gaps
    assert folded.response() == {"output": [MESSAGE]}


def test_gaps_outlive_a_terminal_response_without_output() -> None:
    folded = Fold({"output": []})
    folded.apply(_added(MESSAGE, 1))
    folded.apply({"type": "response.completed", "response": {"output": None}})
    assert folded.response() == {"output": [MESSAGE]}


def test_a_null_of_the_upstream_is_no_gap() -> None:
    folded = Fold({})
    folded.apply({"type": "response.in_progress", "response": {"output": [None]}})
    assert not folded.has_gaps
    assert folded.response() == {"output": [None]}


@pytest.mark.parametrize(
    ("event", "list_of"),
    [
        (_added(MESSAGE), "items"),
        (
            {
                "type": "response.shell_call_output_content.delta",
                "output_index": 0,
                "delta": {"stdout": "x"},
            },
            "outputs",
        ),
        (
            {
                "type": "response.shell_call_output_content.done",
                "output_index": 0,
                "output": [{"stdout": "x"}],
            },
            "outputs",
        ),
    ],
)
def test_an_index_too_far_ahead_is_refused(event: JsonObject, list_of: str) -> None:
    index = "output_index" if list_of == "items" else "command_index"
    start: JsonObject = {"output": [] if list_of == "items" else [{"type": "shell_call_output"}]}
    assert not Fold(deepcopy(start)).apply({**event, index: MAX_AHEAD + 1})
    assert not Fold(deepcopy(start)).apply({**event, index: 10**12})
    assert Fold(deepcopy(start)).apply({**event, index: MAX_AHEAD})


INSERTIONS: Sequence[tuple[JsonObject, JsonObject, str, Any]] = (
    (
        {"type": "response.content_part.added", "content_index": 0, "part": {"text": "x"}},
        {"type": "message"},
        "content",
        {"text": "x"},
    ),
    (
        {"type": "response.reasoning_summary_part.added", "summary_index": 0, "part": {"text": ""}},
        {"type": "reasoning"},
        "summary",
        {"text": ""},
    ),
    (
        {
            "type": "response.output_text.annotation.added",
            "content_index": 0,
            "annotation_index": 0,
            "annotation": {"type": "file_path"},
        },
        {"type": "message", "content": [{}]},
        "content[0].annotations",
        {"type": "file_path"},
    ),
    (
        {"type": "response.shell_call_command.added", "command_index": 0, "command": "ls"},
        {"type": "shell_call", "action": {}},
        "action.commands",
        "ls",
    ),
)


@pytest.mark.parametrize(("event", "item", "path", "entry"), INSERTIONS)
def test_an_insertion_makes_the_list_and_may_be_repeated(
    event: JsonObject, item: JsonObject, path: str, entry: Any
) -> None:
    folded = _of(item)
    for _ in range(2):
        assert folded.apply({**event, "output_index": 0})
        assert read(folded.response()["output"][0], path) == [entry]


@pytest.mark.parametrize(("event", "item"), [row[:2] for row in INSERTIONS])
def test_an_insertion_beyond_the_end_is_refused_and_makes_nothing(
    event: JsonObject, item: JsonObject
) -> None:
    index = [name for name in event if name.endswith("_index")][-1]
    folded = _of(item)
    assert not folded.apply({**event, "output_index": 0, index: 1})
    assert folded.response()["output"] == [item]


def test_shell_outputs_are_filled_up_to_the_index() -> None:
    folded = _of({"type": "shell_call_output", "output": []})
    at = {"output_index": 0, "command_index": 1}
    name = "response.shell_call_output_content"
    for delta in ({"stdout": "a"}, {"stderr": "b", "stdout": None}, {"stdout": "c"}, {}):
        assert folded.apply({"type": f"{name}.delta", **at, "delta": delta})
    outcome = {"type": "exit", "exit_code": 0}
    blank = {"stdout": "", "stderr": "", "outcome": outcome}
    assert folded.response()["output"][0]["output"] == [
        blank,
        {"stdout": "ac", "stderr": "b", "outcome": outcome},
    ]
    done = {"stdout": "whole", "stderr": "", "outcome": {"type": "timeout"}}
    assert folded.apply({"type": f"{name}.done", **at, "output": [done]})
    assert folded.response()["output"][0]["output"] == [blank, done]


@pytest.mark.parametrize("name", sorted(LIFECYCLE))
@pytest.mark.parametrize("output", [{}, {"output": None}, {"output": 5}])
def test_a_response_without_output_keeps_the_items_and_their_text(
    name: str, output: JsonObject
) -> None:
    folded = _of(MESSAGE)
    folded.apply(_delta("so far"))
    assert folded.apply({"type": name, "response": {"id": "resp_2", **output}})
    assert folded.apply(_delta(", and on"))
    (item,) = folded.response()["output"]
    assert item["content"][0]["text"] == "so far, and on"
    assert folded.response()["id"] == "resp_2"


@pytest.mark.parametrize("name", sorted(TERMINAL))
def test_an_empty_output_at_the_end_is_believed(name: str) -> None:
    folded = _of(MESSAGE)
    assert folded.apply({"type": name, "response": {"output": []}})
    assert folded.response() == {"output": []}


@pytest.mark.parametrize("name", sorted(LIFECYCLE))
@pytest.mark.parametrize("response", [None, [], "x", 1])
def test_a_lifecycle_event_without_a_response_is_refused(name: str, response: Any) -> None:
    folded = _of(MESSAGE)
    assert not folded.apply({"type": name, "response": response})
    assert not folded.apply({"type": name})
    assert folded.response() == {"output": [MESSAGE]}


@pytest.mark.parametrize("name", ["acme:progress", "response.unheard_of", "", None, 1, [], {}])
def test_unknown_types_change_nothing_and_are_no_error(name: Any) -> None:
    folded = _of(MESSAGE)
    assert folded.apply({"type": name, "output_index": 0, "item": {"type": "message"}})
    assert folded.apply({"item": {"type": "message"}})
    assert folded.response() == {"output": [MESSAGE]}


def test_unknown_fields_survive() -> None:
    item = {"type": "message", "content": [], "vendor": {"of": ["it"]}}
    folded = Fold({"output": [], "vendor": 1})
    folded.apply(_done(item))
    assert folded.response() == {"output": [item], "vendor": 1}


# Recorded streams. What may be expected of them is said in tests/data/README.md, by these numbers.

CUT = "edited"  # in `origin`: only good for robustness
VOLATILE = frozenset({"encrypted_content", "fingerprint"})  # made anew at each serialisation (1)
TOLD_AT_THE_END = {
    # Ids that rotate (4), ids that were made up (8), and tools that no event brings (6).
    "copilot-reasoning.jsonl": {"id"},
    "openrouter-reasoning-text.jsonl": {"id"},
    "vllm-text.jsonl": {"id", "summary"},
    "openai-mcp-list-tools.jsonl": {"tools"},
}
"""Streams whose last event says of these fields what none before it said."""


def _streams() -> list[tuple[JsonObject, Stream]]:
    return [(entry, _stream(entry["file"])) for entry in table("MANIFEST")["streams"]]


def _stream(name: str) -> Stream:
    text = (STREAMS / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


@pytest.fixture(scope="module")
def corpus() -> list[tuple[JsonObject, Stream]]:
    return _streams()


@pytest.fixture(scope="module")
def recorded(corpus: list[tuple[JsonObject, Stream]]) -> list[Stream]:
    """The streams that nobody edited and that have an end."""
    return [
        stream
        for entry, stream in corpus
        if CUT not in entry["origin"] and stream[-1]["type"] in TERMINAL
    ]


def test_recorded_streams_have_no_protocol_error(recorded: list[Stream]) -> None:
    assert len(recorded) > 100
    for stream in recorded:
        folded = Fold({})
        assert [event for event in stream if not folded.apply(event)] == []
        assert not folded.has_gaps


def test_recorded_streams_end_as_their_last_event_says(recorded: list[Stream]) -> None:
    for stream in recorded:
        said = stream[-1]["response"]
        kept = fold({}, stream[:-1])["output"]
        assert fold({}, stream) == ({**said, "output": kept} if "output" not in said else said)


def test_without_the_last_event_finished_items_are_there_in_order(recorded: list[Stream]) -> None:
    for stream in recorded:
        output = fold({}, stream[:-1])["output"]
        finished = _finished(stream)
        assert {index: output[index] for index in finished} == finished


def _finished(stream: Stream) -> dict[int, JsonObject]:
    return {
        event["output_index"]: event["item"]
        for event in stream
        if event["type"] == "response.output_item.done"
    }


def test_without_the_last_event_the_output_is_what_that_will_say(
    corpus: list[tuple[JsonObject, Stream]],
) -> None:
    compared = 0
    for entry, stream in corpus:
        said = stream[-1].get("response", {}).get("output")
        if CUT in entry["origin"] or not said:
            continue
        names = VOLATILE | TOLD_AT_THE_END.get(entry["file"], set())
        folded = fold({}, stream[:-1])["output"]
        assert (entry["file"], _without(folded, names)) == (entry["file"], _without(said, names))
        compared += 1
    assert compared > 100


def _without(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(child, names) for key, child in value.items() if key not in names}
    return [_without(child, names) for child in value] if isinstance(value, list) else value


def test_every_prefix_of_a_recorded_stream_is_json(
    corpus: list[tuple[JsonObject, Stream]],
) -> None:
    for _, stream in corpus:
        folded = Fold({})
        for number, event in enumerate(stream):
            folded.apply(event)
            if number % 16 == 0 or not event["type"].endswith(".delta"):
                shown = folded.response()
                assert json.loads(json.dumps(shown, allow_nan=False)) == shown
