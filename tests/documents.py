"""The parts of the documentation that are made from the code.

``python -m tests.documents`` writes them; ``test_docs`` proves that they are up to date.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from pydantic_core import PydanticUndefined

from response_cache.options import Options
from response_cache.protocol.lifecycle import diagram

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


def made() -> dict[Path, str]:
    """Each page that is made or filled from the code, as it should be."""
    pages = {path: path.read_text("utf-8") for path in sorted(DOCS.glob("*.md"))}
    pages = {path: with_diagram(with_examples(text)) for path, text in pages.items()}
    pages[DOCS / "options.md"] = options_page()
    return pages


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text, "utf-8")
