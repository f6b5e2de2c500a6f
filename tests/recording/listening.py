"""An answer and what is behind it, without a job and a writer."""

from __future__ import annotations

from collections.abc import Iterable

import anyio

from response_cache._protocol.jsontext import load
from response_cache._protocol.sse import payload
from response_cache._recording.answer import Answer
from response_cache._recording.attempt import Attempt, Refusal
from response_cache._recording.intake import Intake
from response_cache._recording.recorder import Recorder
from response_cache._recording.timers import Timers

SSE = (b"Content-Type", b"text/event-stream; charset=utf-8")
JSON = (b"content-type", b"application/json")
WORD = b'event: acme:word\ndata: {"type":"acme:word"}\n\n'
END = b'data: {"type":"response.completed","response":{"id":"up"}}\n\n'


class Listening:
    """An answer, the attempt and the recorder behind it, and what a job was told."""

    def __init__(
        self,
        *,
        buffer_bytes: int = 1 << 20,
        max_bytes: int = 1 << 20,
        told: bool = True,
        asks_for_stream: bool = True,
    ) -> None:
        queued = {"id": "resp_rc1", "status": "queued", "metadata": {}, "output": []}
        self.recorder = Recorder.begin(queued, now=lambda: 0.0, max_events=1000)
        self.recorder.take()
        self.intake = Intake(self.recorder)
        self.refusal: Refusal | None = None
        self.admissions = 0
        self.changes = 0
        self.timers = Timers()
        self.may_go_on = anyio.Event()
        self._told = told
        self.attempt = Attempt(
            self.intake,
            changed=self._changed,
            admit=self._admit,
            refuse=self._refuse,
            max_bytes=max_bytes,
            asks_for_stream=asks_for_stream,
        )
        self.answer = Answer(
            self.attempt,
            self.intake,
            changed=self._changed,
            wait_for_capacity=self._wait_for_capacity,
            timers=self.timers,
            buffer_bytes=buffer_bytes,
        )

    def _changed(self, _now: float) -> None:
        self.changes += 1

    async def _wait_for_capacity(self) -> None:
        await self.may_go_on.wait()

    def _admit(self) -> None:
        self.admissions += 1

    def _refuse(self, refusal: Refusal) -> bool:
        self.refusal = refusal if self._told else None
        return self._told

    async def hear(
        self, chunks: Iterable[bytes], *headers: tuple[bytes, bytes], status: int = 200
    ) -> Listening:
        self.answer.start(status, headers)
        for chunk in chunks:
            await self.answer.write(chunk)
        self.answer.finish()
        return self

    @property
    def types(self) -> list[str]:
        events = [load(payload(event)) for event in self.intake.parse_backlog().pending]
        return [event["type"].removeprefix("response.") for event in events]

    @property
    def failure(self) -> str:
        response = load(payload(self.intake.parse_backlog().pending[-1]))["response"]
        assert response["status"] == "failed"
        return str(response["error"]["message"])
