"""Streams of events as upstreams send them, for property tests with Hypothesis.

``valid_streams`` keeps the rules of the API: numbers without gaps, items and parts added in order,
``.done`` events that repeat the text of the deltas, one terminal event with the whole output.
Within these rules everything varies: items overlap, a text has many deltas or none, a field is null
until its first delta, unknown events come in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from hypothesis import strategies as st

from response_cache._protocol.events import ALIASES
from response_cache._protocol.jsontext import JsonObject
from response_cache._protocol.wellformed.families import FAMILIES, kind_of

__all__ = ("valid_streams",)

Script: TypeAlias = list[JsonObject]
"""The events of one item, from added to done, without indexes of the output, ids and numbers."""

_TEXTS: Final = st.text(max_size=4)
_PIECES: Final = st.lists(_TEXTS, max_size=3)


@st.composite
def valid_streams(draw: st.DrawFn, *, max_items: int = 4) -> list[JsonObject]:
    """Whole streams, from ``response.created`` to the terminal event, each event a new object."""
    scripts = draw(st.lists(_scripts(), max_size=max_items))
    turns = draw(st.permutations([n for n, script in enumerate(scripts) for _ in script]))
    opened = list(dict.fromkeys(turns))
    items = [[_named(event, at) for event in scripts[n]] for at, n in enumerate(opened)]
    response: JsonObject = {"id": "resp_1", "object": "response", "metadata": {"of": "a test"}}
    events = [
        *draw(_beginnings(response)),
        *_interleaved(items, [opened.index(n) for n in turns]),
        draw(_endings(response, [script[-1]["item"] for script in items])),
    ]
    for bystander in draw(st.lists(st.sampled_from(_BYSTANDERS), max_size=3)):
        events.insert(draw(st.integers(1, len(events) - 1)), bystander)
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def _interleaved(scripts: list[Script], turns: Iterable[int]) -> list[JsonObject]:
    """The scripts' events in the order of *turns*; items are added in order of their index."""
    remaining = [iter(script) for script in scripts]
    return [next(remaining[index]) for index in turns]


def _named(event: JsonObject, index: int) -> JsonObject:
    """*event* of the item at this output *index*, under the ids of that item."""
    id, at = f"item_{index}", {"output_index": index}
    item = event.get("item")
    if item is None:
        family = FAMILIES.get(ALIASES.get(event["type"], event["type"]))
        return {**event, **at, **({"item_id": id} if family is None or family.names_item else {})}
    call = {"call_id": f"call_{index}"} if kind_of(item["type"]).has_call_id else {}
    return {**event, **at, "item": {**item, "id": id, **call}}


# Around the items.


@st.composite
def _beginnings(draw: st.DrawFn, response: JsonObject) -> list[JsonObject]:
    background = draw(st.booleans())
    steps = ("created", "queued", "in_progress") if background else ("created", "in_progress")
    return [
        {
            "type": f"response.{step}",
            "response": {
                **response,
                "status": "queued" if background and step != "in_progress" else "in_progress",
                "output": [],
            },
        }
        for step in steps
    ]


@st.composite
def _endings(draw: st.DrawFn, response: JsonObject, items: list[JsonObject]) -> JsonObject:
    status = draw(st.sampled_from(("completed", "incomplete", "failed", "cancelled")))
    return {
        "type": "response.failed" if status == "cancelled" else f"response.{status}",
        "response": {
            **response,
            "status": status,
            "error": {"code": "server_error", "message": "lost"} if status == "failed" else None,
            "usage": {"total_tokens": len(items)},
            "output": items,
        },
    }


_BYSTANDERS: Final[tuple[JsonObject, ...]] = (
    {"type": "response.audio.delta", "delta": "UklGRg=="},
    {"type": "response.audio.done"},
    {"type": "response.audio.transcript.delta", "delta": "hm"},
    {"type": "response.audio.transcript.done"},
    {"type": "error", "code": "server_error", "message": "hm", "param": None},
    {"type": "keepalive"},
    {"type": "acme:progress", "percent": 12.5, "output_index": 0, "item": {"type": "x"}},
)
"""Events that are no part of the response."""


# Items. A script is the events between "added" and "done", and the finished item.


