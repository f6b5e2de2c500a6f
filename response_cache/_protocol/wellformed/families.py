"""What each event about an item addresses: one row for each family of events.

A *family* is all events about one thing, as ``response.output_text``: its ``.delta`` and ``.done``.
A row says which types of item they may be about, in which list of the item the part is that they
address, of which type that part is, and which text of it grows (OpenAI API reference, Streaming
events). ``KINDS`` says of each type of item how it begins, and ids are made for items that the
upstream gave none.

``response.output_item.added`` and ``.done`` have no row, since they carry the whole item, and
lifecycle events have none, since they are about no item.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from response_cache._protocol.jsontext import JsonObject

__all__ = (
    "ADDED",
    "DONE",
    "FAMILIES",
    "KINDS",
    "LISTS",
    "Family",
    "Kind",
    "Step",
    "event_type",
    "fields_of",
    "is_minted",
    "kind_of",
    "mint_call_id",
    "mint_id",
)

ADDED: Final = "response.output_item.added"
DONE: Final = "response.output_item.done"


class Step(StrEnum):
    """What an event does with what it addresses."""

    ANNOUNCE = "announce"  # a part begins
    GROW = "grow"  # a text becomes longer
    SETTLE = "settle"  # a text is whole
    CLOSE = "close"  # a part is whole
    TELL = "tell"  # anything else: a status, an annotation, a picture


@dataclass(frozen=True, slots=True)
class Family:
    """How the events of one type address what they are about."""

    type: str
    step: Step
    items: tuple[str, ...]  # types of item
    list: str  # of parts, in the item; "" where the item itself is addressed
    index: str  # the event's field that counts in that list; "" likewise
    part: str  # the type of the part; "" where the event carries the part, or it is no object
    field: str  # the text that grows, of the part or else of the item; "" for none
    names_item: bool  # whether the event has an ``item_id``


# fmt: off
_PART_TEXTS: Final[Sequence[tuple[str, str, str, str, str]]] = (
    # family                   item          list               part              text
    ("output_text",            "message",    "content",         "output_text",    "text"),
    ("refusal",                "message",    "content",         "refusal",        "refusal"),
    ("reasoning_text",         "reasoning",  "content",         "reasoning_text", "text"),
    ("reasoning_summary_text", "reasoning",  "summary",         "summary_text",   "text"),
    ("shell_call_command",     "shell_call", "action.commands", "",               "command"),
)
"""Families with a ``.delta`` and a ``.done``, about a part."""

_ITEM_TEXTS: Final[Sequence[tuple[str, str, str]]] = (
    # family                           item                     text
    ("function_call_arguments",         "function_call",         "arguments"),
    ("custom_tool_call_input",          "custom_tool_call",      "input"),
    ("mcp_call_arguments",              "mcp_call",              "arguments"),
    ("code_interpreter_call_code",      "code_interpreter_call", "code"),
    ("shell_call_output_content",       "shell_call_output",     ""),
    ("apply_patch_call_operation_diff", "apply_patch_call",      ""),
)
"""The same, about the item itself."""

_PARTED: Final = "message reasoning"
_PARTS: Final[Sequence[tuple[str, str, str, str, Step]]] = (
    # event                         items        list               part            step
    ("content_part.added",           _PARTED,     "content",         "",             Step.ANNOUNCE),
    ("content_part.done",            _PARTED,     "content",         "",             Step.CLOSE),
    ("reasoning_summary_part.added", "reasoning", "summary",         "summary_text", Step.ANNOUNCE),
    ("reasoning_summary_part.done",  "reasoning", "summary",         "summary_text", Step.CLOSE),
    ("shell_call_command.added",     "shell_call", "action.commands", "",            Step.ANNOUNCE),
    ("output_text.annotation.added", "message",   "content",         "output_text",  Step.TELL),
)
"""Events about a whole part, or about what belongs to one."""

_REPORTS: Final[Mapping[str, str]] = {
    # Types of item, after which the families of their reports are called.
    "code_interpreter_call": "in_progress interpreting completed",
    "compaction":            "compacting",
    "file_search_call":      "in_progress searching completed",
    "image_generation_call": "in_progress generating completed partial_image",
    "mcp_call":              "in_progress completed failed",
    "mcp_list_tools":        "in_progress completed failed",
    "web_search_call":       "in_progress searching completed",
}

_INDEXES: Final[Mapping[str, str]] = {
    "content":         "content_index",
    "summary":         "summary_index",
    "action.commands": "command_index",
    "":                "",
}

# fmt: on

# Their events have no item_id on the wire.
_NAMELESS: Final = ("response.shell_call_command", "response.apply_patch_call_operation_diff")


def _family(
    event: str, step: Step, items: str, list: str = "", part: str = "", field: str = ""
) -> Family:
    type, index = f"response.{event}", _INDEXES[list]
    names_item = not type.startswith(_NAMELESS)
    return Family(type, step, tuple(items.split()), list, index, part, field, names_item)


def _families() -> Iterator[Family]:
    for name, item, parts, part, field in _PART_TEXTS:
        yield _family(f"{name}.delta", Step.GROW, item, parts, part, field)
        yield _family(f"{name}.done", Step.SETTLE, item, parts, part, field)
    for name, item, field in _ITEM_TEXTS:
        yield _family(f"{name}.delta", Step.GROW, item, field=field)
        yield _family(f"{name}.done", Step.SETTLE, item, field=field)
    for event, items, parts, part, step in _PARTS:
        yield _family(event, step, items, parts, part)
    for item, events in _REPORTS.items():
        for event in events.split():
            yield _family(f"{item}.{event}", Step.TELL, item)


FAMILIES: Final[Mapping[str, Family]] = {family.type: family for family in _families()}
"""By type of event."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How an item of one type begins, and by what it is told from others."""

    prefix: str  # of its ids
    beginning: JsonObject  # what it has before anything of it was said; not to be changed
    has_call_id: bool = False  # an answer to it must repeat that id, so it never changes
    has_name: bool = False  # without a name nobody can carry it out
    may_lack_id: bool = False


