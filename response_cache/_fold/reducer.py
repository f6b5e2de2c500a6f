"""Fold events into a Response: one table, six operations.

``TABLE`` says for each event type: the operation, the object and the field that it changes, and the
value of the event that it uses. All changes of an event are made, or none. So no event leaves the
Response half changed, and the terminal event corrects what could not be folded.

Items are found by ``output_index`` alone, because one provider sends another ``item_id`` in each
event of an item. A ``.done`` event sets the whole value, so a text is right at its end, even where
its deltas were missing or wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from response_cache._fold.lookups import (
    Place,
    Value,
    entry,
    first_output,
    item,
    member,
    shell_texts,
    to,
    typed,
    whole,
)
from response_cache._fold.operations import (
    GAP,
    Change,
    Draft,
    Field,
    Step,
    assign,
    collect,
    extend,
    insert,
    pad,
    replace,
)
from response_cache._protocol.events import (
    ALIASES,
    CANCELLED,
    COMPLETED,
    CREATED,
    DONE,
    FAILED,
    IN_PROGRESS,
    INCOMPLETE,
    QUEUED,
)
from response_cache._protocol.jsontext import JsonObject

__all__ = ("Fold", "fold")


class Fold:
    """A Response that events are folded into."""

    def __init__(self, response: JsonObject) -> None:
        """Begin with *response*, which the fold owns from now on."""
        self._draft = Draft(response)
        self._latest: _Latest | None = None
        # The pieces of the text that the last event extended, when that was all it did. As long as
        # this is the same list, an event that differs from it in its delta alone need not be
        # applied: its delta may be appended here.
        self.open_text: list[str] | None = None

    def apply(self, event: JsonObject) -> bool:
        """Fold one event; False when it is a protocol error, which changes nothing.

        Never raises, whatever the event is. Unknown types change nothing. The event stays the
        caller's: it shares no container with the response.
        """
        if self._latest is not None and self._latest.takes(event):
            self.open_text = self._latest.pieces
            return True
        self._latest = self.open_text = None
        changes = self._changes(event)
        if changes is None:
            return False
        for change in changes:
            pieces = change()
            if pieces is not None:
                self._latest = _Latest.of(event, pieces)
        return True

    def become(self, response: JsonObject) -> None:
        """Fold an event that has the whole *response*, which the fold owns from now on."""
        self._latest = self.open_text = None
        self._draft.adopt(response)

    def response(self) -> JsonObject:
        """The response as folded so far, without gaps.

        The fold owns it: do not change it, and do not use it after the next event.
        """
        self._draft.join()
        if not self.has_gaps:
            return self._draft.response
        items = [item for item in self.output if item is not GAP]
        return {**self._draft.response, "output": items}

    @property
    def output(self) -> Sequence[Any]:
        """The items by ``output_index``. A gap is an object that is no dict.

        Texts may lack their last deltas here; ``response`` has them.
        """
        return self._draft.output

    @property
    def has_gaps(self) -> bool:
        """Whether an item is missing before a later one.

        ``response`` leaves gaps out, so with gaps it is no state to fold further events into: they
        would find other items under their indexes.
        """
        return any(item is GAP for item in self.output)

    def _changes(self, event: JsonObject) -> list[Change] | None:
        name = event.get("type")
        changes = []
        for rule in _RULES.get(name, ()) if isinstance(name, str) else ():
            if rule.optional is None or event.get(rule.optional):
                change = rule.operation(self._draft, rule.step, event)
                if change is None:
                    return None
                changes.append(change)
        return changes


def fold(snapshot: JsonObject, events: Iterable[JsonObject]) -> JsonObject:
    """*snapshot* after *events*. The fold owns *snapshot* from then on."""
    folded = Fold(snapshot)
    for event in events:
        folded.apply(event)
    return folded.response()


@dataclass(slots=True)  # not frozen: frozen ones are slow to make
class _Latest:
    """The text that the last event extended.

    The next event mostly extends the same text. Then nothing is looked up and checked again.
    """

    type: Any
    output_index: Any
    content_index: Any
    summary_index: Any
    command_index: Any
    pieces: list[str]

    @classmethod
    def of(cls, event: JsonObject, pieces: list[str]) -> _Latest:
        return cls(
            type=event["type"],
            output_index=event.get("output_index"),
            content_index=event.get("content_index"),
            summary_index=event.get("summary_index"),
            command_index=event.get("command_index"),
            pieces=pieces,
        )

    def takes(self, event: JsonObject) -> bool:
        """Add the event's delta if the event extends the same text and does nothing else."""
        delta = event.get("delta")
        # Indexes are compared by identity, because 0, false and 0.0 are equal. For equal indexes
        # that are not identical, False is correct, too: the event is then looked up.
        if (
            isinstance(delta, str)
            and event.get("type") == self.type
            and event.get("output_index") is self.output_index
            and event.get("content_index") is self.content_index
            and event.get("summary_index") is self.summary_index
            and event.get("command_index") is self.command_index
            and not event.get("logprobs")
        ):
            self.pieces.append(delta)
            return True
        return False


