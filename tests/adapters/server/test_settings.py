"""Settings: flags, then the environment, then defaults."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from response_cache import Options
from response_cache_server._builtin.scenario import Scenario
from response_cache_server._settings import BadSettings, Settings, load_settings
from response_cache_server._variables import PREFIX

DOCS = Path(__file__).resolve().parents[3] / "docs" / "sidecar.md"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)


def test_nothing_said_means_defaults() -> None:
    settings = load_settings({"port": None})
    assert (settings.upstream, settings.store, settings.port) == (None, "memory://", 8000)
    assert settings.options() == Options().model_dump()


def test_litellm_judges_its_own_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings({"upstream": "litellm"}).options()["check_requests"] is False
    assert load_settings({"upstream": "http://h/v1"}).options()["check_requests"] is True
    monkeypatch.setenv(f"{PREFIX}CHECK_REQUESTS", "true")
    assert load_settings({"upstream": "litellm"}).options()["check_requests"] is True


def test_every_option_of_the_cache_can_be_set_by_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = dict(_other_values())
    assert set(said) == set(Options.model_fields)
    for name, value in said.items():
        monkeypatch.setenv(PREFIX + name.upper(), value)
    options = Options(**load_settings({}).options()).model_dump()
    defaults = Options().model_dump()
    assert [name for name in defaults if options[name] == defaults[name]] == []


def _other_values() -> Iterator[tuple[str, str]]:
    for name, default in Options().model_dump().items():
        match default:
            case None if name == "cors_origins":
                yield name, "https://a.example, null"
            case bool():
                yield name, str(not default)
            case int() | float():
                yield name, str(default + 1)
            case tuple():
                yield name, "/a/responses, /b/responses"
            case "openai":
                yield name, "litellm"
            case "text":
                yield name, "none"
            case _:
                yield name, "7"


def test_a_list_is_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESPONSE_CACHE_PATHS", "/a/responses, /b/responses")
    assert load_settings({}).paths == ("/a/responses", "/b/responses")


def test_a_flag_overrides_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESPONSE_CACHE_PORT", "1")
    monkeypatch.setenv("RESPONSE_CACHE_TTL", "5")
    settings = load_settings({"port": "2"})
    assert (settings.port, settings.ttl) == (2, 5.0)


def test_an_empty_variable_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESPONSE_CACHE_UPSTREAM", "")
    assert load_settings({}).upstream is None


def test_the_service_link_of_kubernetes_is_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESPONSE_CACHE_PORT", "tcp://10.0.0.7:80")
    assert load_settings({}).port == 8000


UNKNOWN = {
    "TTTL": "unknown variable (did you mean RESPONSE_CACHE_TTL?)",
    "UPSTREEM": "unknown variable (did you mean RESPONSE_CACHE_UPSTREAM?)",
    "MAX_RUNING": "unknown variable (did you mean RESPONSE_CACHE_MAX_RUNNING?)",
    "QQQ": "unknown variable",
    "PORTS": "unknown variable (did you mean RESPONSE_CACHE_PORT?)",
    "SERVICE_HOSTS": "unknown variable",
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_variable_that_nobody_reads_is_an_error(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PREFIX + name, "hush")
    complaint = f"{PREFIX}{name}: {UNKNOWN[name]}"
    with pytest.raises(BadSettings) as refusal:
        load_settings({})
    assert str(refusal.value) == complaint
    with pytest.raises(ValueError, match=re.escape(complaint)):
        Settings.model_validate({})
    monkeypatch.setenv(PREFIX + name, "")  # is absent
    load_settings({})


def test_also_in_small_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("response_cache_ttl", "5")
    assert load_settings({}).ttl == 5
    monkeypatch.setenv("response_cache_tttl", "5")
    with pytest.raises(BadSettings, match="RESPONSE_CACHE_TTTL: unknown"):
        load_settings({})


def test_the_service_links_of_kubernetes_are_nobodys_mistakes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a service response-cache, and of others whose names begin so."""
    for service in ("", "REDIS_", "MY_OTHER_ONE_"):
        for link, value in SERVICE_LINKS.items():
            monkeypatch.setenv(f"{PREFIX}{service}{link}", value)
    assert load_settings({}).model_dump() == Settings.model_construct().model_dump()


SERVICE_LINKS = {
    "SERVICE_HOST": "10.0.0.11",
    "SERVICE_PORT": "8000",
    "SERVICE_PORT_HTTP": "8000",
    "SERVICE_PORT_HTTP_METRICS": "8001",
    "PORT": "tcp://10.0.0.11:8000",
    "PORT_8000_TCP": "tcp://10.0.0.11:8000",
    "PORT_8000_TCP_PROTO": "tcp",
    "PORT_8000_TCP_PORT": "8000",
    "PORT_8000_TCP_ADDR": "10.0.0.11",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("upstream", "api.example.com/v1"),
        ("port", "65536"),
        ("port", "http"),
        ("log_level", "loud"),
        ("ttl", "0"),
        ("drain_timeout", "soon"),
        ("read_timeout", "0"),
        ("forwarded_allow_ips", "localhost"),
    ],
)
def test_what_is_wrong_is_named_as_it_was_given(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadSettings, match=f"^--{name.replace('_', '-')}: "):
        load_settings({name: value})
    monkeypatch.setenv(PREFIX + name.upper(), value)
    with pytest.raises(BadSettings, match=f"^{PREFIX}{name.upper()}: "):
        load_settings({})


def test_a_complaint_repeats_no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESPONSE_CACHE_TTL", "hush1")
    with pytest.raises(BadSettings) as complaint:
        load_settings({"upstream": "ftp://me:hush2@host", "port": "x"})
    assert "hush" not in str(complaint.value)
    assert "\n" not in str(complaint.value)
    assert str(complaint.value).count("; ") == 2


def test_the_table_in_the_docs_has_every_setting_of_the_sidecar_and_its_default() -> None:
    own = [name for name in Settings.model_fields if name not in Options.model_fields]
    told = dict(re.findall(r"^\| `(RESPONSE_CACHE_\w+)` \| ([^|]*) ?\|", _docs(), re.MULTILINE))
    assert told == {PREFIX + name.upper(): _shown(Settings, name) for name in own}


def test_the_table_in_the_docs_has_everything_that_the_built_in_upstream_obeys() -> None:
    told = dict(re.findall(r"^\| `([a-z]+)` \| ([^|]*) ?\|", _docs(), re.MULTILINE))
    assert told == {name: _shown(Scenario, name) for name in Scenario.model_fields}


def _docs() -> str:
    return re.sub(" +\\|", " |", DOCS.read_text("utf-8"))


def _shown(model: type[BaseModel], name: str) -> str:
    """A default as the tables show it; nothing for None."""
    match model.model_fields[name].default:
        case None:
            return ""
        case bool() as default:
            return f"`{str(default).lower()}` "
        case float() as default:
            return f"`{default:g}` "
        case tuple() as default:
            return f"`{','.join(default)}` "
        case default:
            return f"`{default}` "
