"""What the kernel knows of a connection, and the event loop perhaps not yet."""

from __future__ import annotations

import select

__all__ = ("is_readable",)


def is_readable(fileno: int) -> bool:
    """Whether something has come on the socket *fileno*, or its end, that was not read yet."""
    if hasattr(select, "poll"):
        asking = select.poll()  # unlike select(), for numbers of any size
        asking.register(fileno, select.POLLIN)
        return bool(asking.poll(0))
    return bool(select.select([fileno], [], [], 0)[0])
