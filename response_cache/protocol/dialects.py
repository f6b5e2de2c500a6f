"""How responses are called, and how their objects are written down, in each dialect.

The log is the same in all: its events are official. What a client polls, and what stands in the
store beside the log, is in the form that ``Options.dialect`` names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from response_cache.options import DialectName
from response_cache.protocol import jsontext as codec
from response_cache.protocol.ids import IDS, POLLING_IDS, Ids
from response_cache.protocol.jsontext import JsonObject
from response_cache.protocol.litellm_format import from_polling, to_polling

__all__ = ("DIALECTS", "OFFICIAL", "Dialect")


@dataclass(frozen=True, slots=True)
class Dialect:
    """The ids of responses, and their objects as bytes."""

    ids: Ids
    dump: Callable[[JsonObject], bytes]
    """The official object as it is written; it is not changed."""
    load: Callable[[bytes], JsonObject]
    """The official object that was written."""


def _dump_polling(response: JsonObject) -> bytes:
    return codec.dump(to_polling(response))


def _load_polling(data: bytes) -> JsonObject:
    return from_polling(codec.load(data))


OFFICIAL: Final = Dialect(IDS, codec.dump, codec.load)
DIALECTS: Final[Mapping[DialectName, Dialect]] = {
    "openai": OFFICIAL,
    "litellm": Dialect(POLLING_IDS, _dump_polling, _load_polling),
}
"""By the name of the dialect."""
