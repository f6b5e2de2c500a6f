"""One recording in invented words: what is equal stays equal, what differs goes on to differ."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

from tests.data.deltas import Deltas, JsonObject
from tests.data.filling import Filler, fill, is_code
from tests.data.spelling import Float, Spelled
from tests.data.vocabulary import FREE_FIELDS, NAME_MAPS, PROMPTS, is_wire_word

EPOCH: Final = 1_700_000_000  # when all recordings begin, in Unix seconds
DATE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
INVENTED_DATE: Final = "2001-09-09T01:46:40Z"
LONGEST: Final = {
    # How much is kept, in characters, of what no delta brings.
    **dict.fromkeys(PROMPTS, 600),
    **dict.fromkeys(("encrypted_content", "output"), 600),
    # So long that no read from a socket brings it at once.
    **dict.fromkeys(("partial_image_b64", "result"), 20_000),
}
UNIT: Final = re.compile(r"\S{8,300}")  # an id, a name or a URL, looked for inside of texts too
NO_UNITS: Final = ("type", "delta", "text", "obfuscation")
MEASURE: Final = re.compile(r"\d{4,}(?=[eE]|$)")  # digits of a number that somebody measured
TRIES: Final = 20  # short words are soon used up, and may stand for two


class Invention:
    """What stands for what, in one recording of one or more streams."""

    def __init__(self, name: str, streams: Sequence[Sequence[JsonObject]]) -> None:
        self._filler = Filler(name)
        self._made: dict[str, str] = {}
        self._taken: set[str] = set()
        leaves = [leaf for stream in streams for event in stream for leaf in _leaves(event, "")]
        self._units = frozenset(value for name, value in leaves if _is_unit(name, value))
        times = [
            value for name, value in leaves if _is_time(name) and isinstance(value, int | float)
        ]
        self._began = int(min(filter(None, times), default=0))
        self._deltas = [Deltas(stream) for stream in streams]
        for text in (text for deltas in self._deltas for text in deltas.texts.values()):
            self.of(text)  # first, because nothing of it may be left out

    def events(self, number: int, stream: Sequence[JsonObject]) -> Iterator[JsonObject]:
        """The events that stand for those of stream *number*."""
        deltas = self._deltas[number]
        for event, pieces in zip(stream, deltas.pieces, strict=True):
            made: JsonObject = {
                field: None if (field,) in pieces else self._value(value, field)
                for field, value in event.items()
            }
            for (*outer, last), (place, start, end) in pieces.items():
                holder = made["delta"] if outer else made
                holder[last] = self.of(deltas.texts[place])[start:end]
            self._repeat_tokens(event, made)
            yield made

    # Strings.

    def of(self, text: str, field: str = "") -> str:
        """What stands for *text*, or for as much of it as *field* may have."""
        if text not in self._made:
            made = self._fresh(text[: LONGEST.get(field)], field)
            self._made[text] = made
            self._taken.add(made)
        return self._made[text]

    def _fresh(self, text: str, field: str) -> str:
        for _ in range(TRIES):
            made = self._filled(text, field)
            if made not in self._taken and made != text:
                break
        return made

    def _filled(self, text: str, field: str) -> str:
        if field in PROMPTS:
            return self._filler.prose(text)
        if re.fullmatch(r"https?://\S+", text):
            return self._filler.url(text)
        if is_code(text):
            return self._filler.code(text)
        quoted = () if text in self._units else self._units
        return fill(text, self._filler, quoted, self.of)

    # Values.

    def _value(self, value: Any, field: str) -> Any:
        match value:
            case dict():
                return self._object(value, field)
            case list():
                return [self._value(entry, field) for entry in value]
            case str():
                return self._string(value, field)
            case int() | float() if _is_time(field) and value:
                return self._time(value)
            case Float():
                return Spelled(MEASURE.sub(lambda digits: self.of(digits[0]), value.text))
            case _:
                return value

    def _object(self, value: JsonObject, field: str) -> JsonObject:
        name = self.of if field in NAME_MAPS else str
        made = {name(member): self._value(entry, member) for member, entry in value.items()}
        if field not in NAME_MAPS:
            self._repeat_tokens(value, made)
        return made

    def _string(self, text: str, field: str) -> str:
        if field == "type" or (field not in FREE_FIELDS and is_wire_word(text)):
            return text
        if _is_time(field) and DATE.fullmatch(text):
            return INVENTED_DATE
        return self.of(text, field)

    def _time(self, value: float) -> Any:
        """As long after the beginning of the recording as it was."""
        shifted = EPOCH + int(value) - self._began
        if not isinstance(value, Float):
            return shifted
        _, point, rest = value.text.partition(".")
        return Spelled(f"{shifted}{point}{self.of(rest)}")

    # Log probabilities say a text again, token by token, and each token byte by byte.

    def _repeat_tokens(self, value: JsonObject, made: JsonObject) -> None:
        entries = value.get("logprobs") or ()
        tokens = [entry["token"] for entry in entries]
        if "".join(tokens) == value.get("delta", value.get("text")):
            chosen = _cut(made.get("delta", made.get("text")), tokens)
        else:
            chosen = list(map(self.of, tokens))
        for entry, of_it, token in zip(entries, made.get("logprobs") or (), chosen, strict=True):
            self._repeat_token(entry, of_it, token)

    def _repeat_token(self, entry: JsonObject, made: JsonObject, token: str) -> None:
        made |= _token(entry, token)
        for rival, of_it in zip(
            entry.get("top_logprobs") or (), made.get("top_logprobs") or (), strict=True
        ):
            same = rival["token"] == entry["token"]
            of_it |= _token(rival, token if same else self.of(rival["token"]))


def _cut(text: Any, tokens: Sequence[str]) -> list[str]:
    ends = list(accumulate(map(len, tokens)))
    return [text[end - len(token) : end] for end, token in zip(ends, tokens, strict=True)]


def _token(entry: JsonObject, made: str) -> JsonObject:
    """The token, and its bytes where they were its bytes."""
    spelled = entry.get("bytes")
    if spelled is None or bytes(spelled) != entry["token"].encode():
        return {"token": made}
    return {"token": made, "bytes": list(made.encode())}


def _leaves(value: Any, field: str) -> Iterator[tuple[str, Any]]:
    """Each value that is no object and no list, with the field that it is in."""
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from _leaves(entry, name)
    elif isinstance(value, list):
        for entry in value:
            yield from _leaves(entry, field)
    else:
        yield field, value


def _is_unit(field: str, value: Any) -> bool:
    if not isinstance(value, str) or field in NO_UNITS or is_wire_word(value):
        return False
    return UNIT.fullmatch(value) is not None


def _is_time(field: str) -> bool:
    return field.endswith(("_at", "_time"))
