"""As a new user would: the examples under two gunicorn workers, each verb through the other one."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import pytest
from openai import OpenAI
from openai.types.responses import Response, ResponseStreamEvent

from tests.adapters.wsgi.test_servers import GTHREAD, LONG_INPUT, WORDS, fresh, served, until

pytestmark = pytest.mark.slow

T = TypeVar("T")

TRIES: Final = 60
"""Who accepts a connection is chance: the other worker does not in one of about 2 to the 60."""

MARK: Final = "x-mark"
LOGGED: Final = (
    *("--access-logfile", "{folder}/access"),
    *("--access-logformat", f"%({{{{{MARK}}}}}i)s %(p)s"),
)


@dataclass(frozen=True)
class Workers:
    """A server of several processes, and its log of which process answered what."""

    url: str
    log: Path

    def ask(self, verb: Callable[[OpenAI], T]) -> tuple[T, str]:
        """What *verb* gives over a connection of its own, and the worker that answered."""
        mark = uuid.uuid4().hex
        with fresh(self.url).with_options(default_headers={MARK: mark}) as client:
            result = verb(client)
        until(lambda: mark in self._answered())
        return result, self._answered()[mark]

    def ask_another(self, worker: str, verb: Callable[[OpenAI], T]) -> T:
        """What *verb* gives when any but *worker* answers it; others may have before."""
        for _ in range(TRIES):
            result, answered_by = self.ask(verb)
            if answered_by != worker:
                return result
        raise AssertionError(f"{worker} answers everything")

    def _answered(self) -> dict[str, str]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return dict(line.split() for line in lines if len(line.split()) == 2)


@pytest.fixture(params=["flask_app:app", "django_app:application"])
def workers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workers]:
    with served((*GTHREAD, *LOGGED, request.param), tmp_path) as (url, _):
        yield Workers(url, tmp_path / "access")


def create(input: str) -> Callable[[OpenAI], Response]:
    return lambda client: client.responses.create(model="echo", input=input, background=True)


def poll(id: str) -> Callable[[OpenAI], Response]:
    return lambda client: client.responses.retrieve(id)


def stream(id: str, after: int) -> Callable[[OpenAI], list[ResponseStreamEvent]]:
    return lambda client: list(client.responses.retrieve(id, stream=True, starting_after=after))


def cancel(id: str) -> Callable[[OpenAI], Response]:
    return lambda client: client.responses.cancel(id)


def test_any_worker_polls_streams_and_resumes_what_another_records(workers: Workers) -> None:
    created, worker = workers.ask(create(WORDS))
    assert created.status == "queued"
    running = workers.ask_another(worker, poll(created.id))
    assert running.status in ("queued", "in_progress", "completed")
    events = workers.ask_another(worker, stream(created.id, -1))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"
    assert workers.ask_another(worker, stream(created.id, 4)) == events[5:]
    final = workers.ask_another(worker, poll(created.id))
    assert (final.status, final.output_text) == ("completed", "one two three four ")


def test_any_worker_cancels_what_another_records(workers: Workers) -> None:
    cancelled, cancelled_by = cancelled_elsewhere(workers)
    assert cancelled.status == "cancelled"
    events, _ = workers.ask(stream(cancelled.id, -1))
    assert events[-1].type == "response.failed"
    assert workers.ask_another(cancelled_by, poll(cancelled.id)) == cancelled


def cancelled_elsewhere(workers: Workers) -> tuple[Response, str]:
    """A response that was cancelled by another worker than the one that records it, and by whom."""
    for _ in range(TRIES):  # a new one each time: only the first cancel stops it
        created, worker = workers.ask(create(LONG_INPUT))
        cancelled, cancelled_by = workers.ask(cancel(created.id))
        if cancelled_by != worker:
            return cancelled, cancelled_by
    raise AssertionError(f"{worker} answers everything")


def test_a_reader_sees_the_events_that_another_worker_records_as_they_come(
    workers: Workers,
) -> None:
    created, worker = workers.ask(create(LONG_INPUT))

    def first_words(client: OpenAI) -> list[str]:
        with client.responses.retrieve(created.id, stream=True) as events:
            deltas = (e.delta for e in events if e.type == "response.output_text.delta")
            return [next(deltas) for _ in range(2)]

    assert workers.ask_another(worker, first_words) == ["word ", "word "]
    assert workers.ask(cancel(created.id))[0].status == "cancelled"
