"""Streams as sloppy servers send them: well-formed ones, and what is done to them.

It knows the API by itself: nothing of the normalizer is used, nor of its tables. Each delta of a
stream has a word that comes nowhere else, so that one sees what became of it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from hypothesis import strategies as st

Event = dict[str, Any]

OLD_NAMES: Final = {
    "response.output_text.annotation.added": "response.output_text_annotation.added",
    "response.reasoning_text.delta": "response.reasoning.delta",
    "response.reasoning_text.done": "response.reasoning.done",
    "response.reasoning_summary_text.delta": "response.reasoning_summary.delta",
    "response.reasoning_summary_text.done": "response.reasoning_summary.done",
    "response.mcp_call_arguments.delta": "response.mcp_call.arguments.delta",
    "response.mcp_call_arguments.done": "response.mcp_call.arguments_done",
    "response.code_interpreter_call_code.delta": "response.code_interpreter_call.code.delta",
    "response.code_interpreter_call_code.done": "response.code_interpreter_call.code.done",
}


@dataclass
class Sloppy:
    """A stream, and what is known about it."""

    events: list[Event]
    done_to_it: list[str] = field(default_factory=list)
    is_cut: bool = False
    lost: set[str] = field(default_factory=set)  # words of deltas that were left out

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """One event a line, for Hypothesis."""
        lines = "".join(f"\n    {event}," for event in self.events)
        printer.text(f"Sloppy({self.done_to_it}, is_cut={self.is_cut}, events=[{lines}\n])")


def words(event: Event) -> list[str]:
    """The words of a delta."""
    delta = event.get("delta")
    texts = delta.values() if isinstance(delta, dict) else [delta]
    return [text for text in texts if isinstance(text, str) and text]


# --- Well-formed streams -----------------------------------------------------------------------


class _Maker:
    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.count = 0
        self.items = 0

    def pieces(self) -> list[str]:
        texts = []
        for _ in range(self.draw(st.integers(1, 3))):
            self.count += 1
            texts.append(f"w{self.count}. ")
        return texts

    def growing(self, family: str, name: str, at: Event, **extras: Any) -> tuple[list[Event], str]:
        pieces = self.pieces()
        text = "".join(pieces)
        deltas = [{"type": f"{family}.delta", **at, **extras, "delta": p} for p in pieces]
        return [*deltas, {"type": f"{family}.done", **at, **extras, name: text}], text

    def item(self) -> list[Event]:
        makers = (self.message, self.message, self.reasoning, self.call, self.tool, self.shell)
        script: list[Event] = self.draw(st.sampled_from(makers))()
        self.items += 1
        return script

    def whole(self, begun: Event, events: list[Event], done: Event) -> list[Event]:
        done = {**begun, **done}
        if "status" in done:
            done["status"] = "completed"
        added = {"type": "response.output_item.added", "item": begun}
        return [added, *events, {"type": "response.output_item.done", "item": done}]

    def message(self) -> list[Event]:
        id = f"msg_{self.items}"
        begun = {"type": "message", "id": id, "role": "assistant", "status": "in_progress"}
        events: list[Event] = []
        parts = []
        for n in range(self.draw(st.integers(1, 2))):
            at: Event = {"item_id": id, "content_index": n}
            part: Event
            if self.draw(st.booleans()):
                told, part = self.text(at)
            else:
                told, text = self.growing("response.refusal", "refusal", at)
                part = {"type": "refusal", "refusal": text}
            empty = {k: (v if k == "type" else type(v)()) for k, v in part.items()}
            events += [
                {"type": "response.content_part.added", **at, "part": empty},
                *told,
                {"type": "response.content_part.done", **at, "part": part},
            ]
            parts.append(part)
        return self.whole({**begun, "content": []}, events, {"content": parts})

    def text(self, at: Event) -> tuple[list[Event], Event]:
        told, text = self.growing("response.output_text", "text", at, logprobs=[])
        part: Event = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        for n in range(self.draw(st.integers(0, 2))):
            note = {"type": "file_path", "file_id": f"file_{n}", "index": 0}
            event = {"type": "response.output_text.annotation.added", **at}
            told.insert(-1, {**event, "annotation_index": n, "annotation": note})
            part["annotations"].append(note)
        return told, part

    def reasoning(self) -> list[Event]:
        id = f"rs_{self.items}"
        lists: dict[str, list[Event]] = {"summary": [], "content": []}
        events: list[Event] = []
        for n in range(self.draw(st.integers(0, 2))):
            at = {"item_id": id, "summary_index": n}
            told, text = self.growing("response.reasoning_summary_text", "text", at)
            part = {"type": "summary_text", "text": text}
            family = "response.reasoning_summary_part"
            events.append({"type": f"{family}.added", **at, "part": {**part, "text": ""}})
            events += [*told, {"type": f"{family}.done", **at, "part": part}]
            lists["summary"].append(part)
        for n in range(self.draw(st.integers(0, 1))):
            at = {"item_id": id, "content_index": n}
            told, text = self.growing("response.reasoning_text", "text", at)
            part = {"type": "reasoning_text", "text": text}
            family = "response.content_part"
            events.append({"type": f"{family}.added", **at, "part": {**part, "text": ""}})
            events += [*told, {"type": f"{family}.done", **at, "part": part}]
            lists["content"].append(part)
        return self.whole({"type": "reasoning", "id": id, "summary": []}, events, lists)

    def call(self) -> list[Event]:
        kinds = (
            ("function_call", "fc", "function_call_arguments", "arguments"),
            ("custom_tool_call", "ctc", "custom_tool_call_input", "input"),
            ("mcp_call", "mcp", "mcp_call_arguments", "arguments"),
            ("code_interpreter_call", "ci", "code_interpreter_call_code", "code"),
        )
        kind, prefix, family, name = self.draw(st.sampled_from(kinds))
        id = f"{prefix}_{self.items}"
        begun: Event = {"type": kind, "id": id, "status": "in_progress", name: ""}
        if kind in ("function_call", "custom_tool_call"):
            begun |= {"call_id": f"call_{self.items}", "name": "look_up"}
        events, text = self.growing(f"response.{family}", name, {"item_id": id})
        return self.whole(begun, events, {name: text})

    def tool(self) -> list[Event]:
        id = f"ws_{self.items}"
        steps = ("in_progress", "searching", "completed")
        events = [{"type": f"response.web_search_call.{step}", "item_id": id} for step in steps]
        begun = {"type": "web_search_call", "id": id, "status": "in_progress"}
        return self.whole(begun, events, {"action": {"type": "search", "query": "q"}})

    def shell(self) -> list[Event]:
        commands = []
        events: list[Event] = []
        for n in range(self.draw(st.integers(1, 2))):
            family, at = "response.shell_call_command", {"command_index": n}
            told, text = self.growing(family, "command", at)
            events += [{"type": f"{family}.added", **at, "command": ""}, *told]
            commands.append(text)
        begun: Event = {"type": "shell_call", "id": f"sh_{self.items}", "status": "in_progress"}
        begun |= {"call_id": f"call_{self.items}", "action": {"commands": []}}
        return self.whole(begun, events, {"action": {"commands": commands}})


@st.composite
def neat_streams(draw: st.DrawFn, *, endings: tuple[str, ...] = ("completed",)) -> list[Event]:
    """Well-formed streams, whose items may overlap."""
    maker = _Maker(draw)
    scripts = [maker.item() for _ in range(draw(st.integers(1, 4)))]
    turns = [n for n, script in enumerate(scripts) for _ in script]
    if draw(st.booleans()):
        turns = draw(st.permutations(turns))
    opened = list(dict.fromkeys(turns))
    left = [iter(script) for script in scripts]
    middle = [{**next(left[n]), "output_index": opened.index(n)} for n in turns]
    response: Event = {"id": "resp_up", "object": "response", "model": "m", "created_at": 1}
    begun = {**response, "status": "in_progress", "output": []}
    ending = draw(st.sampled_from(endings))
    output = [scripts[n][-1]["item"] for n in opened]
    last = {**response, "status": ending, "output": output, "usage": {"total_tokens": 1}}
    events = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        *middle,
        {"type": f"response.{ending}", "response": last},
    ]
    return copy.deepcopy([{**event, "sequence_number": n} for n, event in enumerate(events)])


# --- What is done to them ----------------------------------------------------------------------

UNUSABLE: Final[tuple[Any, ...]] = (None, "0", "1", -1, 7, 1000, True, 1.0, [])
_INDEXES: Final = ("output_index", "content_index", "summary_index", "command_index")


@st.composite
def sloppy_streams(draw: st.DrawFn) -> Sloppy:
    """Streams to which one or several things were done."""
    stream = Sloppy(draw(neat_streams(endings=("completed", "completed", "incomplete"))))
    for _ in range(draw(st.integers(1, 4))):
        if not stream.events:
            break
        damage = draw(st.sampled_from(DAMAGES))
        damage(draw, stream)
        stream.done_to_it.append(damage.__name__.strip("_"))
    if len(stream.events) > 1 and draw(st.integers(0, 4)) == 0:
        stream.events = stream.events[: draw(st.integers(1, len(stream.events) - 1))]
        stream.is_cut = True
    return stream


def _middle(stream: Sloppy) -> list[Event]:
    return [e for e in stream.events if "output_index" in e or "item_id" in e]


def _some(draw: st.DrawFn, events: list[Event]) -> Iterator[Event]:
    """One of them, or all of one type, or all."""
    if not events:
        return
    one = draw(st.sampled_from(events))
    how = draw(st.integers(0, 2))
    yield from [one] if how == 0 else [e for e in events if how == 2 or e["type"] == one["type"]]


def _drop(draw: st.DrawFn, stream: Sloppy) -> None:
    if len(stream.events) < 3:
        return
    one = draw(st.sampled_from(stream.events[:-1]))
    gone = [one] if draw(st.booleans()) else [e for e in stream.events if e["type"] == one["type"]]
    for event in gone:
        stream.lost.update(words(event))
    stream.events = [e for e in stream.events if not any(e is g for g in gone)]


def _drop_announcements(draw: st.DrawFn, stream: Sloppy) -> None:
    stream.events = [e for e in stream.events if not e["type"].endswith(".added")]


def _keep_deltas_alone(draw: st.DrawFn, stream: Sloppy) -> None:
    stream.events = [e for e in stream.events if "delta" in e or "response" in e]


def _rename(draw: st.DrawFn, stream: Sloppy) -> None:
    for event in _some(draw, [e for e in stream.events if e["type"] in OLD_NAMES]):
        event["type"] = OLD_NAMES[event["type"]]


def _spoil_index(draw: st.DrawFn, stream: Sloppy) -> None:
    name = draw(st.sampled_from(_INDEXES))
    value = draw(st.sampled_from(UNUSABLE))
    for event in _some(draw, [e for e in stream.events if name in e]):
        event[name] = value


def _lose_index(draw: st.DrawFn, stream: Sloppy) -> None:
    name = draw(st.sampled_from(_INDEXES))
    for event in _some(draw, [e for e in stream.events if name in e]):
        del event[name]


def _count_deltas(draw: st.DrawFn, stream: Sloppy) -> None:
    for number, event in enumerate(e for e in stream.events if "content_index" in e):
        event["content_index"] = number


def _collide(draw: st.DrawFn, stream: Sloppy) -> None:
    for event in _middle(stream):
        event["output_index"] = 0


def _lose_id(draw: st.DrawFn, stream: Sloppy) -> None:
    value = draw(st.sampled_from((None, "", ...)))
    for event in _some(draw, [e for e in stream.events if "item_id" in e]):
        if value is ...:
            del event["item_id"]
        else:
            event["item_id"] = value


def _lose_item_ids(draw: st.DrawFn, stream: Sloppy) -> None:
    for event in _items(stream):
        event.pop("id", None)


def _lose_call_ids(draw: st.DrawFn, stream: Sloppy) -> None:
    only_added = draw(st.booleans())
    for event in stream.events:
        is_meant = event["type"].endswith(".added") or not only_added
        if is_meant and "call_id" in (event.get("item") or {}):
            event["item"]["call_id"] = draw(st.sampled_from((None, "")))


def _items(stream: Sloppy) -> Iterator[Event]:
    for event in stream.events:
        if isinstance(event.get("item"), dict):
            yield event["item"]
        yield from event.get("response", {}).get("output", ())


def _empty_the_content(draw: st.DrawFn, stream: Sloppy) -> None:
    for event in stream.events:
        if event["type"] == "response.output_item.added":
            for name in ("content", "summary", "arguments"):
                if name in event["item"]:
                    event["item"][name] = None


def _double(draw: st.DrawFn, stream: Sloppy) -> None:
    at = draw(st.integers(0, max(0, len(stream.events) - 2)))
    stream.events.insert(at, copy.deepcopy(stream.events[at]))


def _double_late(draw: st.DrawFn, stream: Sloppy) -> None:
    middle = _middle(stream)
    if middle:
        event = draw(st.sampled_from(middle))
        at = next(n for n, e in enumerate(stream.events) if e is event)
        later = draw(st.integers(at, max(at, len(stream.events) - 1)))
        stream.events.insert(later, copy.deepcopy(event))


def _rotate_ids(draw: st.DrawFn, stream: Sloppy) -> None:
    for number, event in enumerate(stream.events):
        if "item_id" in event:
            event["item_id"] = f"other_{number}"


def _empty_the_end(draw: st.DrawFn, stream: Sloppy) -> None:
    response = stream.events[-1].get("response", {})
    if draw(st.booleans()):
        response["output"] = []
    else:
        response.pop("output", None)


def _omit_at_the_end(draw: st.DrawFn, stream: Sloppy) -> None:
    output = stream.events[-1].get("response", {}).get("output")
    if output:
        del output[draw(st.integers(0, len(output) - 1))]


def _flatten(draw: st.DrawFn, stream: Sloppy) -> None:
    for at, event in enumerate(stream.events):
        if isinstance(event.get("response"), dict):
            stream.events[at] = {**event["response"], "type": event["type"]}


def _say_queued(draw: st.DrawFn, stream: Sloppy) -> None:
    for event in stream.events[:1]:
        if isinstance(event.get("response"), dict):
            event["response"]["status"] = "queued"


DAMAGES: Final = (
    _drop,
    _drop,
    _drop_announcements,
    _keep_deltas_alone,
    _rename,
    _spoil_index,
    _lose_index,
    _count_deltas,
    _collide,
    _lose_id,
    _lose_item_ids,
    _lose_call_ids,
    _empty_the_content,
    _double,
    _double_late,
    _rotate_ids,
    _empty_the_end,
    _omit_at_the_end,
    _flatten,
    _say_queued,
)
