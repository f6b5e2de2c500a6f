"""Who may see a response: whom the proxy authenticated, and nobody else."""

from __future__ import annotations

import pytest

from tests.litellm.client import Client
from tests.litellm.proxies import Proxy, with_us

pytestmark = with_us

VERBS = [
    ("GET", ""),
    ("GET", "?stream=true"),
    ("GET", "/input_items"),
    ("POST", "/cancel"),
    ("DELETE", ""),
]


@pytest.fixture(scope="module")
def id(proxy: Proxy) -> str:
    """A completed response of Ann's."""
    ann = proxy.client()
    return str(ann.end(ann.create("hers", metadata={"words": "3", "pace": "0"}))["id"])


@pytest.mark.parametrize(("method", "rest"), VERBS)
def test_somebody_elses_response_does_not_exist(
    bob: Client, id: str, method: str, rest: str
) -> None:
    reply = bob.http.request(method, f"/v1/responses/{id}{rest}")
    assert reply.status_code == 404
    assert reply.json()["error"]["message"] == f"Response with id '{id}' not found."


@pytest.mark.parametrize(("method", "rest"), VERBS)
def test_an_unknown_key_is_refused_in_the_words_of_the_api(
    proxy: Proxy, id: str, method: str, rest: str
) -> None:
    reply = proxy.client("sk-unknown").http.request(method, f"/v1/responses/{id}{rest}")
    assert reply.status_code == 401
    error = reply.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")
    assert set(error) == {"message", "type", "param", "code"}


def test_the_user_owns_it_and_not_the_key(proxy: Proxy, id: str) -> None:
    assert proxy.client("sk-ann-2").get(id)["status"] == "completed"


def test_without_a_user_the_key_owns_it(proxy: Proxy, ann: Client) -> None:
    nobody = proxy.client("sk-nobody")
    id = nobody.create("keyed", metadata={"words": "3", "pace": "0"})
    assert nobody.end(id)["status"] == "completed"
    assert ann.http.get(f"/v1/responses/{id}").status_code == 404


def test_an_admin_sees_all(proxy: Proxy, id: str) -> None:
    assert proxy.client("sk-admin").get(id)["status"] == "completed"


def test_nobody_continues_a_response_of_another(bob: Client, id: str) -> None:
    refused = bob.post("stolen", previous_response_id=id)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "previous_response_not_found"
