"""The HTTP suite on stores of all kinds, where time is real and a test should not wait for it.

Most of its tests play the upstream by hand, after the create was answered: then a create that waits
for what the upstream says waits in vain. The few whose upstream answers by itself get all the time
they need, and those that count the calls of one that does not get the time that is usual.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, TypeAlias
from uuid import uuid4

import httpx
import pytest

from response_cache.testing import HttpConformance, ScriptedUpstream, Serve
from tests.stores.servers import running_server

__all__ = ("HttpInRealTime", "Served")

Served: TypeAlias = Callable[
    [ScriptedUpstream, str, dict[str, Any]], AbstractAsyncContextManager[httpx.AsyncClient]
]
"""Serves an upstream over the store at a URL, with options, to a client."""

ANSWERED: Final = {
    test.__name__
    for test in (
        HttpConformance.test_a_refusal_of_the_upstream_is_handed_on_as_it_came,
        HttpConformance.test_an_upstream_that_breaks_before_it_answers_is_a_server_error,
        HttpConformance.test_after_a_refusal_the_key_is_free,
        HttpConformance.test_what_is_refused_without_a_stream_is_handed_on,
        HttpConformance.test_it_is_asked_twice_at_most,
        HttpConformance.test_a_refusal_that_is_not_about_the_stream_is_final,
        HttpConformance.test_who_comes_second_waits_for_the_firsts_admission,
        HttpConformance.test_an_id_that_is_not_ours_goes_through,
        HttpConformance.test_a_refusal_names_no_id_that_the_client_does_not_know,
    )
}
"""What depends on a create that waits until the upstream has answered."""

COUNTED: Final = {
    test.__name__
    for test in (
        HttpConformance.test_another_body_is_refused,
        HttpConformance.test_our_id_becomes_the_upstreams_own,
        HttpConformance.test_a_comparison_names_the_upstreams_own_id,
        HttpConformance.test_a_deleted_response_does_not_come_back,
        HttpConformance.test_many_at_once_make_one_call,
    )
}
"""What depends on a create that has called the upstream when it is answered."""

HURRIED: Final = {"admission_wait": 0.0, "drain_timeout": 0.0, "stop_grace": 0.01}
PATIENT: Final = {**HURRIED, "admission_wait": 20.0}
USUAL: Final = {**HURRIED, "admission_wait": 0.25}


class HttpInRealTime(HttpConformance):
    """For an adapter: a subclass gives two fixtures, ``served`` and ``kept_in``, a store's name."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Of the client and the upstream; the drivers of the stores are for asyncio."""
        return "asyncio"

    @pytest.fixture(scope="class")
    @classmethod
    def redis_url(cls) -> Iterator[str]:
        """A server for all tests."""
        with running_server() as server:
            yield server.url

    @pytest.fixture
    def sqlite(self, tmp_path: Path) -> str:
        """A file for each test."""
        return f"sqlite:///{tmp_path}/responses.db"

    @pytest.fixture
    def redis(self, redis_url: str) -> str:
        """Keys for each test."""
        return f"{redis_url}?key_prefix={uuid4().hex}:"

    @pytest.fixture
    def url(self, request: pytest.FixtureRequest, kept_in: str) -> str:
        """Of the store, as the fixture of its name gives it."""
        return "memory://" if kept_in == "memory" else str(request.getfixturevalue(kept_in))

    @pytest.fixture
    def serve(self, request: pytest.FixtureRequest, served: Served, url: str) -> Serve:
        """The adapter over *url*."""
        name = request.function.__name__
        defaults = PATIENT if name in ANSWERED else USUAL if name in COUNTED else HURRIED
        return lambda upstream, **options: served(upstream, url, {**defaults, **options})
