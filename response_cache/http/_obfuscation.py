"""Pads deltas, so that the length of a frame does not tell the length of a token.

Who sees encrypted traffic sees the lengths of its pieces, and can guess a text from those of its
tokens. So a client may ask for an ``obfuscation`` field in each delta (OpenAI API reference,
``include_obfuscation``): random characters, so many that delta and padding together are a multiple
of 16 long. The padding is made for each reader anew, and is in no log.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from random import choices
from string import ascii_letters, digits
from typing import Final

__all__ = ("padded",)

_BLOCK: Final = 16
"""Length of a delta and its padding together, or a multiple of it, as OpenAI sends them."""

_CHARACTERS: Final = ascii_letters + digits
_FRAME: Final = re.compile(rb"^(event: [^\n]*\.delta\ndata: \{[^\n]*)\}\n\n", re.MULTILINE)
_DELTA: Final = re.compile(rb'[{,]\s*"delta"\s*:\s*"((?:[^"\\]|\\.)*+)"')
"""The value of a key. Inside of a string the quotes would have a backslash before them."""


async def padded(chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """*chunks*, each of whole frames, with padding in every frame of a delta."""
    async with aclosing(chunks):
        async for chunk in chunks:
            yield _FRAME.sub(_with_padding, chunk)


def _with_padding(frame: re.Match[bytes]) -> bytes:
    beginning = frame[1]
    delta = _DELTA.search(beginning)
    length = len(delta[1] if delta else beginning)
    padding = choices(_CHARACTERS, k=-length % _BLOCK)  # noqa: S311 - its length alone matters
    return b'%b,"obfuscation":"%b"}\n\n' % (beginning, "".join(padding).encode())
