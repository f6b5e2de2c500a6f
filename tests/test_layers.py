"""Who may import whom. The table is the design: change it when the design changes."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
CORE: Final = ROOT / "response_cache"
ADAPTERS: Final = ROOT / "adapters"

ORDER: Final = (
    # Read downwards: a module may import those above it, never those below.
    "errors",
    "redaction",
    "sockets",
    "options",
    "lifecycle",
    "codec",
    "tally",
    "offload",
    "events",
    "addresses",
    "operations",
    "reducer",
    "sse",
    "requests",
    "input_items",
    "identity",
    "dialects",
    "polling",
    "forms",
    "synthesis",
    "inflate",
    "runs",
    "packing",
    "store",
    "clock",
    "alarm",
    "pace",
    "retained",
    "likeness",
    "recorder",
    "writer",
    "answer",
    "job",
    "closing",
    "jobs",
    "orphans",
    "reading",
    "tails",
    "stores",
    "cache",
    "queries",
    "bodies",
    "http",
    "preflights",
    "cors",
)
STORES_MAY_IMPORT: Final = {"store", "errors", "options", "packing", "sockets", "stores"}
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
    """The parts of the core that *path* imports, by their first name below response_cache."""
    found = set()
    for module, names in imports(path):
        package, _, rest = module.partition(".")
        if package == "response_cache":
            found |= {rest.split(".")[0]} if rest else set(names)
    return found


def foreign(path: Path) -> set[str]:
    """The packages from elsewhere that *path* imports."""
    packages = {module.split(".")[0] for module, _ in imports(path)}
    return {p for p in packages if p not in STDLIB and not p.startswith("response_cache")}


MODULES: Final = sorted(p for p in CORE.glob("*.py") if p.name != "__init__.py")


def test_the_table_names_every_module_of_the_core() -> None:
    assert {path.stem for path in MODULES} | {"stores"} == set(ORDER)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_imports_only_what_stands_above_it(path: Path) -> None:
    above = set(ORDER[: ORDER.index(path.stem)])
    assert of_ours(path) <= above


@pytest.mark.parametrize("path", sorted((CORE / "stores").glob("*.py")), ids=lambda p: p.stem)
def test_a_store_knows_the_contract_and_its_driver_alone(path: Path) -> None:
    assert of_ours(path) <= STORES_MAY_IMPORT


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_the_core_needs_no_extra(path: Path) -> None:
    assert foreign(path) <= WITHOUT_EXTRAS


def test_nothing_but_tests_imports_the_conformance_kit() -> None:
    users = [*MODULES, *(CORE / "stores").glob("*.py"), *ADAPTERS.rglob("*.py")]
    assert [str(path) for path in users if "testing" in of_ours(path)] == []


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
