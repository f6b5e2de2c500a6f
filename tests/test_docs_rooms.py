"""docs/how-it-works.md names what is there: rooms, files, and the functions in them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from pkgutil import resolve_name
from typing import Final

import pytest

from response_cache._protocol.events import EVENTS
from response_cache._protocol.lifecycle import Status
from response_cache.options import Options
from tests.documents import DOCS, ROOT, SMALL_ROOMS, arrows, picture
from tests.test_layers import CORE, FLOORS, MODULES, bare, name_of

PAGE: Final = (DOCS / "how-it-works.md").read_text("utf-8")
TREE: Final = re.findall(r"```\n(response_cache/ .*?)```", PAGE, re.DOTALL)[0].splitlines()
PROSE: Final = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
QUOTED: Final = sorted(set(re.findall(r"`([^`]+)`", PROSE)))
ROWS: Final = re.findall(r"^\| `([^`]+\.py)` \| (.+?) \|", PROSE, re.MULTILINE)
MOST_ROOMS: Final = 20  # in the picture of the imports, small ones counted

# Names that no module defines: headers and words of the API, and the package itself.
NOT_DEFINED: Final = {"Prefer: wait", "input", "response_cache"}


@cache
def names_in(path: Path) -> frozenset[str]:
    """Classes, functions and constants of a module, and members of its classes with a dot."""
    found: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        found |= set(_names_of(node))
        if isinstance(node, ast.ClassDef):
            members = {name for inner in node.body for name in _names_of(inner)}
            found |= {f"{node.name}.{member}" for member in members}
    return frozenset(found)


def _names_of(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            yield node.name
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name
        case ast.Assign():
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


@cache
def known() -> frozenset[str]:
    """All names of the core and the adapters, and what is assigned to ``self``."""
    found: set[str] = set(FLOORS) | set(Options.model_fields) | set(EVENTS) | set(Status)
    for path in (*CORE.rglob("*.py"), *(ROOT / "adapters").rglob("*.py")):
        names = names_in(path)
        found |= names | {name.rpartition(".")[2] for name in names}
        found |= set(re.findall(r"\bself\.([a-z_]+)(?:: .*)? = ", path.read_text("utf-8")))
    return frozenset(found)


def named_in_the_tree() -> Iterator[str]:
    """The modules and folders that the tree of rooms names, below the root."""
    folders = [""]
    for line in TREE:
        column = re.split(r" {2,}", line.strip())[0]
        depth = (len(line) - len(line.lstrip())) // 2
        for word in column.split():
            name = folders[depth] + word
            yield name
            if word.endswith("/"):
                folders[depth + 1 :] = [name]


@cache
def there() -> frozenset[str]:
    """The modules and folders of the code, without the underscore of private ones."""
    tops = [ROOT / "response_cache", ROOT / "adapters"]
    found = {f"{top.name}/" for top in tops}
    for path in (path for top in tops for path in top.rglob("*")):
        name = bare(path.relative_to(ROOT).with_suffix("").as_posix())
        found.add(f"{name}/" if path.is_dir() else name)
    return frozenset(found)


def test_every_room_that_is_named_is_there() -> None:
    named = [*named_in_the_tree()]
    assert len(named) > 50
    missing = {*named} - there()
    assert not missing


def test_every_module_is_named_but_for_those_inside_of_stores() -> None:
    named = {*named_in_the_tree()}
    for path in MODULES:
        name = f"response_cache/{name_of(path)}"
        if not name.startswith(("response_cache/stores/", "response_cache/version")):
            assert name.removesuffix("__init__") in named or name in named, name


def test_every_path_in_the_text_exists() -> None:
    paths = [name for name in QUOTED if "/" in name]
    assert len(paths) > 20
    for path in paths:
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize(("path", "functions"), ROWS)
def test_the_functions_of_a_row_are_in_its_file(path: str, functions: str) -> None:
    for name in re.findall(r"`([^`]+)`", functions):
        assert name in names_in(ROOT / path), name


def test_both_walks_have_their_rows() -> None:
    assert len(ROWS) > 30


def is_there(word: str) -> bool:
    """Whether *word* is a dotted name that can be imported, or a room by its short name."""
    if word.startswith("response_cache."):
        return bool(resolve_name(word))
    places = [f"response_cache/{room}{word}{end}" for room in ("", "stores/") for end in ("", "/")]
    return any(place in there() for place in places)


@pytest.mark.parametrize("name", [name for name in QUOTED if "/" not in name])
def test_every_name_in_the_text_is_in_the_code(name: str) -> None:
    word = name.partition("(")[0]
    is_package = (ROOT / "adapters" / word).is_dir()
    assert word in known() or is_package or is_there(word) or name in NOT_DEFINED, name


def test_the_picture_shows_each_room_and_no_circle() -> None:
    rooms = [*TopologicalSorter(arrows()).static_order()]  # raises CycleError
    assert len(rooms) <= MOST_ROOMS
    drawn = set(re.findall(r"\w+", picture().replace("door[response_cache]", "__init__")))
    assert drawn - {"flowchart", "TD"} == set(rooms) - SMALL_ROOMS
