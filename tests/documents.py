"""The parts of the documentation that are made from the code.

``python -m tests.documents`` writes them; ``test_docs`` proves that they are up to date.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from pydantic_core import PydanticUndefined

from response_cache._protocol.lifecycle import diagram
from response_cache.options import Options
from tests.test_layers import FLOORS, MODULES, name_of, of_ours

ROOT: Final = Path(__file__).resolve().parents[1]
DOCS: Final = ROOT / "docs"

OPTIONS_HEAD: Final = """# Options

Keyword arguments of `ResponseCacheMiddleware`, fields of `response_cache.Options`, and settings
of the sidecar (`RESPONSE_CACHE_` and the name in capitals). Times are seconds, sizes are bytes.

An unknown name or a value out of its range is an error at start, in one line that names it: the
constructor raises `ValueError`, and an app that was given the middleware by `add_middleware` fails
its lifespan. Under a server that runs no lifespan, and in a mounted app, requests that need the
cache are answered with that line (500); foreground work and all other routes are the app's.

| option | default | meaning |
| --- | --- | --- |
"""


def options_page() -> str:
    """docs/options.md."""
    rows = []
    for name, field in Options.model_fields.items():
        assert field.default is not PydanticUndefined, name
        assert field.description, f"{name} has no docstring"
        meaning = " ".join(field.description.split()).replace("``", "`")
        rows.append(f"| `{name}` | `{_shown(field.default)}` | {meaning} |")
    return OPTIONS_HEAD + "\n".join(rows) + "\n"


def _shown(default: object) -> str:
    if isinstance(default, bool) or default is None:
        return str(default).lower()
    if isinstance(default, int):
        return f"{default:,}" if default < 2**20 else f"{default // 2**20} MiB"
    if isinstance(default, float):
        return f"{default:g}"
    if isinstance(default, tuple):
        return ", ".join(map(str, default))
    return str(default) or "(empty)"


def with_examples(page: str) -> str:
    """*page* with each fence that names a file of docs/examples holding that file."""

    def filled(match: re.Match[str]) -> str:
        return f"```python\n# {match[1]}\n{(ROOT / match[1]).read_text('utf-8')}```\n"

    return re.sub(r"```python\n# (docs/examples/\S+)\n.*?```\n", filled, page, flags=re.DOTALL)


def with_diagram(page: str) -> str:
    """*page* with its state diagram as the lifecycle table draws it."""
    drawn = f"```mermaid\n{diagram()}\n```"
    return re.sub(r"```mermaid\nstateDiagram.*?```", drawn, page, flags=re.DOTALL)


SMALL_ROOMS: Final = frozenset(
    (
        *("_version", "errors", "redaction", "options", "option_fields"),
        *("eventloop", "offload", "sockets"),
    )
)
"""Rooms that are left out of the picture: one module each, which nearly every other room uses."""


@cache
def arrows() -> Mapping[str, frozenset[str]]:
    """What each room of the core imports of other rooms; a room is a floor of ``test_layers``."""
    found: dict[str, set[str]] = {room: set() for room in FLOORS}
    for path in MODULES:
        room = name_of(path).split("/")[0]
        found[room] |= {imported.split("/")[0] for imported in of_ours(path)} - {room}
    return {room: frozenset(imported) for room, imported in found.items()}


def picture() -> str:
    """The rooms as a Mermaid flowchart, without small rooms and arrows that others imply."""
    shown = {room: imported - SMALL_ROOMS for room, imported in arrows().items()}
    below = dict.fromkeys(FLOORS, frozenset[str]())  # all that a room uses, by whatever way
    drawn = []
    for room in FLOORS:
        below[room] = shown[room].union(*(below[imported] for imported in shown[room]))
        implied = frozenset[str]().union(*(below[imported] for imported in shown[room]))
        direct = sorted(shown[room] - implied, key=FLOORS.index)
        drawn += [f"    {_box(room)} --> {_box(imported)}" for imported in direct]
    return "\n".join(["flowchart TD", *reversed(drawn)])


def _box(room: str) -> str:
    return "door[response_cache]" if room == "__init__" else room


def with_picture(page: str) -> str:
    """*page* with its picture of the rooms as their imports draw it, and its list of small ones."""
    drawn = re.sub(
        r"```mermaid\nflowchart.*?```", f"```mermaid\n{picture()}\n```", page, flags=re.DOTALL
    )
    named = ", ".join(f"`{room}`" for room in FLOORS if room in SMALL_ROOMS)
    return re.sub(r"(one small module for many others:) [^.]*\.", rf"\1 {named}.", drawn)


def made() -> dict[Path, str]:
    """Each page that is made or filled from the code, as it should be."""
    pages = {path: path.read_text("utf-8") for path in sorted(DOCS.glob("*.md"))}
    pages = {path: with_picture(with_diagram(with_examples(text))) for path, text in pages.items()}
    pages[DOCS / "options.md"] = options_page()
    return pages


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text, "utf-8")
