"""The texts of a stream, put together of the deltas that bring them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

JsonObject = dict[str, Any]
Path = tuple[str, ...]
"""Where a text is in an event: ``("delta",)``, or ``("delta", "stdout")``."""

Place = tuple[Any, ...]
"""Which text of the stream it is."""

INDEXES: Final = ("content_index", "summary_index", "command_index")


class Piece(NamedTuple):
    """What an event brings of a text."""

    place: Place
    start: int
    end: int


class Deltas:
    """Whole texts by their places, and for each event its pieces of them."""

    def __init__(self, stream: Sequence[JsonObject]) -> None:
        self.texts: dict[Place, str] = {}
        self.pieces = [self._pieces(event) for event in stream]

    def _pieces(self, event: JsonObject) -> dict[Path, Piece]:
        return {path: self._grown(place_of(event, path), text) for path, text in texts_of(event)}

    def _grown(self, place: Place, text: str) -> Piece:
        before = self.texts.get(place, "")
        self.texts[place] = before + text
        return Piece(place, len(before), len(before) + len(text))


def texts_of(event: JsonObject) -> list[tuple[Path, str]]:
    """The texts that a delta brings, each with where it is."""
    delta = event.get("delta") if str(event["type"]).endswith(".delta") else None
    if isinstance(delta, dict):
        return [(("delta", name), text) for name, text in delta.items() if isinstance(text, str)]
    return [(("delta",), delta)] if isinstance(delta, str) else []


def place_of(event: JsonObject, path: Path) -> Place:
    """Ids rotate at some providers; indexes do not."""
    item = event.get("output_index", event.get("item_id"))
    return (event["type"], item, *map(event.get, INDEXES), *path)
