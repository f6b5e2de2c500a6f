"""Unknown ids, methods that are not allowed, and statuses that are never sent."""

from __future__ import annotations

import pytest

from response_cache.testing._http_suite.ending import every_route
from response_cache.testing._http_suite.site import HttpSuite, Site, error_of, invalid, not_found


class Routes(HttpSuite):
    """The paths of a response."""

    async def test_an_unknown_id_is_404_on_every_route(self, site: Site) -> None:
        id = (await site.completed())[:-4] + "0000"
        for reply in await every_route(site, id):
            assert error_of(reply, 404) == not_found(id)
            assert reply.headers["cache-control"] == "private, no-cache"

    @pytest.mark.parametrize(
        ("path", "methods", "allow"),
        [
            ("", ["POST", "PUT", "PATCH"], "GET, HEAD, DELETE, OPTIONS"),
            ("/cancel", ["GET", "PUT", "DELETE", "HEAD"], "POST, OPTIONS"),
            ("/input_items", ["POST", "DELETE"], "GET, HEAD, OPTIONS"),
        ],
    )
    async def test_another_method_is_not_allowed(
        self, site: Site, path: str, methods: list[str], allow: str
    ) -> None:
        id = await site.completed()
        before = (await site.get(id)).headers["etag"]
        for method in methods:
            reply = await site.client.request(method, f"/responses/{id}{path}")
            assert (reply.status_code, reply.headers["allow"]) == (405, allow)
            if method != "HEAD":
                assert error_of(reply, 405) == invalid(f"{method} is not allowed here.")
        assert (await site.get(id)).headers["etag"] == before

    async def test_an_unknown_part_of_a_response_is_the_apps(self, site: Site) -> None:
        id = await site.completed()
        site.upstream.play = lambda call: call.reply(418, {})
        assert (await site.client.get(f"/responses/{id}/other")).status_code == 418