Operation: TypeAlias = Callable[[Draft, Step, JsonObject], Change | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """One operation that an event performs."""

    operation: Operation
    step: Step
    optional: str | None  # skip the rule where this field of the event is missing or empty


def _gap() -> object:
    return GAP


def _blank_output() -> JsonObject:
    return {"stdout": "", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}


# fmt: off
RESPONSE: Final     = whole
MESSAGE: Final      = item("message")
REASONING: Final    = item("reasoning")
PARTED: Final       = item("message", "reasoning")
FUNCTION: Final     = item("function_call")
CUSTOM: Final       = item("custom_tool_call")
MCP: Final          = item("mcp_call")
CODE: Final         = item("code_interpreter_call")
WEB: Final          = item("web_search_call")
FILES: Final        = item("file_search_call")
IMAGE: Final        = item("image_generation_call")
SHELL: Final        = item("shell_call")
SHELL_OUTPUT: Final = item("shell_call_output")
ACTION: Final       = member(SHELL, "action")
PART: Final         = entry(MESSAGE, "content", "content_index")
THOUGHT: Final      = entry(REASONING, "content", "content_index")
SUMMARY: Final      = entry(REASONING, "summary", "summary_index")

SELF: Final         = Field("")  # the place itself
ITEMS: Final        = Field("output", "output_index", filler=_gap)
PARTS: Final        = Field("content", "content_index")
SUMMARIES: Final    = Field("summary", "summary_index")
ANNOTATIONS: Final  = Field("annotations", "annotation_index")
COMMANDS: Final     = Field("commands", "command_index")
OUTPUTS: Final      = Field("output", "command_index", filler=_blank_output)
TEXT: Final         = Field("text")
REFUSAL: Final      = Field("refusal")
LOGPROBS: Final     = Field("logprobs")
ARGUMENTS: Final    = Field("arguments")
INPUT: Final        = Field("input")
PROGRAM: Final      = Field("code")
STATUS: Final       = Field("status")

VALUES: Final[Mapping[str, Value]] = {
    "response":   typed("response", dict),
    "item":       typed("item", dict),
    "part":       typed("part", dict),
    "annotation": typed("annotation", dict),
    "logprobs":   typed("logprobs", list),
    "delta":      typed("delta", str),
    "text":       typed("text", str),
    "refusal":    typed("refusal", str),
    "arguments":  typed("arguments", str),
    "input":      typed("input", str),
    "code":       typed("code", str),
    "command":    typed("command", str),
    "delta.*":    shell_texts,
    "output[0]":  first_output,
}
"""How the fields of events are read."""

OPTIONAL: Final = frozenset({"logprobs"})
"""Fields that most events leave empty; their rules are skipped then."""

TABLE: Final[Sequence[tuple[str, Operation, Place, Field, str | Value]]] = (
    # Lenient: a response without `output` keeps the items. Some providers end with an empty output;
    # the recorder repairs that, because an empty output may also be correct.
    (CREATED,                                       replace, RESPONSE, SELF, "response"),
    (QUEUED,                                        replace, RESPONSE, SELF, "response"),
    (IN_PROGRESS,                                   replace, RESPONSE, SELF, "response"),
    (COMPLETED,                                     replace, RESPONSE, SELF, "response"),
    (INCOMPLETE,                                    replace, RESPONSE, SELF, "response"),
    (FAILED,                                        replace, RESPONSE, SELF, "response"),
    (CANCELLED,                                     replace, RESPONSE, SELF, "response"),
    (DONE,                                          replace, RESPONSE, SELF, "response"),

    # Lenient: items may come out of order, twice, or unannounced when they are done.
    ("response.output_item.added",                  insert,  RESPONSE, ITEMS, "item"),
    ("response.output_item.done",                   insert,  RESPONSE, ITEMS, "item"),

    # Lenient, as all insertions: a part may come twice, and a missing list is made.
    ("response.content_part.added",                 insert,  PARTED, PARTS, "part"),
    ("response.content_part.done",                  assign,  PARTED, PARTS, "part"),
    ("response.output_text.delta",                  extend,  PART, TEXT, "delta"),
    ("response.output_text.delta",                  collect, PART, LOGPROBS, "logprobs"),
    ("response.output_text.done",                   assign,  PART, TEXT, "text"),
    ("response.output_text.done",                   assign,  PART, LOGPROBS, "logprobs"),
    ("response.output_text.annotation.added",       insert,  PART, ANNOTATIONS, "annotation"),
    ("response.refusal.delta",                      extend,  PART, REFUSAL, "delta"),
    ("response.refusal.done",                       assign,  PART, REFUSAL, "refusal"),

    ("response.reasoning_text.delta",               extend,  THOUGHT, TEXT, "delta"),
    ("response.reasoning_text.done",                assign,  THOUGHT, TEXT, "text"),
    ("response.reasoning_summary_part.added",       insert,  REASONING, SUMMARIES, "part"),
    ("response.reasoning_summary_part.done",        assign,  REASONING, SUMMARIES, "part"),
    ("response.reasoning_summary_text.delta",       extend,  SUMMARY, TEXT, "delta"),
    ("response.reasoning_summary_text.done",        assign,  SUMMARY, TEXT, "text"),

    ("response.function_call_arguments.delta",      extend,  FUNCTION, ARGUMENTS, "delta"),
    ("response.function_call_arguments.done",       assign,  FUNCTION, ARGUMENTS, "arguments"),
    ("response.custom_tool_call_input.delta",       extend,  CUSTOM, INPUT, "delta"),
    ("response.custom_tool_call_input.done",        assign,  CUSTOM, INPUT, "input"),
    ("response.mcp_call_arguments.delta",           extend,  MCP, ARGUMENTS, "delta"),
    ("response.mcp_call_arguments.done",            assign,  MCP, ARGUMENTS, "arguments"),
    ("response.code_interpreter_call_code.delta",   extend,  CODE, PROGRAM, "delta"),
    ("response.code_interpreter_call_code.done",    assign,  CODE, PROGRAM, "code"),
    ("response.shell_call_command.added",           insert,  ACTION, COMMANDS, "command"),
    ("response.shell_call_command.delta",           extend,  ACTION, COMMANDS, "delta"),
    ("response.shell_call_command.done",            assign,  ACTION, COMMANDS, "command"),
    ("response.shell_call_output_content.delta",    pad,     SHELL_OUTPUT, OUTPUTS, "delta.*"),
    ("response.shell_call_output_content.done",     insert,  SHELL_OUTPUT, OUTPUTS, "output[0]"),

    ("response.code_interpreter_call.in_progress",  assign,  CODE, STATUS, to("in_progress")),
    ("response.code_interpreter_call.interpreting", assign,  CODE, STATUS, to("interpreting")),
    ("response.code_interpreter_call.completed",    assign,  CODE, STATUS, to("completed")),
    ("response.file_search_call.in_progress",       assign,  FILES, STATUS, to("in_progress")),
    ("response.file_search_call.searching",         assign,  FILES, STATUS, to("searching")),
    ("response.file_search_call.completed",         assign,  FILES, STATUS, to("completed")),
    ("response.image_generation_call.in_progress",  assign,  IMAGE, STATUS, to("in_progress")),
    ("response.image_generation_call.generating",   assign,  IMAGE, STATUS, to("generating")),
    ("response.image_generation_call.completed",    assign,  IMAGE, STATUS, to("completed")),
    ("response.mcp_call.in_progress",               assign,  MCP, STATUS, to("in_progress")),
    ("response.mcp_call.completed",                 assign,  MCP, STATUS, to("completed")),
    ("response.mcp_call.failed",                    assign,  MCP, STATUS, to("failed")),
    ("response.web_search_call.in_progress",        assign,  WEB, STATUS, to("in_progress")),
    ("response.web_search_call.searching",          assign,  WEB, STATUS, to("searching")),
    ("response.web_search_call.completed",          assign,  WEB, STATUS, to("completed")),
)
# fmt: on


def _rules() -> Mapping[str, Sequence[Rule]]:
    rules: dict[str, list[Rule]] = {}
    for name, operation, place, field, value in TABLE:
        read = VALUES[value] if isinstance(value, str) else value
        optional = value if isinstance(value, str) and value in OPTIONAL else None
        rules.setdefault(name, []).append(Rule(operation, Step(place, field, read), optional))
    return {**rules, **{alias: rules[name] for alias, name in ALIASES.items()}}


_RULES: Final = _rules()
