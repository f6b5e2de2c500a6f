"""The peers whose ``X-Forwarded-*`` and ``Forwarded`` are trusted: ``--forwarded-allow-ips``.

The setting means what it means to uvicorn (https://www.uvicorn.org/settings/#http): a comma list of
addresses and networks, or ``*`` for all peers. A peer without an address, at a Unix socket, is
trusted only with ``*``. Unlike in uvicorn, any other word is an error.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from response_cache_server._asgi import Scope

__all__ = ("TRUSTED_BY_DEFAULT", "TrustedProxies")

TRUSTED_BY_DEFAULT = "127.0.0.1,::1"
"""The default: proxies on the same machine."""


class TrustedProxies:
    """The peers that *allowed* names.

    Raises:
        ValueError: a part of it is neither an address nor a network.
    """

    def __init__(self, allowed: str) -> None:
        self._everybody = allowed.strip() == "*"
        parts = [] if self._everybody else [part.strip() for part in allowed.split(",")]
        self._networks = [_network(part) for part in parts if part]
        self._includes = lru_cache(maxsize=1024)(self._look_up)

    def includes(self, scope: Scope) -> bool:
        """Whether the peer that sent this request is trusted."""
        if self._everybody:
            return True
        client = scope.get("client")
        return client is not None and self._includes(str(client[0]))

    def _look_up(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        # On a socket for both versions, IPv4 comes as ::ffff:0:0/96 (RFC 4291, section 2.5.5.2).
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._networks)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(
            f"must be a comma list of addresses and networks, or '*' alone: {error}"
        ) from None
