"""The built-in upstream: what it answers, in virtual time and without sockets."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from response_cache_server._asgi import Message
from response_cache_server._builtin.upstream import BuiltInUpstream

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
OUTPUTS = ["text", "reasoning", "function_call", "reasoning,text,function_call", "text,text"]
NOW = 1_800_000_000.0


@dataclass
class Answer:
    """What an app sent, and how long it says it slept."""

    messages: list[Message] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.messages[1:])

    @property
    def is_whole(self) -> bool:
        return not self.messages[-1].get("more_body", False)

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[dict[str, Any]]:
        blocks = self.body.decode().removesuffix("\n\n").split("\n\n")
        events = []
        for block in blocks:
            name, data = block.split("\n")
            event = json.loads(data.removeprefix("data: "))
            assert name == f"event: {event['type']}"
            events.append(event)
        return events


async def ask(method: str, path: str, body: bytes = b"", *, leaves: bool = False) -> Answer:
    """What the upstream answers a client that stays, or *leaves* behind its request."""
    answer = Answer()
    asked = False

    async def receive() -> Message:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": body}
        if not leaves:
            await anyio.sleep_forever()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        answer.messages.append(message)

    async def sleep(seconds: float) -> None:
        answer.slept.append(seconds)
        await anyio.lowlevel.checkpoint()

    app = BuiltInUpstream(words=12, pace=0.25, sleep=sleep, now=lambda: NOW)
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": []}
    await app(scope, receive, send)
    return answer


async def create(*, stream: bool = True, leaves: bool = False, **metadata: str) -> Answer:
    request = {"model": "m", "input": "Hello there", "stream": stream, "metadata": metadata}
    return await ask("POST", "/v1/responses", json.dumps(request).encode(), leaves=leaves)


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def error_of(answer: Answer) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize("end", ["completed", "incomplete", "failed", "cut"])
@pytest.mark.parametrize("output", OUTPUTS)
async def test_every_event_is_one_that_the_official_package_knows(output: str, end: str) -> None:
    for event in (await create(output=output, end=end)).events():
        parsed = EVENT.validate_python(event)
        assert parsed.type == event["type"]


@pytest.mark.parametrize("output", OUTPUTS)
async def test_numbers_are_dense_and_every_word_is_slept_for(output: str) -> None:
    answer = await create(output=output)
    events = answer.events()
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    deltas = [event for event in events if event["type"].endswith(".delta")]
    assert answer.slept == [0.0, *[0.25] * len(deltas)]


async def test_a_text_comes_in_the_order_of_the_specification() -> None:
    events = (await create(words="3")).events()
    assert types(events) == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * 3,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]


@pytest.mark.parametrize("output", OUTPUTS)
async def test_the_final_response_has_the_items_as_they_were_finished(output: str) -> None:
    events = (await create(output=output)).events()
    finished = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    final = events[-1]["response"]
    Response.model_validate(final)
    assert final["output"] == finished
    assert [item["type"] for item in finished] == [
        {"text": "message"}.get(kind, kind) for kind in output.split(",")
    ]
    assert final["completed_at"] == final["created_at"] == int(NOW)
    usage = final["usage"]
    assert usage["output_tokens"] == 12 * len(finished)
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["output_tokens_details"]["reasoning_tokens"] == 12 * output.count("reasoning")


async def test_deltas_joined_are_the_finished_text() -> None:
    events = (await create(words="30")).events()
    told = "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
    (done,) = (e["text"] for e in events if e["type"] == "response.output_text.done")
    assert told == done
    assert len(done.split()) == 30


async def test_arguments_of_a_function_call_are_json_for_the_function_that_was_offered() -> None:
    request = {
        "input": "x",
        "tools": [{"type": "web_search"}, {"type": "function", "name": "weather"}],
        "metadata": {"output": "function_call"},
    }
    answer = await ask("POST", "/responses", json.dumps(request).encode())
    (item,) = answer.json()["output"]
    assert item["name"] == "weather"
    assert len(json.loads(item["arguments"])["query"].split()) == 12


@pytest.mark.parametrize("given", [{}, {"strict": None}, {"strict": True, "description": "d"}])
async def test_a_function_is_repeated_with_all_keys(given: dict[str, Any]) -> None:
    tools = [{"type": "web_search"}, {"type": "function", "name": "f", **given}]
    answer = await ask("POST", "/responses", json.dumps({"input": "x", "tools": tools}).encode())
    search, function = answer.json()["tools"]
    assert search == tools[0]
    assert function == {
        "description": given.get("description"),
        "parameters": None,
        "type": "function",
        "name": "f",
        "strict": given.get("strict") is True,
    }


async def test_the_same_request_gets_the_same_words_and_another_one_others() -> None:
    def words(request: dict[str, Any]) -> bytes:
        return json.dumps(request).encode()

    first = await ask("POST", "/v1/responses", words({"input": "a"}))
    again = await ask("POST", "/v1/responses", words({"input": "a"}))
    other = await ask("POST", "/v1/responses", words({"input": "b"}))
    assert first.json() == again.json()
    assert first.json()["output"] != other.json()["output"]


async def test_without_stream_the_answer_is_the_final_response() -> None:
    whole = (await create(stream=False, output="reasoning,text")).json()
    assert whole["status"] == "completed"
    Response.model_validate(whole)


async def test_without_stream_the_time_is_the_same() -> None:
    answer = await create(stream=False, words="10", pace="0.5", delay="3")
    assert sum(answer.slept) == 8.0


async def test_a_request_is_echoed_where_the_api_echoes_it() -> None:
    request = {"model": "gpt-x", "temperature": 0.5, "metadata": {"mine": "1"}, "input": "x"}
    answer = await ask("POST", "/v1/responses", json.dumps(request).encode())
    assert {name: answer.json()[name] for name in ("model", "temperature", "metadata")} == {
        "model": "gpt-x",
        "temperature": 0.5,
        "metadata": {"mine": "1"},
    }


async def test_an_incomplete_answer_says_why() -> None:
    final = (await create(end="incomplete")).events()[-1]
    assert final["type"] == "response.incomplete"
    assert final["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert final["response"]["output"][0]["status"] == "incomplete"


async def test_a_failure_comes_half_way() -> None:
    events = (await create(end="failed")).events()
    assert types(events).count("response.output_text.delta") == 6
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] == "server_error"
    assert events[-1]["response"]["completed_at"] is None


async def test_an_error_is_told_before_the_failure() -> None:
    events = (await create(end="error")).events()
    assert types(events)[-2:] == ["error", "response.failed"]
    assert set(events[-2]["error"]) == {"type", "code", "message", "param"}


@pytest.mark.parametrize("stream", [True, False])
async def test_a_cut_answer_ends_in_its_middle(stream: bool) -> None:
    answer = await create(end="cut", stream=stream)
    assert not answer.is_whole
    if stream:
        assert types(answer.events())[-1] == "response.output_text.delta"
    else:
        assert len(answer.body) < int(answer.headers[b"content-length"])


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, "invalid_request_error"), (429, "rate_limit_error"), (503, "server_error")],
)
async def test_a_status_that_was_asked_for_is_answered_after_the_delay(
    status: int, kind: str
) -> None:
    answer = await create(status=str(status), delay="2")
    assert answer.status == status
    assert error_of(answer)["type"] == kind
    assert answer.slept == [2.0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("words", "many"),
        ("words", "-1"),
        ("pace", "nan"),
        ("pace", "-0.1"),
        ("output", "text,poem"),
        ("output", ""),
        ("end", "happily"),
        ("delay", "1e9"),
        ("status", "200"),
    ],
)
async def test_a_value_that_cannot_be_is_a_400_that_names_it(name: str, value: str) -> None:
    request = json.dumps({"input": "x", "metadata": {name: value}})
    answer = await ask("POST", "/v1/responses", request.encode())
    assert answer.status == 400
    assert error_of(answer)["param"] == f"metadata.{name}"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b"[]", None),
        (b'{"metadata": 1}', "metadata"),
        (b'{"metadata": {"words": 5}}', "metadata.words"),
    ],
)
async def test_a_body_that_cannot_be_understood_is_a_400(body: bytes, param: str | None) -> None:
    answer = await ask("POST", "/v1/responses", body)
    assert answer.status == 400
    assert error_of(answer)["param"] == param


async def test_a_body_that_holds_more_than_can_be_read_in_a_moment_is_a_413() -> None:
    answer = await ask("POST", "/v1/responses", b'{"input": [%b1]}' % (b"1," * 200_000))
    assert answer.status == 413
    assert "200000 JSON values" in error_of(answer)["message"]


async def test_a_client_that_leaves_ends_the_answer() -> None:
    answer = await create(words="100000", leaves=True)
    assert not answer.messages or not answer.is_whole


async def test_there_is_one_model() -> None:
    models = (await ask("GET", "/v1/models")).json()
    assert [model["id"] for model in models["data"]] == ["built-in"]
    assert (await ask("GET", "/v1/models/built-in")).json() == models["data"][0]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/responses/resp_1"),
        ("DELETE", "/responses/resp_1"),
        ("POST", "/openai/v1/responses/resp_1/cancel"),
        ("GET", "/v1/responses/resp_1/input_items"),
    ],
)
async def test_it_keeps_no_responses(method: str, path: str) -> None:
    answer = await ask(method, path)
    assert answer.status == 404
    assert error_of(answer)["message"] == "Response with id 'resp_1' not found."


async def test_what_it_does_not_offer_is_a_404_and_a_wrong_method_a_405() -> None:
    assert (await ask("POST", "/v1/chat/completions")).status == 404
    wrong = await ask("GET", "/v1/responses")
    assert (wrong.status, wrong.headers[b"allow"]) == (405, b"POST")


@pytest.mark.parametrize("path", ["/v1/../responses", "*"])
async def test_a_path_that_is_none_is_a_400(path: str) -> None:
    assert (await ask("POST", path)).status == 400
