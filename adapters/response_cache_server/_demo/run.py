"""The demonstration: background responses over real HTTP, in a few seconds.

It starts a sidecar with the built-in upstream as a process of its own. A plain HTTP client creates
a background response and polls it to its end, drops a stream in the middle and resumes it, cancels
a response and deletes one. Every answer is checked. The first one that breaks a promise ends the
demonstration.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

import anyio
import httpx
from rich.console import Console
from rich.table import Table

from response_cache_server._demo.client import Client, Event, Unexpected, response_text
from response_cache_server._demo.display import Display
from response_cache_server._demo.server import DemoServerFailed, running_sidecar

__all__ = ("Unexpected", "run_demo")

POLL_INTERVAL: Final = 0.2  # seconds between two polls
DROP_AFTER: Final = 20  # events after which the stream is dropped
PENDING: Final = ("queued", "in_progress")


def run_demo(store: str) -> None:
    """Run the demonstration against *store* and print what happened.

    Raises:
        Unexpected: a promise was broken; the message says which.
    """
    try:
        anyio.run(_demonstrate, store)
    except DemoServerFailed as error:
        raise Unexpected(str(error)) from error


async def _demonstrate(store: str) -> None:
    console = Console(highlight=False)
    who = {"Authorization": "Bearer demonstration"}
    flags = ("--store", store, "--log-level", "warning", "--drain-timeout", "2")
    async with (
        running_sidecar(*flags) as url,
        httpx.AsyncClient(base_url=url, headers=who, timeout=30, trust_env=False) as http,
    ):
        console.print(f"The sidecar runs on {url}; its store is {store.partition(':')[0]}.")
        client, summary = Client(http), _Summary()
        first = await _watch(client, summary, console)
        await _resume(client, summary, console)
        await _cancel(client, summary, console)
        await _delete(client, summary, first)
        console.print(summary.table)


class _Summary:
    """The results, a row for each promise."""

    def __init__(self) -> None:
        self.table = Table(title="What happened", title_justify="left")
        self.table.add_column("step", no_wrap=True)
        self.table.add_column("result")

    def add(self, step: str, result: str) -> None:
        self.table.add_row(step, result)


async def _watch(client: Client, summary: _Summary, console: Console) -> str:
    created = await client.create("Tell me a story", words="50", pace="0.04")
    _expect(created["status"] == "queued", f"a new response is queued, not {created['status']}")
    response, polls = created, 0
    with Display(console, "polling", total=50) as display:
        while response["status"] in PENDING:
            await anyio.sleep(POLL_INTERVAL)
            response = await client.retrieve(created["id"])
            polls += 1
            display.show(response["status"], response_text(response))
    text = response_text(response)
    _expect(response["status"] == "completed", f"it ended {response['status']}")
    _expect(len(text.split()) == 50, f"50 words were ordered, {len(text.split())} came")
    summary.add("create and poll", f"queued at once, completed after {polls} polls, 50 words")
    return str(created["id"])


async def _resume(client: Client, summary: _Summary, console: Console) -> None:
    seen: list[Event] = []
    with Display(console, "streaming", total=50) as display:
        async with aclosing(client.create_stream("Another one", words="50", pace="0.04")) as events:
            async for event in events:
                _see(event, seen, display)
                if len(seen) == DROP_AFTER:
                    break
        created, cursor = seen[0]["response"]["id"], seen[-1]["sequence_number"]
        display.note(f"connection dropped after event {cursor}; resuming")
        await anyio.sleep(0.5)  # the response goes on without us
        async for event in client.resume(created, starting_after=cursor):
            _see(event, seen, display)
    numbers = [event["sequence_number"] for event in seen]
    _expect(numbers == list(range(len(seen))), f"the events' numbers have gaps: {numbers}")
    _expect(seen[-1]["type"] == "response.completed", f"the last event is {seen[-1]['type']}")
    whole = response_text(await client.retrieve(created))
    _expect(_told(seen) == whole, "the streamed words are not those of the response")
    summary.add(
        "drop and resume",
        f"dropped after event {cursor}, resumed; 0 to {numbers[-1]}, none missing, none twice",
    )


async def _cancel(client: Client, summary: _Summary, console: Console) -> None:
    created = await client.create("A very long one", words="10000", pace="0.02")
    while not response_text(response := await client.retrieve(created["id"])):
        _expect(response["status"] in PENDING, f"it ended {response['status']} too early")
        await anyio.sleep(POLL_INTERVAL)
    cancelled = await client.cancel(created["id"])
    _expect(cancelled["status"] == "cancelled", f"cancel answered {cancelled['status']}")
    words = len(response_text(cancelled).split())
    await anyio.sleep(0.5)  # if the upstream were still recorded, there would be more words
    later = await client.retrieve(created["id"])
    _expect(later == cancelled, "a cancelled response changed afterwards")
    console.print(f"Cancelled a response of 10000 words after {words}.")
    summary.add("cancel", f"cancelled after {words} of 10000 words, and it stays so")


async def _delete(client: Client, summary: _Summary, id: str) -> None:
    answer = await client.delete(id)
    _expect(answer.get("deleted") is True, f"delete answered {answer}")
    await client.expect_gone(id)
    summary.add("delete", "deleted, then 404")


def _see(event: Event, seen: list[Event], display: Display) -> None:
    seen.append(event)
    display.show(f"event {event['sequence_number']}", _told(seen))


def _told(events: list[Event]) -> str:
    deltas = (e["delta"] for e in events if e["type"] == "response.output_text.delta")
    return "".join(deltas)


def _expect(truth: bool, otherwise: str) -> None:
    if not truth:
        raise Unexpected(otherwise)
