"""The scripts that run inside Redis, one for each operation, and the commands that call them."""

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
    "REQUEST",
    "TAKE",
    "Argument",
    "Command",
    "Script",
)

Argument: TypeAlias = bytes | str | int
Command: TypeAlias = tuple[Argument, ...]

_HERE: Final = files("response_cache.stores.redis") / "lua"


class Script:
    """The source of one script, put together from its files, and its digest."""

    def __init__(self, *names: str) -> None:
        parts = [(_HERE / f"{name}.lua").read_text("utf-8") for name in names]
        self.name = names[-1]
        self.source = "\n".join(parts)
        self.digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


CREATE: Final = Script("record", "create")
APPEND: Final = Script("record", "append")
TAKE: Final = Script("record", "page", "take")
READ: Final = Script("record", "page", "read")
REQUEST: Final = Script("record", "request")
POSITION: Final = Script("record", "position")
DELETE: Final = Script("record", "delete")
COMPACT: Final = Script("record", "compact")
