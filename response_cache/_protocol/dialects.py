"""The dialects of the API: the form of ids, and of Response objects as bytes.

``Options.dialect`` names the form of the object that a client polls, and of the snapshot in the
store. The log is the same in every dialect: its events are in the official form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from response_cache._protocol import jsontext
from response_cache._protocol.ids import IDS, POLLING_IDS, Ids
from response_cache._protocol.jsontext import JsonObject
from response_cache._protocol.litellm_format import from_polling, to_polling
from response_cache.options import DialectName

__all__ = ("DIALECTS", "OFFICIAL", "Dialect")


@dataclass(frozen=True, slots=True)
class Dialect:
    """The ids of responses, and how their objects are written and read."""

    ids: Ids
    dump: Callable[[JsonObject], bytes]
    """An official object as bytes; the object is not changed."""
    load: Callable[[bytes], JsonObject]
    """The official object of what ``dump`` wrote."""


def _dump_polling(response: JsonObject) -> bytes:
    return jsontext.dump(to_polling(response))


def _load_polling(data: bytes) -> JsonObject:
    return from_polling(jsontext.load(data))


OFFICIAL: Final = Dialect(IDS, jsontext.dump, jsontext.load)
DIALECTS: Final[Mapping[DialectName, Dialect]] = {
    "openai": OFFICIAL,
    "litellm": Dialect(POLLING_IDS, _dump_polling, _load_polling),
}
"""By the name of the dialect."""
