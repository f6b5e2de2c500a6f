"""Two workers under gunicorn: whichever is asked knows every response."""

from __future__ import annotations

import httpx

from tests.litellm.provider import Provider
from tests.litellm.proxies import Proxy, with_us

pytestmark = with_us

HEADERS = {"authorization": "Bearer sk-ann", "connection": "close"}  # any worker may get the next


def test_any_worker_reads_streams_and_cancels(workers: Proxy, provider: Provider) -> None:
    url = f"{workers.url}/v1/responses"
    for number in range(6):
        name = f"anywhere {number}"
        order = {"words": "100000", "pace": "0.02"}
        body = {"model": "native", "input": name, "background": True, "metadata": order}
        id = httpx.post(url, json=body, headers=HEADERS).json()["id"]
        with httpx.stream("GET", f"{url}/{id}?stream=true", headers=HEADERS) as reply:
            lines = reply.iter_lines()
            assert next(lines) == "event: response.created"
            while "response.output_text.delta" not in next(lines):
                pass
            assert httpx.get(f"{url}/{id}", headers=HEADERS).json()["status"] == "in_progress"
            cancelled = httpx.post(f"{url}/{id}/cancel", headers=HEADERS)
            assert cancelled.json()["status"] == "cancelled"
            assert '"status":"cancelled"' in "".join(lines)
        assert provider.call_of(name).is_over.wait(30)


def test_the_callback_alone_installs_everything_in_each_worker(workers: Proxy) -> None:
    """The start command is LiteLLM's own; only the line in the configuration is ours."""
    assert "response_cache_litellm.callback" in (workers.directory / "config.yaml").read_text()
    assert "background responses are off" not in workers.log