_RUNNING: Final[JsonObject] = {"status": "in_progress"}
_SERVER: Final[JsonObject] = {"server_label": ""}
_CONTAINER: Final[JsonObject] = {"container_id": ""}
_ACTION: Final[JsonObject] = {"commands": [], "timeout_ms": None, "max_output_length": None}
_SHELL_OUTPUT: Final[JsonObject] = {**_RUNNING, "output": [], "max_output_length": None}


def _client_call(prefix: str, field: str) -> Kind:
    begun = {**_RUNNING, "name": "", field: ""}
    return Kind(prefix, begun, has_call_id=True, has_name=True, may_lack_id=True)


# fmt: off
KINDS: Final[Mapping[str, Kind]] = {
    "message":               Kind("msg",  {**_RUNNING, "role": "assistant", "content": []}),
    "reasoning":             Kind("rs",   {"summary": []}),
    "function_call":         _client_call("fc", "arguments"),
    "custom_tool_call":      _client_call("ctc", "input"),
    "mcp_call":              Kind("mcp",  {**_RUNNING, **_SERVER, "name": "", "arguments": ""}),
    "mcp_list_tools":        Kind("mcpl", {**_SERVER, "tools": []}),
    "code_interpreter_call": Kind("ci",   {**_RUNNING, **_CONTAINER, "code": "", "outputs": []}),
    "web_search_call":       Kind("ws",   {**_RUNNING}),
    "file_search_call":      Kind("fs",   {**_RUNNING, "queries": []}),
    "image_generation_call": Kind("ig",   {**_RUNNING, "result": None}),
    "shell_call":            Kind("sh",   {**_RUNNING, "action": _ACTION}, has_call_id=True),
    "shell_call_output":     Kind("sho",  _SHELL_OUTPUT, has_call_id=True),
    "apply_patch_call":      Kind("apc",  _RUNNING, has_call_id=True),
    "compaction":            Kind("cmp",  {"encrypted_content": ""}),
}
# fmt: on
_UNKNOWN: Final = Kind("item", {})


def kind_of(type: str) -> Kind:
    """What is known of items of this *type*."""
    return KINDS.get(type, _UNKNOWN)


LISTS: Final[Mapping[str, tuple[str, ...]]] = {
    "message": ("content",),
    "reasoning": ("summary", "content"),
    "shell_call": ("action.commands",),
}
"""The lists of parts that items of a type have, in the order in which they are closed."""


def fields_of(type: str) -> tuple[str, str] | None:
    """The family and the name of the text that an item of this *type* has itself."""
    return _OWN_TEXTS.get(type)


_OWN_TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    item: (f"response.{name}", field) for name, item, field in _ITEM_TEXTS if field
}

_BY_PART: Final[Mapping[str, str]] = {
    part: f"response.{name}" for name, _, _, part, _ in _PART_TEXTS if part
}


def event_type(part: str, event: str) -> str:
    """The type of the *event* ("delta", "done") of texts in parts of type *part*; "" if none."""
    name = _BY_PART.get(part)
    return f"{name}.{event}" if name else ""


# --- Ids ---------------------------------------------------------------------------------------

# Made from the response's id, the item's place in the log and its type. So a log that is made again
# has the same ids, and they are told from an upstream's.
_HEX_DIGITS: Final = 40
_MINTED: Final = re.compile(rf"[a-z]+_rc[0-9a-f]{{{_HEX_DIGITS}}}")


def mint_id(response_id: str, index: int, type: str) -> str:
    """An ``id`` for the item of this *type* at output *index*, as ``msg_rc...``."""
    return f"{kind_of(type).prefix}_rc{_digest(response_id, index, type)}"


def mint_call_id(response_id: str, index: int, type: str) -> str:
    """A ``call_id`` for the same."""
    return f"call_rc{_digest(response_id, index, type)}"


def is_minted(id: Any) -> bool:
    """Whether *id* was made here."""
    return isinstance(id, str) and _MINTED.fullmatch(id) is not None


def _digest(response_id: str, index: int, type: str) -> str:
    text = f"{response_id}\n{index}\n{type}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HEX_DIGITS]
