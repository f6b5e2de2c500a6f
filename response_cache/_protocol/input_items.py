"""The input items of a response, and their pages (OpenAI API reference, List input items).

Nothing is stored for them: they are derived from the request's input as it was received. A page
starts behind an id, so each item needs one that names it alone and is the same at every derivation:
what the client gave, else digits drawn from the response's id and the item's position.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from response_cache._protocol.jsontext import JsonObject
from response_cache.errors import InvalidRequest

__all__ = ("Paging", "page_of", "parse_paging")


# fmt: off
_PREFIXES: Final[Mapping[str, str]] = {
    "message":               "msg_",
    "reasoning":             "rs_",
    "function_call":         "fc_",
    "custom_tool_call":      "ctc_",
    "web_search_call":       "ws_",
    "file_search_call":      "fs_",
    "code_interpreter_call": "ci_",
    "image_generation_call": "ig_",
    "mcp_call":              "mcp_",
    "mcp_list_tools":        "mcpl_",
    "compaction":            "cmp_",
}
# fmt: on
_OTHER_PREFIX: Final = "item_"  # the prefix of these types is not known
_MADE_DIGITS: Final = 48
_MADE: Final = re.compile(rf"[a-z]+_[0-9a-f]{{{_MADE_DIGITS}}}")

_WITH_STATUS: Final = frozenset(
    {
        "message",
        "function_call",
        "function_call_output",
        "computer_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "shell_call",
        "shell_call_output",
    }
)
"""Types whose ``status`` a client may leave out; the API fills it in."""


# --- Entries of the input ----------------------------------------------------------------------


def _entries(given: Any) -> Iterator[tuple[int, JsonObject]]:
    if isinstance(given, str):
        yield 0, {"role": "user", "content": given}
    elif isinstance(given, dict):  # some wrapped apps accept one item without a list
        yield 0, given
    elif isinstance(given, list):
        yield from ((index, entry) for index, entry in enumerate(given) if isinstance(entry, dict))


def _filled(entry: JsonObject) -> JsonObject:
    item = entry | {"type": _type_of(entry)}
    if item["type"] in _WITH_STATUS and item.get("status") is None:
        item["status"] = "completed"
    if item["type"] == "message" and isinstance(item.get("content"), str):
        item["content"] = [_text_part(item.get("role"), item["content"])]
    return item


def _type_of(entry: JsonObject) -> str:
    """``type`` may be missing in a message, and in a reference, which has an id alone."""
    given = entry.get("type")
    if isinstance(given, str):
        return given
    return "item_reference" if "id" in entry and "role" not in entry else "message"


def _text_part(role: Any, text: str) -> JsonObject:
    if role == "assistant":
        return {"type": "output_text", "text": text, "annotations": []}
    return {"type": "input_text", "text": text}


# --- Their ids ---------------------------------------------------------------------------------


class _Entry(NamedTuple):
    """An entry of the input that stands for an item."""

    number: int  # among all entries
    body: JsonObject
    id: str | None  # None: the id is made here


def _named(entries: Sequence[tuple[int, JsonObject]], response_id: str) -> list[_Entry]:
    """The entries with the ids that the client gave, as far as they are unique.

    An id that an earlier item has is ignored: a client that pages by it would never get past the
    second item. Where an id of the client looks like one made here, ids made here count, too.
    """
    is_risky = any(_looks_made(body.get("id")) for _, body in entries)
    taken: set[str] = set()
    named = []
    for number, body in entries:
        given = body.get("id")
        is_usable = isinstance(given, str) and given and given not in taken
        entry = _Entry(number, body, given if is_usable else None)
        if entry.id is not None or is_risky:
            taken.add(_id_of(entry, response_id))
        named.append(entry)
    return named


def _id_of(entry: _Entry, response_id: str) -> str:
    if entry.id is not None:
        return entry.id
    digest = hashlib.sha256(f"{response_id}:{entry.number}".encode()).hexdigest()
    return _PREFIXES.get(_type_of(entry.body), _OTHER_PREFIX) + digest[:_MADE_DIGITS]


def _looks_made(id: object) -> bool:
    return isinstance(id, str) and _MADE.fullmatch(id) is not None


# --- Pages -------------------------------------------------------------------------------------

_MAX_LIMIT: Final = 100
_DEFAULT_LIMIT: Final = 20
_INTEGER: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Paging:
    """The page that is asked for."""

    limit: int
    order: str  # "asc": as they were sent; "desc": the last one first
    after: str | None  # id of the item before the page, in that order; None for the first page


def parse_paging(query: Mapping[str, Sequence[str]]) -> Paging:
    """Read ``limit``, ``order`` and ``after``; the last value of a name counts.

    Raises:
        InvalidRequest: ``limit`` or ``order`` is not one of the values allowed.
    """
    limit, order = _last(query, "limit"), _last(query, "order")
    return Paging(
        limit=_DEFAULT_LIMIT if limit is None else _limit(limit),
        order="desc" if order is None else _order(order),
        after=_last(query, "after"),
    )


def _last(query: Mapping[str, Sequence[str]], name: str) -> str | None:
    values = query.get(name)
    return values[-1] if values else None


def _limit(text: str) -> int:
    if _INTEGER.fullmatch(text) and 1 <= int(text) <= _MAX_LIMIT:
        return int(text)
    raise InvalidRequest(f"'limit' must be an integer from 1 to {_MAX_LIMIT}.", param="limit")


def _order(text: str) -> str:
    if text in ("asc", "desc"):
        return text
    raise InvalidRequest("'order' must be 'asc' or 'desc'.", param="order")


def page_of(body: JsonObject, response_id: str, paging: Paging) -> JsonObject:
    """One page of the input items of a create request, in the envelope of a list.

    Of *body* the ``input`` is read, and left as it is. Entries that are not objects stand for no
    item. Only the items of the page are filled in: of the others no more than the ids is read.

    Raises:
        InvalidRequest: no item has the id ``paging.after``.
    """
    ordered = _named(list(_entries(body.get("input"))), response_id)
    if paging.order == "desc":
        ordered.reverse()
    start = 0 if paging.after is None else _position_behind(ordered, paging.after, response_id)
    page = ordered[start : start + paging.limit]
    data = [_filled(entry.body) | {"id": _id_of(entry, response_id)} for entry in page]
    return {
        "object": "list",
        "data": data,
        # Clients that validate require strings, also in an empty page.
        "first_id": data[0]["id"] if data else "",
        "last_id": data[-1]["id"] if data else "",
        "has_more": start + paging.limit < len(ordered),
    }


def _position_behind(ordered: Sequence[_Entry], id: str, response_id: str) -> int:
    may_be_made = _looks_made(id)
    for position, entry in enumerate(ordered):
        if entry.id == id or (
            may_be_made and entry.id is None and _id_of(entry, response_id) == id
        ):
            return position + 1
    raise InvalidRequest("'after' names no input item of this response.", param="after")
