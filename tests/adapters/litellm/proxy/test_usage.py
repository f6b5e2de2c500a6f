"""Usage and cost, read from what a LiteLLM proxy sends."""

from __future__ import annotations

from response_cache_litellm._proxy.usage import usage_in


def test_usage_is_read_from_the_end_of_a_response_alone() -> None:
    end = b'data: {"type":"response.completed","response":{"usage":{"cost":0.5}}}\n\n'
    assert usage_in(end) == {"cost": 0.5}
    assert usage_in(end.replace(b"completed", b"in_progress")) is None
    assert usage_in(b'data: "response.completed" {\n\n') is None
    assert usage_in(b'data: {"type":"response.completed","response":{"usage":null}}\n\n') is None
