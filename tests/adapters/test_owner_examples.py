"""The examples of docs/owners.md, as they stand, under real servers: sessions tell who asks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.adapters.servers import DEADLINE
from tests.hosts.test_hosts import until
from tests.ports import free_port

pytestmark = pytest.mark.slow

EXAMPLES: Final = Path(__file__).resolve().parents[2] / "docs" / "examples"
BACKGROUND: Final = {"model": "echo", "input": "hi", "background": True}
USERS: Final = """
import django_owner
from django.contrib.auth.models import User
from django.core.management import call_command
call_command("migrate", verbosity=0)
for name in ("ann", "bob"):
    User.objects.create_user(name, password=f"{name}'s")
"""
ClientOf = Callable[[], httpx.Client]


def python(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    env = {**os.environ, "PYTHONPATH": str(EXAMPLES)}
    return subprocess.Popen([sys.executable, *arguments], cwd=folder, env=env)


def served(folder: Path, *server: str) -> Iterator[ClientOf]:
    """Makes clients of a server, each with cookies of its own; ends both."""
    port = free_port()
    process = python(folder, "-m", *(word.format(port=port) for word in server))
    clients: list[httpx.Client] = []

    def client() -> httpx.Client:
        base = f"http://127.0.0.1:{port}"
        clients.append(httpx.Client(base_url=base, trust_env=False, timeout=DEADLINE))
        return clients[-1]

    try:
        until(lambda: is_up(client(), process))
        yield client
    finally:
        for each in clients:
            each.close()
        process.terminate()
        process.wait(DEADLINE)


def is_up(client: httpx.Client, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None
    try:
        client.get("/")
    except httpx.TransportError:
        return False
    return True


@pytest.fixture
def starlette(tmp_path: Path) -> Iterator[ClientOf]:
    yield from served(tmp_path, "uvicorn", "--port", "{port}", "starlette_owner:app")


@pytest.fixture
def django(tmp_path: Path) -> Iterator[ClientOf]:
    assert python(tmp_path, "-c", USERS).wait(DEADLINE) == 0
    listen = ("--listen", "127.0.0.1:{port}")
    yield from served(tmp_path, "waitress", *listen, "django_owner:application")


def test_starlettes_user_is_the_owner(starlette: ClientOf) -> None:
    check_owners(starlette, lambda name: {"name": name})


def test_djangos_user_is_the_owner(django: ClientOf) -> None:
    check_owners(django, lambda name: {"username": name, "password": f"{name}'s"})


def check_owners(client: ClientOf, card: Callable[[str], dict[str, str]]) -> None:
    """Each sees what is their own; who has not logged in is refused in words of the example."""
    ann, bob, nobody = client(), client(), client()
    for name, who in (("ann", ann), ("bob", bob)):
        assert who.post("/login", json=card(name)).status_code == 204
    created = ann.post("/v1/responses", json=BACKGROUND)
    path = f"/v1/responses/{created.raise_for_status().json()['id']}"
    until(lambda: poll(ann, path)["status"] == "completed")
    assert poll(ann, path)["output"][0]["content"][0]["text"] == "Hello ann"
    assert bob.get(path).status_code == 404
    for refused in (
        nobody.get(path),
        nobody.delete(path),
        nobody.post("/v1/responses", json=BACKGROUND),
    ):
        assert (refused.status_code, refused.json()["error"]["message"]) == (401, "Log in first.")
    assert ann.delete(path).status_code == 200


def poll(client: httpx.Client, path: str) -> dict[str, Any]:
    return dict(client.get(path).raise_for_status().json())
