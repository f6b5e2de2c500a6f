"""JSON as it was written: spaces, escapes and numbers stay where only a value changes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null')


class Float(float):
    """A number that remembers how it was written."""

    text: str

    def __new__(cls, text: str) -> Float:
        number = super().__new__(cls, text)
        number.text = text
        return number


class Spelled(str):
    """A number as it is to be written."""

    __slots__ = ()


def parsed(text: str) -> Any:
    return json.loads(text, parse_float=Float)


def respelled(text: str, made: Any) -> str:
    """The JSON *text* with the leaves and the names of *made*, which has the same shape."""
    leaves = _leaves(made)
    return TOKEN.sub(lambda token: _token(token[0], next(leaves)), text)


def _leaves(made: Any) -> Iterator[Any]:
    """As they stand in the text, names of members among them."""
    if isinstance(made, dict):
        for name, value in made.items():
            yield name
            yield from _leaves(value)
    elif isinstance(made, list):
        for value in made:
            yield from _leaves(value)
    else:
        yield made


def _token(token: str, leaf: Any) -> str:
    if isinstance(leaf, Spelled):
        return leaf
    if json.loads(token) == leaf:
        return token
    return json.dumps(leaf, ensure_ascii=token.isascii())
