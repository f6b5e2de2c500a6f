"""Ids of responses, by which ours are recognised, and owners of responses.

An id of ours is ``resp_``, a marker, the store's tag, and random hex digits. The marker has a
letter that is no hex digit, so that ours differ from an upstream's ids without a look-up. In
LiteLLM's older dialect an id is ``litellm_poll_`` and a UUID. LiteLLM's own workers make such ids,
too: only the store knows whether one of them is ours.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from response_cache._protocol.content_coding import Inflate
from response_cache._protocol.headers import Headers
from response_cache._protocol.jsontext import JsonObject, dump

__all__ = (
    "ANYBODY",
    "IDS",
    "MAX_ERROR_BYTES",
    "NO_TRANSLATION",
    "POLLING_IDS",
    "Ids",
    "Owner",
    "Translation",
    "digest",
    "may_name_ours",
    "put_our_id",
    "searchable",
)

_PREFIX: Final = "resp_rc"
_POLLING_PREFIX: Final = "litellm_poll_"
_NEVER_ESCAPED: Final = re.compile("[A-Za-z0-9_.:-]+")
_HEX_DIGITS: Final = 48  # as many as in OpenAI's own ids, but for the marker


@dataclass(frozen=True, slots=True)
class Owner:
    """The caller of a request. An owner sees its own responses; an admin sees all responses."""

    id: str | None  # None: no owner is known, so knowing a response's id gives access to it
    is_admin: bool = False

    def may_see(self, owner_id: str | None) -> bool:
        """Whether a response of *owner_id* exists for this owner."""
        return owner_id is None or self.is_admin or self.id == owner_id


ANYBODY: Final = Owner(None)


def digest(secret: str, *parts: str) -> str:
    """A keyed digest of *parts* in 48 hex digits, to be stored instead of *parts*."""
    message = b"".join(
        len(part).to_bytes(4) + part.encode("utf-8", "surrogatepass") for part in parts
    )
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()[:_HEX_DIGITS]


def may_name_ours(data: bytes) -> bool:
    """Whether JSON text may hold an id of ours. The text is searched, not parsed."""
    return any(b'"' + prefix.encode() in data for prefix in (_PREFIX, _POLLING_PREFIX))


_KEPT: Final = frozenset(
    {
        # What a model, a tool or a user has written.
        *("text", "delta", "refusal", "arguments", "input", "code", "output", "content"),
        *("summary", "instructions", "result", "logs", "command", "query", "diff", "stdout"),
        *("stderr", "message", "reason", "title", "url", "description", "token", "value"),
        # Words of the API, and names.
        *("type", "status", "object", "role", "model", "name", "label", "user"),
        # Ids of other things, by which a client goes on.
        *("item_id", "call_id", "conversation", "conversation_id", "thread_id", "session_id"),
    }
)
"""Keys whose text is never the id of a response, even where the two are equal."""


def put_our_id(value: JsonObject, *, theirs: str, ours: str) -> bool:
    """Replace the upstream's id of a response by *ours*; return whether it was there.

    *value* is an event or a Response, and is changed in place, at all depths. A field is changed
    when its value is exactly *theirs*. Text is left as it is, and so is the ``id`` of a part of
    *value* that has a ``type``: it is the id of an item.
    """
    found = False
    waiting: list[Any] = [value]
    while waiting:
        holder = waiting.pop()
        if isinstance(holder, list):
            waiting += [entry for entry in holder if isinstance(entry, dict | list)]
            continue
        is_item = "type" in holder and holder is not value
        for key, held in holder.items():
            if isinstance(held, dict | list):
                if key != "conversation":
                    waiting.append(held)
            elif held == theirs and key not in _KEPT and not (is_item and key == "id"):
                holder[key] = ours
                found = True
    return found


def searchable(id: str) -> bytes:
    """The longest part of *id* that stands in JSON text as it is, however the text escapes.

    Where it does not occur in an event, ``put_our_id`` changes nothing there.
    """
    return max(_NEVER_ESCAPED.findall(id), key=len, default="").encode()


@dataclass(frozen=True, slots=True)
class Ids:
    """The ids of one dialect: how ours are recognised and made."""

    pattern: str  # a regular expression that all ids of ours match
    prefix: str  # of new ids
    shape: Callable[[str, str], str]  # the rest of a new id, from the store's tag and 48 hex digits
    shared: str | None = None  # the prefix of ids that the wrapped app makes, too

    def new(self, tag: str) -> str:
        """A new random id, with the store's *tag* where the dialect has a place for it."""
        return self.prefix + self.shape(tag, secrets.token_hex(_HEX_DIGITS // 2))

    def keyed(self, tag: str, secret: str, owner_id: str, key: str) -> str:
        """The id for an owner's idempotency key: always the same one."""
        return self.prefix + self.shape(tag, digest(secret, "idempotency", owner_id, key))

    def are_ours(self, id: str) -> bool:
        """Whether *id* has the form of the ids made here."""
        return re.fullmatch(self.pattern, id) is not None

    def may_be_the_apps(self, id: str) -> bool:
        """Whether the wrapped app makes ids of this form, too."""
        return self.shared is not None and id.startswith(self.shared)

    def is_elsewhere(self, id: str, tag: str) -> bool:
        """Whether *id* was made by another process whose store is not shared with this one."""
        return bool(tag) and id.startswith(_PREFIX) and not id.startswith(_PREFIX + tag)


def _uuid(_tag: str, digits: str) -> str:
    return str(UUID(hex=digits[:32], version=4))


# The whole id is matched: some upstreams make ids of all letters, and no other text of a path may
# become a store's key.
_PATTERN: Final = f"{_PREFIX}[0-9a-f]{{{_HEX_DIGITS},80}}"
_UUID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"

IDS: Final = Ids(_PATTERN, _PREFIX, str.__add__)
"""The ids of the official dialect."""
POLLING_IDS: Final = Ids(
    f"(?:{_POLLING_PREFIX}{_UUID}|{_PATTERN})", _POLLING_PREFIX, _uuid, shared=_POLLING_PREFIX
)
"""The ids of LiteLLM's older dialect. Official ids of ours stay known, from before the choice."""


# --- Ids in the words of both sides ------------------------------------------------------------

MAX_ERROR_BYTES: Final = 2**20
"""A longer error body, unpacked, is relayed as it came."""

_ABOUT_BYTES: Final = frozenset(
    (b"content-encoding", b"content-length", b"content-md5", b"content-digest", b"digest", b"etag")
)
_BEFORE: Final = rb"(?:(?<![\w-])|(?<=\\[bfnrt])|(?<=\\u[0-9A-Fa-f]{4}))"
_AFTER: Final = rb"(?![\w-])"
"""An id is replaced as a whole word. Before it may stand an escape of JSON that ends in letters."""


@dataclass(frozen=True, slots=True)
class Translation:
    """Ids of ours in one request, and the upstream's own ids that it was sent in their place.

    The client does not know the upstream's ids. An error that names one of them is put into the
    client's words.
    """

    theirs: Mapping[str, str] = field(default_factory=dict)  # by our ids

    def error(self, headers: Headers, content: bytes) -> tuple[Headers, bytes]:
        """Headers and content of an HTTP error, with our ids in place of the upstream's.

        The content comes back without its content coding where an id was replaced in it. It stays
        as it came where no id is in it, where it cannot be read, and beyond ``MAX_ERROR_BYTES``.
        """
        plain = _unpacked(headers, content)
        told = self._told(plain) if plain is not None else plain
        if told is None or told == plain:
            return headers, content
        kept = (pair for pair in headers if pair[0].lower() not in _ABOUT_BYTES)
        return (*kept, (b"content-length", b"%d" % len(told))), told

    def _told(self, text: bytes) -> bytes:
        ours = {dump(theirs)[1:-1]: id.encode() for id, theirs in self.theirs.items() if theirs}
        if not ours:
            return text
        names = b"|".join(map(re.escape, sorted(ours, key=len, reverse=True)))
        pattern = b"%b(?:%b)%b" % (_BEFORE, names, _AFTER)
        return re.sub(pattern, lambda found: ours[found[0]], text)


NO_TRANSLATION: Final = Translation()
"""Of a request that names no response of ours."""


def _unpacked(headers: Headers, content: bytes) -> bytes | None:
    """*content* without its content coding; None where it cannot be read, or is too long."""
    codings = [
        value.strip().lower() for name, value in headers if name.lower() == b"content-encoding"
    ]
    coding = b",".join(codings).decode("latin-1")
    if coding in ("", "identity"):
        return content if len(content) <= MAX_ERROR_BYTES else None
    inflate = Inflate(coding, MAX_ERROR_BYTES)
    try:
        plain = inflate.feed(content)
    except ValueError:
        return None
    return plain if inflate.is_whole and inflate.given <= MAX_ERROR_BYTES else None
