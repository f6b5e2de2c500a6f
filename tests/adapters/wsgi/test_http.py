"""The HTTP suite over the WSGI middleware: the same promises as over every other adapter."""

from __future__ import annotations

import pytest

from tests.adapters.http_in_real_time import HttpInRealTime, Served
from tests.adapters.wsgi.driver import served_in_threads

pytestmark = pytest.mark.slow


class TestOverWSGI(HttpInRealTime):
    """Around a scripted app, called in threads; the middleware has an event loop of its own."""

    @pytest.fixture(params=["memory", "sqlite", "redis"])
    def kept_in(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def served(self) -> Served:
        return served_in_threads
