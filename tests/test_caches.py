"""No cache keeps what others choose the length of: one row for each cache that there is."""

from __future__ import annotations

import ast
import gc
import re
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from response_cache import _record as record
from response_cache._protocol import sse
from response_cache._protocol.jsontext import dump
from response_cache._recording.delta_template import DeltaTemplate
from response_cache.http import _routes as routes
from response_cache.stores.redis import _keys as keys

ROOT: Final = Path(__file__).resolve().parents[1]
LONG: Final = 2**18
ID: Final = "resp_rc" + "0" * 48


def delta(id: str) -> bytes:
    """An event like those of which deltas are recognised."""
    data = dump({"type": "t", "id": id, "sequence_number": 1, "delta": "word"})
    return b"data: %b\n\n" % data


# What fills each cache that a decorator makes, with something long that an upstream or a client
# sends; None where no argument comes from them.
FILLED: Final[dict[str, Callable[[str], object] | None]] = {
    "response_cache/_protocol/sse.py:_event_line": lambda long: sse.frame(long, b"{}"),
    "response_cache/http/_routes.py:_match_id": lambda long: [
        routes.match_route(method, path, ())
        for method, path in (
            (long, f"/v1/responses/{ID}"),
            ("GET", f"/{long}/v1/responses/{ID}"),
            ("GET", f"/v1/responses/{ID}/{long}"),
            ("GET", f"/v1/responses/resp_rc{long}"),
        )
    ],
    "response_cache/http/_routes.py:_templates": None,  # paths of the options
    "response_cache/http/_replies.py:_closed_headers": None,  # of what the store made
    "response_cache/_record.py:_parsed": lambda long: record.header_of(
        bytes(record.Header(owner=long, store=True, stream=False, created_at=0, fingerprint=None))
    ),
    "response_cache/_recording/delta_template.py:_pattern": lambda long: DeltaTemplate.of(
        delta(long), delta(long), 1
    ),
    "response_cache/stores/redis/_keys.py:_named": lambda long: keys.keys_of(
        "prefix:", f"resp_{long}"
    ),
}

# Caches that are objects: what they keep is counted in bytes, or has a form of ours.
OBJECTS: Final[dict[str, str]] = {
    "response_cache/http/_preflights.py": "TTLCache",  # origins of bounded length
    "response_cache/_reading/tails.py": "LRUCache",  # counts bytes
    "response_cache/_recording/bodies/stream_refusals.py": "TTLCache",  # models of bounded length
    "response_cache/_recording/orphans.py": "LRUCache",  # by ids of records that are there
    "response_cache/stores/memory.py": "TLRUCache TTLCache",  # counts bytes; ids that were deleted
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for root in ("response_cache", "adapters"):
        for path in sorted((ROOT / root).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text("utf-8"))


def test_the_tables_name_every_cache() -> None:
    decorated: set[str] = set()
    objects: dict[str, str] = {}
    for path, module in sources():
        made: set[str] = set()
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef):
                marks = [ast.unparse(mark) for mark in node.decorator_list]
                if any(re.search(r"\b(lru_cache|cache|cached)\b", mark) for mark in marks):
                    decorated.add(f"{path}:{node.name}")
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func).partition("[")[0]
                made |= {called} if re.fullmatch(r"\w*[A-Z]Cache", called) else set()
        if made:
            objects[path] = " ".join(sorted(made))
    assert decorated == set(FILLED)
    assert objects == OBJECTS


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, fill in FILLED.items() if fill])
def test_nothing_long_stays_in_a_cache(name: str) -> None:
    fill = FILLED[name]
    assert fill is not None
    fill("warm")
    with traced() as held:
        for number in range(16):
            fill(f"{number}" * LONG)
        gc.collect()
        assert held() < LONG


@contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """Tells how many bytes are held more than at the beginning."""
    tracemalloc.start()
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    try:
        yield lambda: tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
