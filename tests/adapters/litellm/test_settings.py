"""The cache's settings in a LiteLLM proxy: variables, the proxy's Redis, the command."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.middleware import Middleware

from response_cache import Options, store_from_url
from response_cache.errors import StoreUnavailable
from response_cache_litellm.proxy.command import prepare
from response_cache_litellm.proxy.log import set_up_log
from response_cache_litellm.proxy.reply_headers import create_paths
from response_cache_litellm.proxy.store_url import redis_url, store_url
from response_cache_litellm.proxy.usage import usage_in
from response_cache_litellm.settings import ProxySettings, load_proxy_settings, try_store
from tests.adapters.servers import run_program


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("RESPONSE_CACHE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], ProxySettings]:
    """The settings under these variables and no others of ours."""

    def checked(variables: dict[str, str]) -> ProxySettings:
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            return load_proxy_settings()

    return checked


Check = Callable[[dict[str, str]], ProxySettings]
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


def test_variables_outrank_the_proxys_settings(check: Check) -> None:
    options = check({}).options_over(ttl=60)
    assert (options.ttl, options.admission_wait) == (60, 5)
    variables = {
        "RESPONSE_CACHE_TTL": "7",
        "RESPONSE_CACHE_ADMISSION_WAIT": "1",
        "RESPONSE_CACHE_PATHS": "/a/responses, /b/responses",
        "RESPONSE_CACHE_LEASE": "",
    }
    options = check(variables).options_over(ttl=60)
    assert (options.ttl, options.admission_wait, options.lease) == (7, 1, 15)
    assert options.paths == ("/a/responses", "/b/responses")


@pytest.mark.parametrize(
    ("name", "value"),
    [("LEASE", "soon"), ("STORE", "ftp://u:secret@h"), ("LOG_LEVEL", "secret")],
)
def test_a_wrong_variable_is_named_and_its_value_is_not(
    check: Check, name: str, value: str
) -> None:
    with pytest.raises(ValueError, match=f"RESPONSE_CACHE_{name}: ") as refusal:
        check({f"RESPONSE_CACHE_{name}": value})
    assert "secret" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_variable_that_no_command_of_ours_reads_is_an_error(check: Check) -> None:
    with pytest.raises(ValueError, match=r"^RESPONSE_CACHE_TTTL: .*RESPONSE_CACHE_TTL\?"):
        check({"RESPONSE_CACHE_TTTL": "5"})
    check({"RESPONSE_CACHE_UPSTREAM": "http://h/v1"})  # the sidecar's
    check({"RESPONSE_CACHE_REDIS_SERVICE_HOST": "10.0.0.1", "RESPONSE_CACHE_LITELLM_ALONE": "1"})


def test_who_may_read_in_a_browser_is_the_proxys_own_setting(check: Check) -> None:
    assert check({}).options_over().cors_origins == ()
    with pytest.raises(ValueError, match=r"RESPONSE_CACHE_CORS_ORIGINS: .*LITELLM_CORS_ORIGINS"):
        check({"RESPONSE_CACHE_CORS_ORIGINS": "*"})


def test_a_path_that_is_none_of_responses_is_refused(check: Check) -> None:
    with pytest.raises(ValueError, match="RESPONSE_CACHE_PATHS: '/x' must"):
        check({"RESPONSE_CACHE_PATHS": "/x"})


async def test_a_named_store_is_opened_once_to_see_whether_it_can_be(
    check: Check, tmp_path: Path
) -> None:
    await try_store(check({}))
    await try_store(check({"RESPONSE_CACHE_STORE": f"sqlite:///{tmp_path}/a.db"}))
    with pytest.raises(StoreUnavailable, match="its directory does not exist"):
        await try_store(check({"RESPONSE_CACHE_STORE": f"sqlite:///{tmp_path}/no/a.db"}))


def test_the_proxy_judges_its_own_requests(check: Check) -> None:
    assert check({}).options_over().check_requests is False
    assert check({"RESPONSE_CACHE_CHECK_REQUESTS": "true"}).options_over().check_requests is True


@contextmanager
def bare_log() -> Iterator[logging.Logger]:
    """Our logger, in a process that has set up neither it nor the root's (pytest has)."""
    ours, root = logging.getLogger("response_cache"), logging.getLogger()
    before = ours.level, ours.handlers[:], root.handlers[:]
    ours.setLevel(logging.NOTSET)
    ours.handlers[:], root.handlers[:] = [], []
    try:
        yield ours
    finally:
        ours.setLevel(before[0])
        ours.handlers[:], root.handlers[:] = before[1], before[2]


def test_our_lines_are_seen_where_no_log_is_set_up(capsys: pytest.CaptureFixture[str]) -> None:
    with bare_log():
        for _ in range(2):
            set_up_log(None)
        logging.getLogger("response_cache.litellm").info("a line")
    assert capsys.readouterr().err == "INFO: response_cache.litellm: a line\n"


def test_the_variable_sets_the_level(capsys: pytest.CaptureFixture[str]) -> None:
    with bare_log() as ours:
        set_up_log("error")
        ours.warning("no line")
        ours.error("a line")
    assert capsys.readouterr().err == "ERROR: response_cache: a line\n"


def test_a_log_that_the_host_has_set_up_is_the_hosts(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line is written once, and by its handlers."""
    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    with bare_log() as ours:
        logging.getLogger().addHandler(Kept())
        set_up_log(None)
        assert ours.level == logging.NOTSET
        set_up_log("info")
        ours.info("a line")
    assert lines == ["a line"]
    assert capsys.readouterr().err == ""


def test_our_hook_is_appended_once() -> None:
    environ = {"LITELLM_WORKER_STARTUP_HOOKS": "a:b, c:d"}
    for _ in range(2):
        prepare(environ)
    assert (
        environ["LITELLM_WORKER_STARTUP_HOOKS"] == "a:b,c:d,"
        "response_cache_litellm.proxy.startup:install"
    )


def test_root_paths_of_the_proxy_have_the_routes_below_them() -> None:
    def PerRequestRootPathMiddleware(app: Any, root_paths: Sequence[str]) -> Any:  # noqa: N802
        """LiteLLM's is known by this name."""
        raise AssertionError("only its arguments are read")

    entry = Middleware(PerRequestRootPathMiddleware, root_paths=["/llm", "other/"])
    assert create_paths([]) == Options().paths
    assert {"/llm/v1/responses", "/other/responses"} < set(create_paths([entry]))


def test_usage_is_read_from_the_end_of_a_response_alone() -> None:
    end = b'data: {"type":"response.completed","response":{"usage":{"cost":0.5}}}\n\n'
    assert usage_in(end) == {"cost": 0.5}
    assert usage_in(end.replace(b"completed", b"in_progress")) is None
    assert usage_in(b'data: "response.completed" {\n\n') is None
    assert usage_in(b'data: {"type":"response.completed","response":{"usage":null}}\n\n') is None


@pytest.mark.slow
def test_importing_the_package_imports_no_litellm() -> None:
    code = "import sys, response_cache_litellm as r; assert 'litellm' not in sys.modules; r.nothing"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (
        "AttributeError: module 'response_cache_litellm' has no attribute 'nothing'"
        in result.stderr
    )


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [("litellm", "--config", "x.yaml"), ("serve", "--upstream", "litellm")],
    ids=["proxy", "sdk"],
)
async def test_without_litellm_one_line_names_the_extra(command: tuple[str, ...]) -> None:
    code, program = await run_program(*command, env={"PYTHONPATH": ""})
    assert code == 2
    assert "pip install 'response-cache[litellm]'" in program.stderr
    assert program.stderr.count("\n") == 1
