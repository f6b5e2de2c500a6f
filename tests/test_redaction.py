"""URLs as people may see them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from response_cache._redaction import explained, redacted
from response_cache.errors import StoreUnavailable

# fmt: off
SHOWN = {
    "http://u:HUSH@h:9/v1":                      "http://h:9/v1",
    "http://HUSH@h/v1":                          "http://h/v1",
    "http://h/v1?api-version=1&api-key=HUSH":    "http://h/v1?api-version=1&api-key=***",
    "https://h/v1?sv=HUSH&sig=HUSH%3D&code=HUSH": "https://h/v1?sv=***&sig=***&code=***",
    "https://h/v1?HUSH":                         "https://h/v1?***",
    "https://h/v1#HUSH":                         "https://h/v1",
    "redis://:HUSH@h:6379/0?password=HUSH":      "redis://h:6379/0?password=***",
    "rediss+cluster://u:HUSH@a:1,[::1]:2?key_prefix=x": "rediss+cluster://a:1,[::1]:2?key_prefix=x",
    "redis+sentinel://:HUSH@a,b/service/1":      "redis+sentinel://a,b/service/1",
    "sqlite:////home/me@work/a.db?synchronous=FULL": "sqlite:////home/me@work/a.db?synchronous=FULL",
    "memory://?max_responses=5":                 "memory://?max_responses=5",
    "/v1/responses/r?stream=true&key=HUSH":      "/v1/responses/r?stream=true&key=***",
    "litellm":                                   "litellm",
    "":                                          "",
    # and what is no URL:
    "http://u:HUSH/HUSH@h/v1":                   "http://h/v1",
    "redis://:HUSH?HUSH@h":                      "redis://h",
    "redis://:HUSH#HUSH@h":                      "redis://h",
    "redis://:HUSH":                             "redis://***",
    "http://u:HUSH/v1":                          "http://***/v1",
    "me:HUSH@h/v1":                              "h/v1",
}
# fmt: on


@pytest.mark.parametrize("url", SHOWN)
def test_what_opens_a_door_is_not_shown(url: str) -> None:
    assert redacted(url) == SHOWN[url]
    assert "HUSH" not in redacted(url)


@given(st.text(max_size=20).filter(lambda text: "@" not in text), st.text(max_size=20))
def test_no_password_and_no_value_is_shown_whatever_is_in_it(before: str, after: str) -> None:
    assert "HUSH" not in redacted(f"redis://u:{before}HUSH{after}@host/0")
    assert "HUSH" not in redacted(f"http://host/v1?api-key={before.replace('&', '')}HUSH")


@given(st.text(max_size=20).filter(lambda text: "@" not in text))
def test_what_an_error_says_has_no_password_of_a_url(before: str) -> None:
    url = f"redis://u:{before}HUSH@host/0"
    said = explained(StoreUnavailable(f"cannot open {url}: refused"))
    assert said.startswith("cannot open redis://host")
    assert "HUSH" not in said
    assert "HUSH" not in explained(RuntimeError(url))


def test_an_error_is_said_in_one_line_and_by_its_kind_where_it_is_not_ours() -> None:
    assert explained(StoreUnavailable("no\n room")) == "no room"
    assert explained(RuntimeError("no room")) == "RuntimeError: no room"
    assert explained(RuntimeError()) == "RuntimeError"
