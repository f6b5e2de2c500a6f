"""Routes: which requests are about background responses, and what each of them asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from response_cache._protocol.dialects import DIALECTS
from response_cache.options import DialectName

__all__ = ("ROUTES", "Route", "Verb", "makes_response", "match_route")


class Verb(StrEnum):
    """What a request asks for."""

    CREATE = "create"
    ASK_APP = "ask_app"  # with the fields of a create, but makes no response: see ``create``
    RETRIEVE = "retrieve"
    DELETE = "delete"
    CANCEL = "cancel"
    INPUT_ITEMS = "input_items"


@dataclass(frozen=True, slots=True)
class Route:
    """A verb and the id that it is about; or no verb, and the methods that are allowed there."""

    verb: Verb | None  # None: the path is ours, the method is not allowed (405)
    id: str = ""  # of the response; "" for the verbs that ``ResponsesAPI.create`` serves
    allow: str = ""  # the value of ``Allow``


ROUTES: Final[Mapping[str, Mapping[str, Verb]]] = {
    "": {"GET": Verb.RETRIEVE, "HEAD": Verb.RETRIEVE, "DELETE": Verb.DELETE},
    "/cancel": {"POST": Verb.CANCEL},
    "/input_items": {"GET": Verb.INPUT_ITEMS, "HEAD": Verb.INPUT_ITEMS},
}
"""The verb by what follows the id in the path, and by method (OpenAI API reference, Responses)."""
_ALLOW: Final = {suffix: ", ".join(verbs) for suffix, verbs in ROUTES.items()}
_METHODS: Final = frozenset(method for verbs in ROUTES.values() for method in verbs)

_ABOUT_A_CREATE: Final = re.compile(r"(?<=/responses)/(?:compact|input_tokens)/*\Z")
"""What follows the path of creates in the path of ``ASK_APP``. Such a request names other responses
as a create does, and always passes to the wrapped app."""

_MAX_PATH_END: Final = 128  # characters of a path that the pattern looks at: enough for every route


def match_route(
    method: str, path: str, paths: tuple[str, ...], dialect: DialectName = "openai"
) -> Route | None:
    """The route of a request; None when the wrapped app handles it.

    *path* is below the root path. *paths* are the paths on which a POST creates a response;
    ``{name}`` in them is any one segment. *dialect* gives the form of our ids. Both are options.

    Returns None for foreign ids and for ``OPTIONS`` as well.
    """
    if "/responses" not in path or method == "OPTIONS":
        return None
    bare = path.rstrip("/")
    if bare.endswith("/responses"):  # so does each of *paths*, and no path with an id
        is_create = method == "POST" and (bare in paths or _templates(paths).fullmatch(bare))
        return Route(Verb.CREATE) if is_create else None
    route = _match_id(method if method in _METHODS else "", path[-_MAX_PATH_END:], dialect)
    if route is None and method == "POST" and (about := _ABOUT_A_CREATE.search(bare)):
        is_there = match_route(method, bare[: about.start()], paths, dialect)
        return is_there and Route(Verb.ASK_APP)
    return route


def makes_response(path: str) -> bool:
    """Whether a POST to *path* with a route is a create, and asks the app no mere question."""
    return _ABOUT_A_CREATE.search(path) is None


@lru_cache(maxsize=16)
def _templates(paths: tuple[str, ...]) -> re.Pattern[str]:
    """Matches the *paths* that have a ``{name}`` in them."""
    named = (path for path in paths if "{" in path)
    patterns = (re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)) for path in named)
    return re.compile("|".join(patterns) or "(?!)")


@lru_cache(maxsize=1024)  # a client polls one path many times; each argument is of bounded length
def _match_id(method: str, path_end: str, dialect: DialectName) -> Route | None:
    ids = DIALECTS[dialect].ids
    match = re.search(rf"/responses/({ids.pattern})(/cancel|/input_items)?/?\Z", path_end)
    if match is None:
        return None
    suffix = match[2] or ""
    return Route(ROUTES[suffix].get(method), match[1], _ALLOW[suffix])
