"""Which requests are refused for their heads. The parser has refused text that is not HTTP.

| rule | by | answer |
| --- | --- | --- |
| the version is 1.0 or 1.1 | RFC 9112, 2.3 | 505 |
| no tunnel | RFC 9110, 9.3.6 | 400 |
| 1.1 has one ``Host``, 1.0 at most one, and it is a host | RFC 9112, 3.2 | 400 |
| the only transfer coding is one ``chunked``, and none in 1.0 | RFC 9112, 6.1 | 400 |
| no WebSocket | this server has none | 400 |
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, TypeAlias

from response_cache_server._http1.refusal import Refusal

__all__ = ("Fields", "check_offer", "check_request")

Fields: TypeAlias = list[tuple[bytes, bytes]]
"""Names in lower case, values without white space around them."""

VERSIONS: Final = ("1.0", "1.1")
CHECKED: Final = frozenset((b"host", b"transfer-encoding", b"expect"))

# RFC 3986, 3.2.2 and 3.2.3: a name or an address of version 4, or an address in brackets.
HOST: Final = re.compile(rb"(?:\[[\w.:%-]+\]|[\w.~!$&'()*+,;=%-]*)(?::\d*)?", re.ASCII)


def check_request(version: str, fields: Fields) -> bool:
    """Whether the client waits for ``100 Continue`` before it sends the body.

    Raises:
        Refusal: a rule is broken.
    """
    if version not in VERSIONS:
        raise Refusal(505, "The HTTP version is not supported: use HTTP/1.1.")
    hosts, codings, expects = [], [], False
    for name, value in fields:
        if name in CHECKED:  # one look for each field: this loop runs at each request
            if name == b"host":
                hosts.append(value)
            elif name == b"expect":
                expects = value.lower() == b"100-continue"
            else:
                codings.append(value.lower())
    if len(hosts) != 1 and (hosts or version != "1.0"):
        raise Refusal(400, "The request must have exactly one Host field.")
    if hosts and not HOST.fullmatch(hosts[0]):
        raise Refusal(400, "The Host field is not valid.")
    if codings and (codings != [b"chunked"] or version == "1.0"):
        raise Refusal(400, "The only transfer coding that is supported is 'chunked', in HTTP/1.1.")
    return expects and version != "1.0"


def check_offer(method: str, version: str, fields: Fields) -> None:
    """Judge a request that offers to go on in another protocol (RFC 9110, 7.8).

    Raises:
        Refusal: the client depends on it: a tunnel, or a WebSocket.
    """
    if method == "CONNECT":
        raise Refusal(400, "There is no tunnel here.")
    if version != "1.0" and b"websocket" in _tokens(v for n, v in fields if n == b"upgrade"):
        raise Refusal(
            400, "There are no WebSockets here: send the request by POST, with 'stream': true."
        )


def _tokens(values: Iterable[bytes]) -> set[bytes]:
    return {token.strip().lower() for value in values for token in value.split(b",")}
