"""Which requests are about background responses, by method and path."""

from __future__ import annotations

import pytest

from response_cache.http._routes import ROUTES, Route, Verb, makes_response, match_route
from response_cache.options import Options

OURS = "resp_rc" + "0a" * 24
PATHS = Options().paths


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("POST", "/v1/responses", Route(Verb.CREATE)),
        ("POST", "/responses/", Route(Verb.CREATE)),
        ("POST", "/openai/v1/responses", Route(Verb.CREATE)),
        ("POST", "/openai/responses", Route(Verb.CREATE)),
        ("POST", "/openai/deployments/gpt-4.1/responses", Route(Verb.CREATE)),
        ("POST", "/openai/deployments/gpt-4.1/responses/", Route(Verb.CREATE)),
        ("POST", "/openai/deployments/{name}/responses", Route(Verb.CREATE)),
        ("POST", "/openai/deployments/a/b/responses", None),
        ("POST", "/openai/deployments//responses", None),
        ("POST", "/openai/deployments/responses", None),
        ("POST", "/x/openai/deployments/a/responses", None),
        ("GET", "/openai/deployments/a/responses", None),
        (
            "GET",
            f"/openai/deployments/a/responses/{OURS}",
            Route(Verb.RETRIEVE, OURS, "GET, HEAD, DELETE"),
        ),
        ("POST", "/v2/responses", None),
        ("GET", "/v1/responses", None),
        ("GET", f"/v1/responses/{OURS}", Route(Verb.RETRIEVE, OURS, "GET, HEAD, DELETE")),
        ("GET", f"/any/where/responses/{OURS}/", Route(Verb.RETRIEVE, OURS, "GET, HEAD, DELETE")),
        ("DELETE", f"/responses/{OURS}", Route(Verb.DELETE, OURS, "GET, HEAD, DELETE")),
        ("POST", f"/responses/{OURS}/cancel", Route(Verb.CANCEL, OURS, "POST")),
        ("GET", f"/responses/{OURS}/input_items", Route(Verb.INPUT_ITEMS, OURS, "GET, HEAD")),
        ("PUT", f"/responses/{OURS}", Route(None, OURS, "GET, HEAD, DELETE")),
        ("OPTIONS", f"/responses/{OURS}", None),
        ("GET", f"/responses/{OURS}/cancel/more", None),
        ("GET", f"/responses/{OURS}\n", None),
        ("GET", f"/responses/{OURS.upper()}", None),
        ("GET", f"/response/{OURS}", None),
        ("GET", "/responses/resp_rc", None),
        ("POST", "/responses/compact", Route(Verb.ASK_APP)),
        ("POST", "/v1/responses/compact/", Route(Verb.ASK_APP)),
        ("POST", "/v1/responses/input_tokens", Route(Verb.ASK_APP)),
        ("POST", "/openai/deployments/gpt-4.1/responses/input_tokens", Route(Verb.ASK_APP)),
        ("GET", "/v1/responses/compact", None),
        ("OPTIONS", "/v1/responses/compact", None),
        ("POST", "/v2/responses/compact", None),
        ("POST", "/v1/responses/compact/compact", None),
        ("POST", "/v1/responses/compacted", None),
        ("POST", "/v1/compact", None),
    ],
)
def test_a_request_is_ours_by_its_method_and_path(
    method: str, path: str, route: Route | None
) -> None:
    assert match_route(method, path, PATHS) == route


@pytest.mark.parametrize(
    ("path", "asked", "is_there"),
    [
        ("/{tenant}/responses", "/acme/responses", True),
        ("/{a}/{b}/responses", "/x/y/responses", True),
        ("/{a}/{b}/responses", "/x/responses", False),
        ("/v1.0/{a}/responses", "/v1x0/y/responses", False),
        ("/{größe}/responses", "/x/responses", True),
    ],
)
def test_a_name_in_a_path_stands_for_one_segment(path: str, asked: str, is_there: bool) -> None:
    [path] = Options(paths=(path,)).paths
    assert (match_route("POST", asked, (path,)) is not None) is is_there


@pytest.mark.parametrize(
    "path",
    [
        "/{}/responses",
        "/{a}b/responses",
        "/a{b/responses",
        "/}/responses",
        "/{a b}/responses",
        "/{1}/responses",
        "/{{a}}/responses",
        "/{a/b}/responses",
        "/{a}",
        "{a}/responses",
    ],
)
def test_other_braces_in_a_path_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="paths"):
        Options(paths=(path,))


@pytest.mark.parametrize("suffix", ROUTES)
@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "get"]
)
def test_a_method_without_a_verb_is_told_which_have_one(suffix: str, method: str) -> None:
    route = match_route(method, f"/v1/responses/{OURS}{suffix}", PATHS)
    assert route == Route(ROUTES[suffix].get(method), OURS, ", ".join(ROUTES[suffix]))


def test_every_verb_has_a_route() -> None:
    by_id = {verb for verbs in ROUTES.values() for verb in verbs.values()}
    assert by_id | {Verb.CREATE, Verb.ASK_APP} == set(Verb)


def test_a_route_is_found_at_the_end_of_the_longest_id_and_of_any_path() -> None:
    longest = "resp_rc" + "0" * 80
    path = f"/{'x' * 9999}/responses/{longest}/input_items/"
    route = match_route("GET", path, PATHS)
    assert route is not None
    assert (route.verb, route.id) == (Verb.INPUT_ITEMS, longest)
    assert match_route("GET", f"/responses/{longest}0", PATHS) is None


def test_ids_are_those_of_the_dialect() -> None:
    path = "/v1/responses/litellm_poll_01234567-89ab-4def-8123-456789abcdef"
    assert match_route("GET", path, PATHS) is None
    found = match_route("GET", path, PATHS, "litellm")
    assert found is not None
    assert found.id == path.rpartition("/")[2]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/responses", True),
        ("/v1/responses/", True),
        ("/compact/responses", True),
        ("/v1/responses/compact", False),
        ("/v1/responses/input_tokens//", False),
    ],
)
def test_questions_about_a_create_make_no_response(path: str, expected: bool) -> None:
    verb = Verb.CREATE if expected else Verb.ASK_APP
    assert match_route("POST", path, (*PATHS, "/compact/responses")) == Route(verb)
    assert makes_response(path) is expected
