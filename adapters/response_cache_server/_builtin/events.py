"""The events of one answer of the built-in upstream, as plain data.

They come in the order of OpenAI's foreground streams: created, in_progress, each output item from
its addition to its end, one terminal event. Their numbers are 0, 1, 2 and so on. An answer that is
to fail, or to break off, does so after half of its words.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from pydantic_core import to_json

from response_cache_server._builtin.scenario import Output, Scenario
from response_cache_server._builtin.words import words

__all__ = ("MODEL", "Event", "answer", "events", "is_delta")

Event: TypeAlias = dict[str, Any]

MODEL: Final = "built-in"

ECHOED: Final[Mapping[str, Any]] = {
    "frequency_penalty": 0.0,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "model": MODEL,
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
"""Fields that repeat the request, and their values where it does not have them."""

# What the terminal event is, and what it changes in the response.
TERMINAL: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "completed": ("response.completed", {"status": "completed"}),
    "incomplete": (
        "response.incomplete",
        {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
    ),
    "failed": (
        "response.failed",
        {
            "status": "failed",
            "error": {"code": "server_error", "message": "The request asked for a failure."},
        },
    ),
}


def is_delta(event: Event) -> bool:
    """Whether *event* carries a word."""
    return bool(event["type"].endswith(".delta"))


def events(
    request: Mapping[str, Any], scenario: Scenario, *, now: Callable[[], float]
) -> Iterator[Event]:
    """What is sent for *request*, event after event; *now* is asked when it begins and ends."""
    for number, event in enumerate(_Answer(request, scenario, now).events()):
        yield {**event, "sequence_number": number}


def answer(
    request: Mapping[str, Any], scenario: Scenario, *, now: Callable[[], float]
) -> dict[str, Any]:
    """The Response object as it stands at the end."""
    last: dict[str, Any] = {}
    for event in events(request, scenario, now=now):
        last = event.get("response", last)
    return last


class _Answer:
    """A Response while it grows. Events of its lifecycle carry copies of it."""

    def __init__(
        self, request: Mapping[str, Any], scenario: Scenario, now: Callable[[], float]
    ) -> None:
        self._request = request
        self._scenario = scenario
        self._now = now
        self._seed = hashlib.sha256(to_json(request)).hexdigest()
        self._told: dict[Output, int] = dict.fromkeys(scenario.output, 0)  # words so far
        self._response: dict[str, Any] = {
            "id": f"resp_{self._seed[:48]}",
            "object": "response",
            "created_at": int(now()),
            "status": "in_progress",
            "background": False,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "output": [],
            "usage": None,
            **{name: _echo(request, name) for name in ECHOED},
        }

    def events(self) -> Iterator[Event]:
        yield self._lifecycle("response.created")
        yield self._lifecycle("response.in_progress")
        breaks = self._scenario.end in ("failed", "error", "cut")
        yield from self._half(self._items()) if breaks else self._items()
        if self._scenario.end == "cut":
            return
        if self._scenario.end == "error":
            error = {"type": "server_error", **TERMINAL["failed"][1]["error"], "param": None}
            yield {"type": "error", "error": error}
        yield self._terminal("failed" if self._scenario.end == "error" else self._scenario.end)

    def _items(self) -> Iterator[Event]:
        for index, output in enumerate(self._scenario.output):
            item = yield from WRITERS[output](self, index)
            self._response["output"].append(item)
            yield {"type": "response.output_item.done", "output_index": index, "item": item}

    def _half(self, events: Iterable[Event]) -> Iterator[Event]:
        left = self._scenario.words * len(self._scenario.output) // 2
        for event in events:
            if is_delta(event):
                if left == 0:
                    return
                left -= 1
            yield event

    def _lifecycle(self, type: str) -> Event:
        return {"type": type, "response": copy.deepcopy(self._response)}

    def _terminal(self, end: str) -> Event:
        event_type, changes = TERMINAL[end]
        self._response.update(changes, usage=self._usage())
        if end == "completed":
            self._response["completed_at"] = int(self._now())
        return self._lifecycle(event_type)

    def _usage(self) -> dict[str, Any]:
        given = to_json(self._request.get("input")).count(b" ") + 1
        told = sum(self._told.values())
        return {
            "input_tokens": given,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": told,
            "output_tokens_details": {"reasoning_tokens": self._told.get("reasoning", 0)},
            "total_tokens": given + told,
        }

    # A writer for each kind of output: the events of one item but the last, and the item.

    def _message(self, index: int) -> Generator[Event, None, Event]:
        item = {"id": self._id("msg", index), "type": "message", "role": "assistant"}
        place = {"item_id": item["id"], "output_index": index, "content_index": 0}
        part = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
        yield _added(index, {**item, "status": "in_progress", "content": []})
        yield {"type": "response.content_part.added", **place, "part": part}
        delta = {"type": "response.output_text.delta", **place, "logprobs": []}
        text = yield from self._tell("text", index, delta)
        part = {**part, "text": text}
        yield {"type": "response.output_text.done", **place, "logprobs": [], "text": text}
        yield {"type": "response.content_part.done", **place, "part": part}
        return {**item, "status": self._item_status(), "content": [part]}

    def _reasoning(self, index: int) -> Generator[Event, None, Event]:
        item = {"id": self._id("rs", index), "type": "reasoning"}
        place = {"item_id": item["id"], "output_index": index, "summary_index": 0}
        part = {"type": "summary_text", "text": ""}
        yield _added(index, {**item, "summary": []})
        yield {"type": "response.reasoning_summary_part.added", **place, "part": part}
        delta = {"type": "response.reasoning_summary_text.delta", **place}
        text = yield from self._tell("reasoning", index, delta)
        part = {**part, "text": text}
        yield {"type": "response.reasoning_summary_text.done", **place, "text": text}
        yield {"type": "response.reasoning_summary_part.done", **place, "part": part}
        return {**item, "summary": [part]}

    def _function_call(self, index: int) -> Generator[Event, None, Event]:
        item = {
            "id": self._id("fc", index),
            "type": "function_call",
            "call_id": self._id("call", index),
            "name": _function_name(self._request),
        }
        place = {"item_id": item["id"], "output_index": index}
        yield _added(index, {**item, "status": "in_progress", "arguments": ""})
        delta = {"type": "response.function_call_arguments.delta", **place}
        yield {**delta, "delta": '{"query":"'}
        query = yield from self._tell("function_call", index, delta)
        yield {**delta, "delta": '"}'}
        arguments = '{"query":"' + query + '"}'
        yield {"type": "response.function_call_arguments.done", **place, "arguments": arguments}
        return {**item, "status": self._item_status(), "arguments": arguments}

    def _tell(self, output: Output, index: int, event: Event) -> Generator[Event, None, str]:
        told = []
        for word in words(f"{self._seed}/{index}", self._scenario.words):
            self._told[output] += 1
            told.append(word)
            yield {**event, "delta": word}
        return "".join(told)

    def _item_status(self) -> str:
        return "incomplete" if self._scenario.end == "incomplete" else "completed"

    def _id(self, prefix: str, index: int) -> str:
        digest = hashlib.sha256(f"{self._seed}/{prefix}/{index}".encode())
        return f"{prefix}_{digest.hexdigest()[:48]}"


WRITERS: Final[Mapping[Output, Callable[[_Answer, int], Generator[Event, None, Event]]]] = {
    "text": _Answer._message,
    "reasoning": _Answer._reasoning,
    "function_call": _Answer._function_call,
}


def _added(index: int, item: Event) -> Event:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def _echo(request: Mapping[str, Any], name: str) -> Any:
    value = request.get(name)
    if name == "tools" and isinstance(value, list):
        return [_tool(tool) for tool in value]
    return copy.deepcopy(ECHOED[name]) if value is None else value


def _tool(given: Any) -> Any:
    """A function as OpenAI repeats it: with all keys, and ``strict`` as a boolean."""
    if not isinstance(given, dict) or given.get("type") != "function":
        return given
    keys = {"description": None, "parameters": None}
    return {**keys, **given, "strict": given.get("strict") is True}


def _function_name(request: Mapping[str, Any]) -> str:
    tools = request.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict) and tool.get("type") == "function":
            return str(tool.get("name"))
    return "look_up"
