"""The official client against the proxy: every verb, and a stream that is taken up again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest
from openai import NotFoundError, OpenAI

from tests.litellm.proxies import Proxy, with_us
from tests.litellm.waiting import WAIT_TIMEOUT

pytestmark = with_us

SLOW = {"words": "30", "pace": "0.02"}


@pytest.fixture(scope="module")
def openai(proxy: Proxy) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{proxy.url}/v1", api_key="sk-ann", timeout=WAIT_TIMEOUT) as client:
        yield client


def test_create_retrieve_list_and_delete(openai: OpenAI) -> None:
    response = openai.responses.create(
        model="native", input="Tell", background=True, metadata={"words": "4", "pace": "0"}
    )
    assert response.status == "queued"
    while response.status in ("queued", "in_progress"):
        response = openai.responses.retrieve(response.id)
    assert response.status == "completed"
    assert len(response.output_text.split()) == 4
    assert [item.type for item in openai.responses.input_items.list(response.id)] == ["message"]
    openai.responses.delete(response.id)
    with pytest.raises(NotFoundError):
        openai.responses.retrieve(response.id)


def test_cancel(openai: OpenAI) -> None:
    response = openai.responses.create(
        model="native", input="Tell", background=True, metadata={"delay": "600"}
    )
    assert openai.responses.cancel(response.id).status == "cancelled"


def test_a_stream_is_taken_up_where_it_broke(openai: OpenAI) -> None:
    stream = openai.responses.create(
        model="native", input="Tell", background=True, stream=True, metadata=SLOW
    )
    with stream:
        first = list(islice(stream, 6))
    id = first[0].response.id  # type: ignore[union-attr]  # it is response.created
    with openai.responses.retrieve(id, stream=True, starting_after=5) as rest:
        events = [*first, *rest]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == openai.responses.retrieve(id).output_text
