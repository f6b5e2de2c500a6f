"""Who may import whom. The tables are the design: change them when the design changes."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
CORE: Final = ROOT / "response_cache"
ADAPTERS: Final = ROOT / "adapters"

# Read downwards: what stands here may import what stands above it, never what stands below.
# The underscore of a private module is left out.
FLOORS: Final = (
    "version",
    "errors",
    "redaction",
    "options",
    "option_fields",
    "eventloop",
    "offload",
    "sockets",
    "log",
    "protocol",
    "fold",
    "store",
    "record",
    "stores",
    "recording",
    "reading",
    "cache",
    "http",
    "hosting",
    "__init__",
)

# The same inside of each folder; ``__init__`` comes last.
ROOMS: Final[Mapping[str, tuple[str, ...]]] = {
    "log": ("delta_runs", "batches"),
    "protocol": (
        "lifecycle",
        "events",
        "jsontext",
        "jsontally",
        "sse",
        "headers",
        "content_coding",
        "ids",
        "requests",
        "responses",
        "error_forms",
        "input_items",
        "whole_answers",
        "litellm_format",
        "dialects",
        "wellformed",
    ),
    "protocol/wellformed": (
        "families",
        "names",
        "log_state",
        "log_check",
        "roster",
        "shapes",
        "lifecycles",
        "context",
        "addresses",
        "held_calls",
        "partners",
        "announcements",
        "endings",
        "normalizer",
    ),
    "fold": ("lookups", "operations", "reducer"),
    "stores": ("rules", "memory", "sqlite", "redis", "urls"),
    "stores/sqlite": (
        "errors",
        "forks",
        "schema",
        "rows",
        "records",
        "file",
        "session",
        "worker",
        "threads",
        "watch",
        "sweep",
        "store",
    ),
    "stores/redis": (
        "errors",
        "keys",
        "scripts",
        "callbacks",
        "connection",
        "topology",
        "cluster",
        "pipelining",
        "calls",
        "channel",
        "subscriptions",
        "wire",
        "compaction",
        "store",
        "urls",
    ),
    "recording": (
        "timers",
        "flush_schedule",
        "recovery",
        "delta_template",
        "recorder",
        "intake",
        "writer",
        "bodies",
        "attempt",
        "answer",
        "run_state",
        "job",
        "takeover",
        "jobs",
        "orphans",
    ),
    "recording/bodies": (
        "body",
        "document",
        "undecided",
        "compressed",
        "stream_refusals",
        "error_body",
        "readers",
    ),
    "reading": ("partial_output", "reader", "tails"),
    "hosting": ("streams", "signals", "failures", "hosted"),
    "http": (
        "messages",
        "routes",
        "queries",
        "credentials",
        "bodies",
        "obfuscation",
        "replies",
        "creates",
        "api",
        "preflights",
        "cors",
    ),
}
MOST_IN_A_FOLDER: Final = 15  # modules beside __init__, so that a reader takes them in at a glance

STORES_MAY_IMPORT: Final = frozenset(
    ("version", "errors", "redaction", "options", "eventloop", "sockets", "log", "store", "stores")
)
WITHOUT_EXTRAS: Final = {"anyio", "cachetools", "pydantic", "pydantic_core"}
ADAPTER_DRIVERS: Final = {
    "response_cache_asgi": {"anyio"},
    "response_cache_litellm": {"anyio", "litellm", "pydantic", "starlette"},
    "response_cache_server": {
        "aiohappyeyeballs",
        "anyio",
        "httpcore",
        "httptools",
        "httpx",
        "pydantic",
        "pydantic_core",
        "pydantic_settings",
        "rich",
        "typer",
        "uvicorn",
    },
    "response_cache_wsgi": {"anyio"},
}
STDLIB: Final = sys.stdlib_module_names

# Each module of the core has a test file of its own: tests/a/test_b.py for response_cache/a/b.py.
# These have none, because other test files prove what they promise.
PROVEN_ELSEWHERE: Final[Mapping[str, str]] = {
    "version": "test_packaging",  # a constant
    "recording/bodies/body": "recording/bodies/test_readers",  # a protocol, and what all use
    "recording/bodies/compressed": "recording/bodies/test_readers",
    "http/preflights": "http/test_cors",  # what cors asks, and nothing else does
    "stores/redis/callbacks": "stores/redis/test_connection",
    "stores/redis/calls": "stores/redis/test_faults",
    "stores/redis/channel": "stores/redis/test_store",
    "stores/redis/cluster": "stores/redis/test_faults",
    "stores/redis/compaction": "stores/redis/test_store",
    "stores/redis/errors": "stores/redis/test_faults",
    "stores/redis/keys": "stores/redis/test_store",
    "stores/redis/scripts": "stores/redis/test_store",
    "stores/redis/subscriptions": "stores/redis/test_faults",
    "stores/redis/topology": "stores/redis/test_faults",
    "stores/redis/urls": "stores/test_urls",
    "stores/redis/wire": "stores/redis/test_store",
}


def imports(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each module that *path* imports, with the names taken from it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, ()
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module or "", tuple(alias.name for alias in node.names)


def of_ours(path: Path) -> set[str]:
    """The modules of the core that *path* imports, below response_cache, with slashes."""
    found = set()
    for module, names in imports(path):
        package, *rest = module.split(".")
        if package != "response_cache":
            continue
        inner = {bare("/".join((*rest, name))) for name in names if _is_module((*rest, name))}
        # Names that are not modules come from the module itself, or from the package's door.
        found |= inner
        if len(inner) < len(names) or not names:
            found.add(bare("/".join(rest)) or "__init__")
    return found


def _is_module(parts: tuple[str, ...]) -> bool:
    place = CORE.joinpath(*parts)
    return place.with_suffix(".py").exists() or place.is_dir()


def foreign(path: Path) -> set[str]:
    """The packages from elsewhere that *path* imports."""
    packages = {module.split(".")[0] for module, _ in imports(path)}
    return {p for p in packages if p not in STDLIB and not p.startswith("response_cache")}


def name_of(path: Path) -> str:
    """A module of the core, below response_cache, with slashes."""
    return bare(path.relative_to(CORE).with_suffix("").as_posix())


def bare(name: str) -> str:
    """*name* without the underscores of modules that are private."""
    return "/".join(re.sub("^_(?!_)", "", part) for part in name.split("/"))


MODULES: Final = sorted(p for p in CORE.rglob("*.py") if not name_of(p).startswith("testing/"))


def place(name: str) -> tuple[int, ...]:
    """Where a module stands: its floor, and its place in each folder on the way down."""
    parts = name.split("/")
    found = [FLOORS.index(parts[0])]
    for depth, part in enumerate(parts[1:], 1):
        room = ROOMS["/".join(parts[:depth])]
        found.append(len(room) if part == "__init__" else room.index(part))
    return tuple(found)


def test_the_tables_name_every_module_of_the_core_once() -> None:
    named = {floor for floor in FLOORS if floor not in ROOMS}
    for room, modules in ROOMS.items():
        named |= {f"{room}/{module}" for module in (*modules, "__init__")} - set(ROOMS)
    assert {name for name in named if f"{name}/__init__" not in named} == {
        name_of(path) for path in MODULES
    }


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_what_stands_above_it(path: Path) -> None:
    name = name_of(path)
    for imported in of_ours(path):
        assert place(imported) < place(name), f"{name} imports {imported}"


def test_each_module_of_the_core_has_its_test_file() -> None:
    modules = {name_of(path) for path in MODULES if path.name != "__init__.py"}
    assert {name for name in modules if not _test_file(name).exists()} == set(PROVEN_ELSEWHERE)
    for name, proof in PROVEN_ELSEWHERE.items():
        assert (ROOT / "tests" / f"{proof}.py").exists(), name


def _test_file(name: str) -> Path:
    folder, _, module = name.rpartition("/")
    return ROOT / "tests" / folder / f"test_{module}.py"


@pytest.mark.parametrize("path", sorted((CORE / "stores").rglob("*.py")), ids=name_of)
def test_a_store_knows_the_contract_and_its_driver_alone(path: Path) -> None:
    assert {name.split("/")[0] for name in of_ours(path)} <= STORES_MAY_IMPORT


@pytest.mark.parametrize(
    "path", [p for p in MODULES if not name_of(p).startswith("stores/")], ids=name_of
)
def test_the_core_needs_no_extra(path: Path) -> None:
    assert foreign(path) <= WITHOUT_EXTRAS


def test_no_folder_of_code_is_too_full() -> None:
    for folder in {path.parent for top in (CORE, ADAPTERS) for path in top.rglob("*.py")}:
        modules = [p for p in folder.glob("*.py") if p.name != "__init__.py"]
        assert len(modules) <= MOST_IN_A_FOLDER, folder


def test_nothing_but_tests_imports_the_conformance_kit() -> None:
    users = [*MODULES, *ADAPTERS.rglob("*.py")]
    assert [
        str(path) for path in users if any(n.split("/")[0] == "testing" for n in of_ours(path))
    ] == []


@pytest.mark.parametrize("package", sorted(ADAPTER_DRIVERS))
def test_an_adapter_uses_public_names_only(package: str) -> None:
    for path in sorted((ADAPTERS / package).rglob("*.py")):
        assert foreign(path) <= ADAPTER_DRIVERS[package], path
        for module, names in imports(path):
            owner = module.split(".")[0]
            if not owner.startswith("response_cache") or owner == package:
                continue
            public = importlib.import_module(module).__all__
            assert set(names) <= set(public), f"{path}: {module}"


def test_every_adapter_has_its_row() -> None:
    assert {path.name for path in ADAPTERS.iterdir() if path.is_dir()} == set(ADAPTER_DRIVERS)
    assert not (ADAPTERS / "__init__.py").exists()