@st.composite
def _messages(draw: st.DrawFn) -> Script:
    script: Script = []
    parts = []
    for index in range(draw(st.integers(0, 2))):
        events, part = draw(st.one_of(_output_texts(), _refusals()))
        script += _parted("response.content_part", {"content_index": index}, events, part)
        parts.append(part)
    return _item(script, {"type": "message", "role": "assistant"}, {"content": []}, content=parts)


@st.composite
def _reasonings(draw: st.DrawFn) -> Script:
    script: Script = []
    summary, content = [], []
    for index in range(draw(st.integers(0, 2))):
        events, part = draw(_plain_texts("response.reasoning_summary_text", "summary_text"))
        at = {"summary_index": index}
        script += _parted("response.reasoning_summary_part", at, events, part)
        summary.append(part)
    for index in range(draw(st.integers(0, 2))):
        family = draw(st.sampled_from(("response.reasoning_text", "response.reasoning")))
        events, part = draw(_plain_texts(family, "reasoning_text"))
        script += _parted("response.content_part", {"content_index": index}, events, part)
        content.append(part)
    nothing: JsonObject = draw(st.sampled_from(({}, {"content": None}, {"content": []})))
    done = {"content": content} if content else nothing
    begun = {"summary": [], **nothing}
    return _item(script, {"type": "reasoning"}, begun, summary=summary, **done)


@st.composite
def _output_texts(draw: st.DrawFn) -> tuple[Script, JsonObject]:
    family = "response.output_text"
    pieces = draw(_PIECES)
    logprobs = draw(st.booleans()) and bool(pieces)
    events = [_text_delta(family, piece, with_logprobs=logprobs) for piece in pieces]
    annotations = draw(st.lists(st.builds(_citation, st.integers(0, 9)), max_size=2))
    for index, annotation in enumerate(annotations):
        event = {"type": f"{family}.annotation.added", "annotation_index": index}
        events.append({**event, "annotation": annotation})
    text = "".join(pieces)
    scores = [score for event in events for score in event.get("logprobs", ())]
    done = {"type": f"{family}.done", "text": text, "logprobs": scores}
    part = {"text": text, "annotations": annotations, "logprobs": scores}
    return [*events, done], {"type": "output_text", **part}


def _text_delta(family: str, piece: str, *, with_logprobs: bool) -> JsonObject:
    logprobs = [{"token": piece, "logprob": -0.5, "top_logprobs": []}] if with_logprobs else []
    return {"type": f"{family}.delta", "delta": piece, "logprobs": logprobs, "obfuscation": "x9"}


def _citation(start: int) -> JsonObject:
    return {
        "type": "url_citation",
        "start_index": start,
        "end_index": start + 1,
        "title": "a page",
        "url": "https://example.com/",
    }


def _refusals() -> st.SearchStrategy[tuple[Script, JsonObject]]:
    return _PIECES.map(
        lambda pieces: (
            _growth("response.refusal", "refusal", pieces),
            {"type": "refusal", "refusal": "".join(pieces)},
        )
    )


def _plain_texts(family: str, kind: str) -> st.SearchStrategy[tuple[Script, JsonObject]]:
    return _PIECES.map(
        lambda pieces: (
            _growth(family, "text", pieces),
            {"type": kind, "text": "".join(pieces)},
        )
    )


@st.composite
def _calls(draw: st.DrawFn) -> Script:
    """Calls whose argument is one growing text, with events about their progress."""
    kind, family, field, begun, steps = draw(st.sampled_from(_CALLS))
    pieces = draw(_PIECES)
    statuses = draw(_reports(steps))
    script = [
        *_growth(family, field, pieces),
        *({"type": f"response.{kind}.{status}"} for status in statuses),
    ]
    text = "".join(pieces)
    return _item(script, {"type": kind, "name": "f"}, {field: begun}, **{field: text})


_MCP: Final = ("in_progress", "completed", "failed")
_CODE: Final = ("in_progress", "interpreting", "completed")
# fmt: off
_CALLS: Final = (
    ("function_call",         "response.function_call_arguments",    "arguments", "",   ()),
    ("custom_tool_call",      "response.custom_tool_call_input",     "input",     "",   ()),
    ("mcp_call",              "response.mcp_call_arguments",         "arguments", "",   _MCP),
    ("code_interpreter_call", "response.code_interpreter_call_code", "code",      None, _CODE),
)

