"""The cache's settings in a LiteLLM proxy: variables over the settings of the proxy."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from response_cache.errors import StoreUnavailable
from response_cache_litellm._settings import ProxySettings, load_proxy_settings, try_store


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


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
