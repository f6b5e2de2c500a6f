"""Where a LiteLLM proxy keeps responses: the named store, or the proxy's Redis as a URL."""

from __future__ import annotations

from typing import Any

import pytest

from response_cache import store_from_url
from response_cache_litellm._proxy.store_url import redis_url, store_url

NODES = [{"host": "10.0.0.1", "port": 7000}, {"host": "10.0.0.2", "port": "7001"}]

# fmt: off
PLACES: list[tuple[dict[str, Any], dict[str, str], str]] = [
    ({},                                             {}, "redis://localhost:6379"),
    ({"host": "h", "port": 1},                       {}, "redis://h:1"),
    ({"host": "h", "port": "1", "db": 2},            {}, "redis://h:1/2"),
    ({"host": "h", "password": "p@:/"},              {}, "redis://:p%40%3A%2F@h:6379"),
    ({"host": "h", "username": "u", "password": "p", "ssl": True}, {}, "rediss://u:p@h:6379"),
    ({"host": "::1"},                                {}, "redis://[::1]:6379"),
    ({"host": "os.environ/H"},           {"H": "h"},     "redis://h:6379"),
    ({"url": "redis://u:p@h/1"},                     {}, "redis://u:p@h/1"),
    ({},           {"REDIS_URL": "redis://h"},           "redis://h"),
    ({"host": "h"}, {"REDIS_URL": "redis://x"},          "redis://h:6379"),
    ({}, {"REDIS_HOST": "h", "REDIS_PASSWORD": "p", "REDIS_SSL": "True"}, "rediss://:p@h:6379"),
    ({"startup_nodes": NODES},                       {}, "redis+cluster://10.0.0.1:7000,10.0.0.2:7001"),
    ({"startup_nodes": NODES, "password": "os.environ/P"}, {"P": "p"}, "redis+cluster://:p@10.0.0.1:7000,10.0.0.2:7001"),
    ({}, {"REDIS_CLUSTER_NODES": '[{"host": "h", "port": 1}]'}, "redis+cluster://h:1"),
    ({"sentinel_nodes": [["h", 1]], "service_name": "s"}, {}, "redis+sentinel://h:1/s"),
    ({"sentinel_nodes": [["h", 1]], "ssl": True, "ssl_ca_certs": "/c"}, {}, "rediss+sentinel://h:1/mymaster?ssl_ca_certs=%2Fc"),
    ({"host": "h", "ssl": True, "ssl_ca_certs": "/c"}, {}, "rediss://h:6379?ssl_ca_certs=%2Fc"),
]
# fmt: on


@pytest.mark.parametrize(("given", "environ", "url"), PLACES)
def test_the_proxys_redis_becomes_a_url(
    given: dict[str, Any], environ: dict[str, str], url: str
) -> None:
    assert redis_url(given, environ) == url
    store_from_url(url)  # and one that is understood


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"gcp_service_account": "a"}, "gcp_service_account"),
        ({"aws_iam_auth": True}, "aws_iam_auth"),
        ({"host": "h", "ssl": True, "ssl_cert_reqs": "none"}, "ssl_cert_reqs"),
        ({"url": "redis://:secret@h?db=3"}, "url with a query"),
    ],
)
def test_what_a_url_cannot_say_is_refused_by_name(given: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name) as refusal:
        redis_url(given, {})
    assert "secret" not in str(refusal.value)


def test_the_store_is_the_named_one_else_the_proxys_else_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert store_url("sqlite:///a.db", {"host": "h"}, {}) == "sqlite:///a.db"
    own_keys = "redis://h:6379?key_prefix=team%3Aresponse_cache%3A"
    assert store_url(None, {"host": "h"}, {}, namespace="team") == own_keys
    theirs = "redis://h:6379?key_prefix=litellm%3Apolling%3Aresponse%3A"
    assert store_url(None, {"host": "h"}, {}, dialect="litellm") == theirs
    assert not caplog.records
    assert store_url(None, None, {}) == "memory://"
    assert "no Redis" in caplog.text
