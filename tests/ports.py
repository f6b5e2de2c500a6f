"""Free ports on loopback, also beside other test processes that look for some."""

from __future__ import annotations

import random
import socket
from typing import Final

__all__ = ("free_port",)

PORTS: Final = range(11_000, 21_000)
"""Below the range from which a system gives out ports (32768 on Linux, 49152 by RFC 6335): none of
these becomes the near end of a connection before a server listens on it, or while it is away. A
Redis Cluster listens 10,000 above, too, which is above these and below that range."""

_random: Final = random.SystemRandom()  # test processes may share a seed, and must not share ports


def free_port() -> int:
    """A port on which nobody listens, a moment ago."""
    while True:
        port = _random.choice(PORTS)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:  # taken
            continue
