"""Which creates are recorded: the proxy's settings, taken at their word."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from response_cache_litellm._proxy.policy import Policy, providers_of, read_policy

DEPLOYMENTS: list[dict[str, Any]] = [
    {"litellm_params": {"model": "openai/gpt-5"}},
    {"litellm_params": {"model": "x", "custom_llm_provider": "azure"}},
    {},
]


@pytest.mark.parametrize(
    ("value", "providers"),
    [
        ("all", None),
        (["all"], None),
        (["openai", "all"], None),
        (True, None),
        ("true", None),
        (["openai"], {"openai"}),
        ("openai", {"openai"}),
        (False, set()),
        ("off", set()),
        (None, set()),
        ([], set()),
        ({"a": 1}, set()),
    ],
)
def test_a_value_means_what_it_says(value: object, providers: set[str] | None) -> None:
    expected = None if providers is None else frozenset(providers)
    assert read_policy(value).providers == expected


def test_a_proxy_that_says_nothing_means_all() -> None:
    assert read_policy(False, is_set=False) == Policy(None)
    assert read_policy(False, ["gpt-5"], is_set=False) == Policy(None, frozenset(["gpt-5"]))


def test_a_value_that_litellm_takes_for_off_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "response_cache.litellm"):
        for _ in range(3):
            read_policy("a-provider-of-this-test")
            read_policy("all")
            read_policy(["openai"])
    assert [record.getMessage() for record in caplog.records] == [
        "polling_via_cache: 'a-provider-of-this-test' means ['a-provider-of-this-test']"
        " to response_cache"
    ]


def test_providers_come_from_the_name_and_from_the_deployments() -> None:
    assert list(providers_of("openai/gpt-5", [])) == ["openai"]
    assert list(providers_of("fast", DEPLOYMENTS)) == ["openai", "azure", ""]
    assert list(providers_of("team/fast", DEPLOYMENTS)) == ["team", "openai", "azure", ""]


def test_a_policy_covers_by_provider_and_leaves_native_models_alone() -> None:
    policy = Policy(frozenset(["openai"]), frozenset(["native"]))
    assert policy.covers("team/fast", lambda _: ["team", "openai"])
    assert not policy.covers("other", lambda _: ["azure"])
    assert not policy.covers("native", lambda _: ["openai"])
    assert not policy.covers_all
    assert Policy(None).covers_all
    assert Policy(None).covers("anything", lambda _: [])
    assert not Policy(None, frozenset(["native"])).covers("native", lambda _: [])
