"""The doors are closed under their signatures: each type of ours in them can be imported there."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Final

import pytest

import response_cache
from response_cache import errors
from tests.interface import Name, exports, module, path_of, types_in

CORE: Final = ("response_cache", "response_cache.store", "response_cache.http")
ASGI: Final = (*CORE, "response_cache_asgi")
DOORS: Final[Mapping[str, tuple[str, ...]]] = {
    "response_cache": CORE,
    "response_cache.cache": CORE,
    "response_cache.errors": CORE,
    "response_cache.http": CORE,
    "response_cache.options": CORE,
    "response_cache.store": CORE,
    "response_cache.stores": CORE,
    "response_cache.stores.memory": CORE,
    "response_cache.stores.redis": CORE,
    "response_cache.stores.sqlite": CORE,
    "response_cache.testing": CORE,
    "response_cache_asgi": CORE,
    "response_cache_litellm": ASGI,
    "response_cache_server": ASGI,
    "response_cache_wsgi": CORE,
}
"""Each door, and where else than there the types in its signatures may be imported from."""

OF_THE_CACHE: Final[Mapping[str, frozenset[str]]] = {"Answer": frozenset({"__init__"})}
"""Methods that only the cache calls: what they take is its own."""

ENGINE: Final = frozenset({"ResponsesAPI", "Route", "Taken", "match_route", "reply_without_cache"})
"""Names for authors of adapters and of stores, which no app needs."""


INNER: Final = frozenset({"Servers"})
"""Types that only our own code passes: everybody else has a client of Redis, or a URL."""


def unreachable(door: str) -> Iterator[str]:
    """Each type of ours in the signatures of *door* that is exported nowhere near it."""
    known = set().union(*(exports(place) for place in {door, *DOORS[door]}))
    for name in sorted(exports(door)):
        found = types_in(name, without=OF_THE_CACHE.get(name.name, frozenset()))
        for other in sorted(found - known):
            if not (other.name in INNER or _is_a_suite(other)):
                yield f"{name} leads to {other}"


def _is_a_suite(name: Name) -> bool:
    """Whether it is a base class of a suite of tests, which nobody needs to name."""
    return name.module.startswith("response_cache.testing.") and bool(
        set(name.module.replace("._", ".").split(".")) & {"http_suite", "store_promises"}
    )


@pytest.mark.parametrize("door", DOORS)
def test_each_type_in_a_signature_can_be_imported_from_a_door(door: str) -> None:
    assert list(unreachable(door)) == []


@pytest.mark.parametrize("door", [door for door in DOORS if door != "response_cache_litellm"])
def test_a_door_gives_what_it_exports(door: str) -> None:
    opened = importlib.import_module(door)
    assert sorted(opened.__all__) == sorted(module(door).exported)
    for name in opened.__all__:
        assert getattr(opened, name) is not None


@pytest.mark.parametrize("door", DOORS)
def test_a_door_says_what_it_is_for(door: str) -> None:
    path = path_of(door)
    assert path is not None
    assert path.read_text("utf-8").startswith('"""')
    assert len(set(module(door).exported)) == len(module(door).exported) > 0


def test_apps_get_every_error_at_the_front_door() -> None:
    assert set(errors.__all__) <= set(response_cache.__all__)


def test_apps_get_nothing_of_the_engine() -> None:
    assert set(response_cache.__all__) & ENGINE == set()


def test_every_other_module_is_private_by_its_name() -> None:
    """So type checkers and readers know what is public: the doors, and what they export."""
    for top in {door.partition(".")[0] for door in DOORS}:
        path = path_of(top)
        assert path is not None
        for place in path.parent.rglob("*.py"):
            parts = (top, *place.relative_to(path.parent).with_suffix("").parts)
            name = ".".join(parts).removesuffix(".__init__")
            assert name in DOORS or any(part.startswith("_") for part in parts[1:]), name


# The walk itself, on what is known to be there.


def test_the_walk_sees_parameters_results_attributes_and_bases() -> None:
    found = types_in(Name("response_cache.cache", "ResponseCache"))
    assert Name("response_cache._protocol.requests", "CreateRequest") in found  # a parameter
    assert Name("response_cache.store", "RecordView") in found  # a result
    assert Name("response_cache.options", "Options") in found  # an attribute
    found = types_in(Name("response_cache.errors", "NotRecorded"))
    assert Name("response_cache.errors", "NotFound") in found  # a base


def test_the_walk_sees_what_an_alias_and_an_unpacked_dict_are_made_of() -> None:
    found = types_in(Name("response_cache.http._messages", "OwnerOf"))
    assert Name("response_cache.http._messages", "PassThrough") in found
    found = types_in(Name("response_cache_asgi._middleware", "ResponseCacheMiddleware"))
    assert Name("response_cache._option_fields", "OptionFields") in found