_TOOLS: Final[Mapping[str, tuple[str, ...]]] = {
    "web_search_call":       ("in_progress", "searching", "completed"),
    "file_search_call":      ("in_progress", "searching", "completed"),
    "image_generation_call": ("in_progress", "generating", "partial_image", "completed"),
    "mcp_list_tools":        ("in_progress", "completed", "failed"),
    "compaction":            ("compacting",),
}
# fmt: on


@st.composite
def _tools(draw: st.DrawFn) -> Script:
    """Tools with events about their progress alone; the finished item has the result."""
    kind = draw(st.sampled_from(sorted(_TOOLS)))
    steps = draw(_reports(_TOOLS[kind]))
    script: Script = [{"type": f"response.{kind}.{step}"} for step in steps]
    for event in script:
        if event["type"].endswith(".partial_image"):
            event |= {"partial_image_index": 0, "partial_image_b64": "iVBORw=="}
    return _item(script, {"type": kind}, {"result": None}, result=draw(_TEXTS))


def _reports(steps: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    """All steps in order, or some of them in any order, as from a tool that runs twice."""
    some = st.lists(st.sampled_from(steps), max_size=3) if steps else st.just([])
    return st.one_of(st.just(list(steps)), some)


@st.composite
def _shell_calls(draw: st.DrawFn) -> Script:
    commands = draw(st.lists(_PIECES, max_size=2))
    script: Script = []
    for index, pieces in enumerate(commands):
        family = "response.shell_call_command"
        events = [{"type": f"{family}.added", "command": ""}, *_growth(family, "command", pieces)]
        script += [{**event, "command_index": index} for event in events]
    action: JsonObject = {"timeout_ms": 5, "commands": ["".join(pieces) for pieces in commands]}
    begun = {"action": {"timeout_ms": 5, "commands": []}}
    return _item(script, {"type": "shell_call"}, begun, action=action)


@st.composite
def _shell_outputs(draw: st.DrawFn) -> Script:
    family = "response.shell_call_output_content"
    outputs = []
    script: Script = []
    for index in range(draw(st.integers(0, 2))):
        streams = st.fixed_dictionaries({}, optional={"stdout": _TEXTS, "stderr": _TEXTS})
        deltas = draw(st.lists(streams, max_size=2))
        script += [
            {"type": f"{family}.delta", "delta": delta, "command_index": index} for delta in deltas
        ]
        texts = {
            name: "".join(delta.get(name, "") for delta in deltas) for name in ("stdout", "stderr")
        }
        outputs.append({**texts, "outcome": {"type": "exit", "exit_code": 1}})
        script.append({"type": f"{family}.done", "output": outputs[-1:], "command_index": index})
    return _item(script, {"type": "shell_call_output"}, {"output": []}, output=outputs)


def _scripts() -> st.SearchStrategy[Script]:
    return st.one_of(
        _messages(), _reasonings(), _calls(), _tools(), _shell_calls(), _shell_outputs()
    )


# The parts of scripts.


def _item(events: Script, kind: JsonObject, begun: JsonObject, **done: Any) -> Script:
    """*events* between the item as it was *begun* and as it was *done*."""
    return [
        {
            "type": "response.output_item.added",
            "item": {**kind, "status": "in_progress", **begun},
        },
        *events,
        {
            "type": "response.output_item.done",
            "item": {**kind, "status": "completed", **done},
        },
    ]


def _parted(family: str, at: JsonObject, events: Script, part: JsonObject) -> Script:
    """*events* of one part, between the empty part and the finished one."""
    empty: dict[type, Callable[[], Any]] = {str: str, list: list}
    begun = {
        name: value if name == "type" else empty[type(value)]() for name, value in part.items()
    }
    script = [
        {"type": f"{family}.added", "part": begun},
        *events,
        {"type": f"{family}.done", "part": part},
    ]
    return [{**event, **at} for event in script]


def _growth(family: str, field: str, pieces: list[str]) -> Script:
    """A text in deltas, then the whole text."""
    deltas = [{"type": f"{family}.delta", "delta": piece} for piece in pieces]
    return [*deltas, {"type": f"{family}.done", field: "".join(pieces)}]
