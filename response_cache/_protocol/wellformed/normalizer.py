"""Whatever an upstream sends becomes events of a well-formed log: pure, one event at a time.

    parsed event ──> Normalizer.feed() ──> events to record, in this order

It stands before the fold, so that the fold is strict and polls show all that came. What
``log_check`` finds nothing in goes through as it is: the very same objects, so that a recorder may
keep their bytes.

**Deltas that pass by.** A recorder need not feed every delta. Once a delta has been fed and came
back as one event, others that differ from it in their text alone may be recorded in the form that
it got, until any other event comes. Nothing here depends on how many there were: that a part has
text is remembered at its first delta, and the text itself is asked for (*folded*) where it matters.
Which item or part an event means changes only by events that must be fed: announcements and ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from response_cache._protocol.error_forms import failure_in
from response_cache._protocol.events import (
    CREATED,
    DROPPED,
    ERROR,
    IN_PROGRESS,
    LIFECYCLE,
    QUEUED,
)
from response_cache._protocol.events import DONE as RESPONSE_DONE
from response_cache._protocol.jsontext import JsonObject
from response_cache._protocol.responses import Failure
from response_cache._protocol.wellformed.announcements import about_item, added, done
from response_cache._protocol.wellformed.context import Context
from response_cache._protocol.wellformed.endings import ended
from response_cache._protocol.wellformed.families import ADDED, DONE, FAMILIES, Family, Step
from response_cache._protocol.wellformed.held_calls import let_go
from response_cache._protocol.wellformed.lifecycles import is_waiting, nested, with_end
from response_cache._protocol.wellformed.names import NAMES, renamed
from response_cache._protocol.whole_answers import events_of

__all__ = ("Normalizer",)


class Normalizer:
    """Makes the events of one run well-formed.

    ``mended`` counts what was mended, by kind; of deltas that pass by it knows nothing.
    ``failure`` is the last error of which the upstream told, typed or not: the reason where the
    stream ends without a terminal event.
    """

    def __init__(
        self,
        response_id: str,
        folded: Callable[[], Sequence[Any]],
        *,
        keep_done_items: bool = True,
    ) -> None:
        """For the response that the log calls *response_id*.

        *folded* returns the items by output index, as all events returned so far fold, with whole
        texts; in the place of a gap is something that is no dict. It is called where something is
        odd and at the end, never for a delta of a well-formed stream.

        Without *keep_done_items* an item that was done and is missing from a terminal ``output``
        stays away: a guardrail may have taken it out.
        """
        self._context = Context(response_id, folded)
        self._keep_done_items = keep_done_items
        self._waiting: JsonObject | None = None  # what the upstream said while it was queued
        self._has_begun = False
        self._steady: JsonObject | None = None  # the last event, if it only added to a text
        self.failure: Failure | None = None
        self.is_over = False

    @property
    def mended(self) -> Mapping[str, int]:
        """How often each kind of thing was mended."""
        return self._context.mended

    def feed(self, event: Any) -> list[JsonObject]:
        """What is to be recorded for one event of the upstream, which may be any JSON value.

        Text stands for an event that is no JSON. Never raises because of an event. An untouched
        event comes back as the same object; all others are new, and the event is not changed.
        After a terminal event nothing is recorded any more.
        """
        if self._steady is not None and _is_again(event, self._steady):
            return [event]
        self._steady = None
        if self.is_over:
            return []
        name = event["type"] if type(event) is dict and "type" in event else None
        if type(name) is not str:
            return self._untyped(event)
        if name in NAMES:
            self._context.count("old_name")
            event = renamed(name, event)
            name = event["type"]
        if name in FAMILIES:
            return self._about_item(FAMILIES[name], event)
        if name in LIFECYCLE:
            return self._lifecycle(name, event)
        if name in _HANDLERS:
            return self._begun() + _HANDLERS[name](self._context, event)
        if name == ERROR:
            self.failure = failure_in(event, _kind_of_error(event)) or self.failure
        return [event] if name in DROPPED else [*self._begun(), event]

    def answer(self, response: JsonObject) -> Iterator[JsonObject]:
        """What is to be recorded for a whole Response, given instead of a stream.

        Each event is to be recorded before the next is taken, as *folded* must know of it.
        """
        yield from self.feed({"type": IN_PROGRESS, "response": {**response, "output": []}})
        for event in events_of(response):
            yield from self.feed(event)
        yield from self.feed({"type": RESPONSE_DONE, "response": response})

    def finish(self) -> list[JsonObject]:
        """The stream has ended, or is given up, without a terminal event.

        Calls that were held are told, as far as they can be called. Nothing else is made up.
        """
        if self.is_over:
            return []
        self.is_over, self._steady = True, None
        events: list[JsonObject] = []
        for item in self._context.roster.items:
            events += let_go(self._context, item, is_finished=True)
            if item.held is not None:
                self._context.count("nameless_call", item)
        return events

    def _about_item(self, family: Family, event: JsonObject) -> list[JsonObject]:
        events = about_item(self._context, family, event)
        if self._waiting is not None or not self._has_begun:
            events = self._begun() + events
        if family.step is Step.GROW and len(events) == 1 and events[0] is event:
            self._steady = event
        return events

    def _untyped(self, event: Any) -> list[JsonObject]:
        """An event without a type is no event of ours, but may say what went wrong."""
        if isinstance(event, dict) and event.get("error", True) is None:
            return []
        failure = failure_in(event)
        if failure is not None:
            self.failure = failure
            self._context.count("untyped_error")
        return []

    def _begun(self) -> list[JsonObject]:
        """What the upstream said while it was queued is told when it begins."""
        self._has_begun = True
        if self._waiting is None:
            return []
        response, self._waiting = self._waiting, None
        return [{"type": IN_PROGRESS, "response": {**response, "status": "in_progress"}}]

    def _lifecycle(self, type: str, event: JsonObject) -> list[JsonObject]:
        whole = nested(event)
        if whole is not event:
            self._context.count("flat_lifecycle_event")
        if type not in (CREATED, QUEUED, IN_PROGRESS):
            return self._end(whole)
        if is_waiting(whole):
            self._waiting = {**whole["response"], "output": []}
            return []
        self._waiting, self._has_begun = None, True
        return self._beginning(whole)

    def _beginning(self, event: JsonObject) -> list[JsonObject]:
        """``created`` or ``in_progress``: items that it has already are announced behind it."""
        response = event.get("response")
        items = response.get("output") if isinstance(response, dict) else None
        if not isinstance(response, dict) or items == []:
            return [event]
        events: list[JsonObject] = [{**event, "response": {**response, "output": []}}]
        for index, item in enumerate(items if isinstance(items, list) else []):
            self._context.count("items_in_beginning")
            events += self.feed({"type": ADDED, "output_index": index, "item": item})
        return events

    def _end(self, event: JsonObject) -> list[JsonObject]:
        whole = with_end(event, self.failure)
        if whole is not event:
            self._context.count("wrong_end")
        if not self._has_begun and self._waiting is None:
            self._waiting = {"output": []}  # a beginning of its own, without what the end says
        self.is_over = True
        return self._begun() + ended(self._context, whole, keep_done_items=self._keep_done_items)


def _kind_of_error(event: JsonObject) -> str:
    """What a typed error has for a code where it gives none: its type, as servers nest it."""
    error = event.get("error")
    kind = error.get("type") if isinstance(error, dict) else None
    return kind if isinstance(kind, str) and kind else "server_error"


_ADDRESS: Final = (
    *("type", "item_id"),
    *("output_index", "content_index", "summary_index", "command_index"),
)
"""What the deltas of one text have in common. Most often the next event is one more of them."""


def _is_again(event: Any, last: JsonObject) -> bool:
    """Whether *event* differs from the *last* one in its text alone.

    This is asked of each delta that is fed, so it calls nothing.
    """
    if type(event) is not dict or "delta" not in event or type(event["delta"]) is not str:
        return False
    for name in _ADDRESS:
        if (name in event) is not (name in last):
            return False
        if name not in event:
            continue
        one, other = event[name], last[name]
        # Indexes are compared by identity, because 0, false and 0.0 are equal. What is equal but
        # not identical is found the long way.
        if one is not other and (type(one) is not str or one != other):
            return False
    return True


_HANDLERS: Final[Mapping[str, Callable[[Context, JsonObject], list[JsonObject]]]] = {
    ADDED: added,
    DONE: done,
}
