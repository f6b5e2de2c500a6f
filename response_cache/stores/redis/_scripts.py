"""The Lua scripts that run inside of the server, one for each operation of the store."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Final, TypeAlias

__all__ = (
    "APPEND",
    "COMPACT",
    "CREATE",
    "DELETE",
    "POSITION",
    "READ",
    "RENEW",
    "REQUEST",
    "TAKE",
    "Argument",
    "Command",
    "Script",
)

Argument: TypeAlias = bytes | str | int
Command: TypeAlias = tuple[Argument, ...]
"""A command of Redis: its name, and its arguments."""

_FOLDER: Final = files("response_cache.stores.redis") / "lua"


class Script:
    """One script: its source, made of one or more files of ``lua/``, and its SHA-1 digest."""

    def __init__(self, *names: str) -> None:
        parts = [(_FOLDER / f"{name}.lua").read_text("utf-8") for name in names]
        self.source = "\n".join(parts)
        self.digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


CREATE: Final = Script("record", "create")
APPEND: Final = Script("record", "append")
TAKE: Final = Script("record", "view", "take")
READ: Final = Script("record", "view", "read")
REQUEST: Final = Script("record", "request")
POSITION: Final = Script("record", "position")
DELETE: Final = Script("record", "delete")
RENEW: Final = Script("record", "renew")
COMPACT: Final = Script("record", "compact")
