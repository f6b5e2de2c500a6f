"""Server-sent events: bytes in, bytes out, without I/O.

``Decoder`` follows the event stream interpretation of the HTML standard (section 9.2.6,
https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation) with
two deliberate differences. ``finish`` delivers a last event without its closing blank line, because
some upstreams leave that line out after their terminal event. A line that begins with ``{`` or
``error:`` is an event by itself, because some servers write an error into a stream without
``data:``; the standard would ignore it. ``id`` and ``retry`` are not used here and are ignored like
unknown fields.

``frame`` writes one event. The log stores these bytes, so that a replay joins stored bytes;
``payload`` gives the data of a frame.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

__all__ = ("DONE", "KEEP_ALIVE", "Decoder", "ServerSentEvent", "frame", "payload")

DONE: Final = b"[DONE]"
"""Data of the last event of some upstreams. It is not JSON."""

KEEP_ALIVE: Final = b": keep-alive\n\n"
"""A comment: clients ignore it, and proxies see that the connection is in use."""

_BOM: Final = b"\xef\xbb\xbf"


# Nearly every event arrives in this form: a chunk that is one frame with LF line ends.
_FRAME: Final = re.compile(rb"event: (.*)\ndata: (.*)\n\n")


@dataclass(slots=True)  # not frozen: that makes it three times as slow to create, once per token
class ServerSentEvent:
    """One event of a stream."""

    event: str  # "" when the stream did not name it
    data: bytes  # lines joined by LF; not checked to be UTF-8


class Decoder:
    """Turns the chunks of one stream into events, however they are cut."""

    def __init__(self) -> None:
        self._line = bytearray()  # beginning of a line that has not ended yet
        self._event = ""
        self._data: list[bytes] = []
        self._at_start = True  # no line has ended yet, so the next one may begin with a BOM
        self._after_cr = False  # the last chunk ended with CR, so an LF now belongs to it
        # True when the last event is complete and no byte of the next one has come. False at first.
        self.is_between_events = False

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that *chunk* completes."""
        if self.is_between_events and ord("\r") not in chunk:
            whole = _FRAME.fullmatch(chunk)
            if whole:
                return [ServerSentEvent(_text(whole[1]), whole[2])]
        if not chunk:
            return []
        events = self._interpret(self._complete_lines(chunk))
        self.is_between_events = not (
            self._at_start or self._after_cr or self._line or self._event or self._data
        )
        return events

    def finish(self) -> list[ServerSentEvent]:
        """The last event, if its blank line is missing. Feed nothing afterwards."""
        # The first LF ends a line or completes a CRLF, the second is a blank line in any case.
        return self.feed(b"\n\n")

    def _complete_lines(self, chunk: bytes) -> list[bytes]:
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
        lines = chunk.splitlines()  # of bytes: at LF, CR and CRLF, nowhere else
        self._after_cr = chunk.endswith(b"\r")
        unfinished = b"" if chunk.endswith((b"\n", b"\r")) or not lines else lines.pop()
        if lines and (self._line or self._at_start):
            lines[0] = self._whole_line(lines[0])
        self._line += unfinished
        return lines

    def _whole_line(self, end: bytes) -> bytes:
        line = b"".join((self._line, end))
        self._line.clear()
        if self._at_start:
            self._at_start = False
            return line.removeprefix(_BOM)
        return line

    def _interpret(self, lines: list[bytes]) -> list[ServerSentEvent]:
        events = []
        data = self._data
        for line in lines:
            if not line:
                if data:
                    events.append(ServerSentEvent(self._event, b"\n".join(data)))
                    data.clear()
                self._event = ""
            elif line[:6] == b"data: ":  # most lines; the same as _take_field does
                data.append(line[6:])
            elif line[:1] == b"{" or line[:6] == b"error:":
                events.append(ServerSentEvent(self._event, line.removeprefix(b"error:").strip()))
            else:
                self._take_field(line)
        return events

    def _take_field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")  # a comment is a field without a name
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        elif name == b"event":
            self._event = _text(value.removeprefix(b" "))


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


_LF, _CR, _E = b"\n\re"
_LONGEST_KEPT: Final = 64  # characters of a type that is cached: upstreams choose the types


def frame(type: str, data: bytes) -> bytes:
    """One event as bytes, with its blank line.

    A *type* that is empty or not printable (a line end in it would inject lines) gets no line;
    readers then take the type from the data.

    Raises:
        ValueError: *data* is not one line.
    """
    if _LF in data or _CR in data:
        raise ValueError("the data of a frame must be one line")
    line = _event_line(type) if len(type) <= _LONGEST_KEPT else _event_line.__wrapped__(type)
    return b"%bdata: %b\n\n" % (line, data)


@lru_cache(maxsize=256)  # there are few types, and this is done for each event
def _event_line(type: str) -> bytes:
    return b"event: %b\n" % type.encode() if type and type.isprintable() else b""


def payload(frame: bytes) -> bytes:
    """The data that ``frame`` was given."""
    start = frame.index(b"\n") + 1 if frame[0] == _E else 0  # behind the event line, if any
    return frame[start + len(b"data: ") : -len(b"\n\n")]
