"""What the kernel has received on a socket, before the event loop looks at it."""

from __future__ import annotations

import select

__all__ = ("is_readable",)


def is_readable(fileno: int) -> bool:
    """Whether the socket *fileno* has bytes to read, or was closed by its peer."""
    if hasattr(select, "poll"):
        asking = select.poll()  # unlike select(), takes numbers above 1023
        asking.register(fileno, select.POLLIN)
        return bool(asking.poll(0))
    return bool(select.select([fileno], [], [], 0)[0])
