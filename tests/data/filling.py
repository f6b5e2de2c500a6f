"""Invented characters: letters for letters, digits for digits, by a counter and a name alone.

What is made depends on where letters and digits stand in a text, never on which they are. Spaces,
punctuation and escapes stay, so that a text keeps its length in characters and in bytes, JSON
inside of it stays JSON, and a position in it stays a position in what stands for it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import cache
from hashlib import blake2b
from typing import Final

VOWELS: Final = "aiou"  # and few consonants: fewer real words, and none to be ashamed of
CONSONANTS: Final = "bdklmrsv"
LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
PREFIXES: Final = (
    # Of ids, as providers write them: wire words, unlike what follows them.
    *("resp", "msg", "rs", "fc", "ctc", "call", "ws", "fs", "ci", "ig", "mcp", "mcpl", "mcpr"),
    *("cmp", "sh", "lsh", "apc", "tsc", "tso", "prog", "cntr", "vs", "file", "cfile", "fp", "gen"),
)
PREFIX: Final = re.compile(rf"(?:{'|'.join(PREFIXES)})[_-]")
CODE: Final = re.compile(r"[\w+/=.:-]*", re.ASCII)  # ids, keys, base64
MIXED: Final = re.compile(r"(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z\d]{8}")
HEX: Final = re.compile(r"[\da-f_-]*")
MARK: Final = re.compile(r"[!#-/:-@\[\]^`{|}~]|_")  # punctuation, but for quotes and backslashes
MARKS: Final = ",.;:-"
RUN: Final = re.compile(r"[A-Za-z]+|\d+|[^\x00-\x7f]")

JSON: Final = re.compile(r"\s*[\[{]")
URL: Final = r"(?P<url>https?://[^\s\"'<>()\[\]{}\\]+)"
ESCAPE: Final = r"(?P<escaped>\\+u[\da-fA-F]{4})|(?P<escape>\\+.)"
MEMBER: Final = r'"(?P<member>[^"\\]+)"(?=\s*:)|\b(?P<literal>true|false|null)\b'
OTHER: Final = r"(?P<run>[A-Za-z]+|\d+|[^\x00-\x7f])"


class Filler:
    """Makes characters, always the same for a name. Which ones says a counter."""

    def __init__(self, name: str) -> None:
        self._name, self._count = name, 0

    def pick(self, alphabet: str) -> str:
        """The next character, one of *alphabet*."""
        self._count += 1
        digest = blake2b(f"{self._name} {self._count}".encode(), digest_size=4).digest()
        return alphabet[int.from_bytes(digest, "big") % len(alphabet)]

    def word(self, letters: str) -> str:
        """One that can be spoken, with the same capitals."""
        kinds = (CONSONANTS, VOWELS)
        turn = self.pick("01") == "1"
        chosen = (self.pick(kinds[(at + turn) % 2]) for at in range(len(letters)))
        return _with_capitals(chosen, letters)

    def number(self, digits: str) -> str:
        """Zeros stay: a number keeps its magnitude, and JSON knows none that begins with one."""
        return "".join(self.pick("123456789") if digit != "0" else "0" for digit in digits)

    def neighbour(self, character: str) -> str:
        """One of the same class and length beyond ASCII; punctuation and marks stay."""
        return self.pick(_neighbours(character))

    def code(self, text: str) -> str:
        """An id, a key or a blob: what stands before it says its kind and stays."""
        kept = PREFIX.match(text)
        start = kept.end() if kept else 0
        alphabet = LETTERS[:6] if HEX.fullmatch(text, start) else LETTERS
        filled = RUN.sub(lambda run: self._coded(run[0], alphabet), text[start:])
        return text[:start] + filled

    def _coded(self, run: str, alphabet: str) -> str:
        if not run[0].isalpha():
            return self.run(run)
        return _with_capitals((self.pick(alphabet) for _ in run), run)

    def run(self, run: str) -> str:
        """ASCII letters, or digits, or one other character."""
        if not run.isascii():
            return self.neighbour(run)
        return self.number(run) if run[0].isdigit() else self.word(run)

    def prose(self, text: str) -> str:
        """Words at the same places; other punctuation between them, but for JSON's own."""
        words = RUN.sub(lambda run: self.run(run[0]), text)
        return MARK.sub(lambda _: self.pick(MARKS), words)

    def url(self, url: str) -> str:
        """One that leads nowhere: its host is under .test (RFC 6761, 6.2), or has its beginning."""
        scheme, _, rest = url.partition("://")
        host, slash, path = rest.partition("/")
        length = max(len(host) - len(".test"), 1)
        filled = RUN.sub(lambda run: self.run(run[0]), host[:length]) + ".test"[: len(host) - 1]
        return f"{scheme}://{filled}{slash}" + RUN.sub(lambda run: self.run(run[0]), path)


def _with_capitals(chosen: Iterable[str], letters: str) -> str:
    pairs = zip(chosen, letters, strict=True)
    return "".join(made.upper() if letter.isupper() else made for made, letter in pairs)


@cache
def _neighbours(character: str) -> str:
    kind, number = unicodedata.category(character), ord(character)
    if kind[0] != "L" and kind not in ("So", "Nd"):
        return character
    start = number & ~0x3F  # such a block has one length in UTF-8
    block = [chr(near) for near in range(start, start + 0x40) if near > 0x7F]
    return "".join(near for near in block if unicodedata.category(near) == kind)


def is_code(text: str) -> bool:
    """Whether it is an id, a key or a blob, not words."""
    return bool(CODE.fullmatch(text) and (PREFIX.match(text) or MIXED.search(text)))


def pattern_of(text: str, units: Iterable[str]) -> re.Pattern[str]:
    """What is looked for in *text*: *units* that it quotes, then URLs, escapes, names, words."""
    quoted = "|".join(map(re.escape, sorted(units, key=lambda unit: (-len(unit), unit))))
    kinds = [f"(?P<unit>{quoted})"] if quoted else []
    kinds += [URL, ESCAPE, *([MEMBER] if JSON.match(text) else []), OTHER]
    return _compiled("|".join(kinds))


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.DOTALL)


def fill(text: str, filler: Filler, units: Iterable[str], known: Callable[[str], str]) -> str:
    """Text in invented words. *known* says what stands for units, URLs and members of JSON."""

    def filled(found: re.Match[str]) -> str:
        match found.lastgroup:
            case "unit" | "url":
                return known(found[0])
            case "member":
                return f'"{known(found["member"])}"'
            case "escaped":
                return _escaped(found[0], filler)
            case "run":
                return filler.run(found[0])
            case _:
                return found[0]

    return pattern_of(text, units).sub(filled, text)


def _escaped(escape: str, filler: Filler) -> str:
    """``\\u`` and four digits, however often the backslash is escaped itself."""
    before, digits = escape[:-4], escape[-4:]
    made = RUN.sub(lambda run: filler.run(run[0]), chr(int(digits, 16)))
    return f"{before}{ord(made):04x}"
