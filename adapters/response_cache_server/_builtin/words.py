"""Words of an invented language: equal seeds give equal words."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Final

__all__ = ("words",)

SYLLABLES: Final = tuple(
    onset + vowel
    for onset in ("b", "d", "f", "k", "l", "m", "n", "r", "s", "t")
    for vowel in "aeiou"
)
SENTENCE: Final = 9  # words


def words(seed: str, count: int) -> Iterator[str]:
    """*count* words, each but the first with its leading space; joined they are sentences."""
    random = Random(seed)  # noqa: S311 - repeatable on purpose, and no secret
    for index in range(count):
        word = "".join(random.choices(SYLLABLES, k=random.randint(1, 3)))
        begins = index % SENTENCE == 0
        ends = index % SENTENCE == SENTENCE - 1 or index == count - 1
        yield (" " if index else "") + (word.capitalize() if begins else word) + "." * ends
