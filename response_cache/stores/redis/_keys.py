"""The names of keys: five for each response, in one slot of a cluster.

``{key_prefix}{id}`` is the snapshot. The other four keys have the name of that key as their hash
tag (Redis Cluster specification, "Hash tags"), so all five are in the same slot. Braces in an id
are percent-encoded: they would make another hash tag.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

__all__ = ("id_of", "keys_of", "pattern_of")

MAX_CACHED_ID: Final = 128  # characters; our ids are shorter, and longer ones are not cached

_PARTS: Final = ("meta", "log", "request", "deleted")
_ESCAPED: Final = str.maketrans({"{": "%7B", "}": "%7D", "%": "%25"})


def keys_of(prefix: str, id: str) -> tuple[str, ...]:
    """The keys of a response: snapshot, meta, log, request, tombstone."""
    return (_named if len(id) <= MAX_CACHED_ID else _named.__wrapped__)(prefix, id)


def id_of(prefix: str, key: str) -> str:
    """The id of the response with this key of a snapshot."""
    id = key.removeprefix(prefix)
    return id.replace("%7B", "{").replace("%7D", "}").replace("%25", "%")


def pattern_of(prefix: str, beginning: str) -> str:
    """The pattern, for SCAN, of the snapshots of all ids with this *beginning*."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", prefix + beginning.translate(_ESCAPED)) + "*"


@lru_cache(maxsize=1024)  # the same few ids again and again
def _named(prefix: str, id: str) -> tuple[str, ...]:
    key = prefix + id.translate(_ESCAPED)
    return (key, *(f"{{{key}}}:{part}" for part in _PARTS))
