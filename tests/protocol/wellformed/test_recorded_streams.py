"""Streams of real servers: OpenAI's own go through as they are, others are mended."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from response_cache._protocol.sse import DONE, Decoder
from response_cache.testing import check_log, read_by_client
from tests.data import DATA, STREAMS
from tests.protocol.wellformed.clients import READ_BY_CLIENT, accumulated
from tests.protocol.wellformed.runs import Run, played

NAMES: Final = sorted(path.stem for path in STREAMS.glob("*.jsonl"))
SERVERS: Final = sorted((DATA / "servers").glob("*.sse"))

CONTRADICTIONS: Final = {
    "copilot-reasoning": "each event of an item names another id",
    "copilot-reasoning-summary": "each event of an item names another id",
    "openai-image-generation-reasoning": "two items have one id (edited by hand)",
    "openai-tool-search": "the call gets its call id when it is done",
}
"""Streams that contradict their own ids, which are not changed."""

ILL_FORMED: Final = {
    "copilot-reasoning": "the terminal event names another response",
    "copilot-reasoning-summary": "the terminal event names another response",
    "openai-background-3": "resumed in the middle",
    "openai-no-end-function-call": "cut by hand",
    "openai-no-end-reasoning": "cut by hand",
    "openai-text-7": "written by hand: no item ids",
    "openai-text-11": "written by hand: no output indexes",
    **CONTRADICTIONS,
}
UNNUMBERED: Final = {  # recordings of early 2025
    *("openai-function-call-3", "openai-structured-output-3", "openai-text", "openai-text-3"),
    *("openai-text-4", "openai-text-5", "openai-text-12"),
}


@cache
def recorded(name: str) -> list[dict[str, Any]]:
    lines = (STREAMS / f"{name}.jsonl").read_text("utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


def served(path: Path) -> list[dict[str, Any]]:
    decoder = Decoder()
    events = [*decoder.feed(path.read_bytes()), *decoder.finish()]
    return [json.loads(event.data) for event in events if event.data != DONE]


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_stream_is_well_formed_but_for_those_with_a_reason(name: str) -> None:
    rules = {finding.rule for finding in check_log(recorded(name))}
    if name in UNNUMBERED:
        assert rules == {1}
    else:
        assert bool(rules) == (name in ILL_FORMED)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ILL_FORMED])
def test_a_well_formed_stream_is_not_touched(name: str) -> None:
    run = Run()
    for event in copy.deepcopy(recorded(name)):
        is_queued = event.get("response", {}).get("status") == "queued"
        fed = run.normalizer.feed(event)
        assert [id(one) for one in fed] == ([] if is_queued else [id(event)])
        for one in fed:
            run.recorder.record(one["type"], one, b"")
    assert run.mended == {}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # of items newer than the client
def test_the_log_is_well_formed_and_read_by_the_official_client(name: str) -> None:
    run = played(copy.deepcopy(recorded(name)))
    findings = check_log(run.log, {READ_BY_CLIENT: read_by_client()})
    assert run.faults == []
    assert bool(findings) == (name in CONTRADICTIONS)
    if not findings:
        accumulated(run.log)


@pytest.mark.parametrize("path", SERVERS, ids=lambda path: path.stem)
def test_the_log_of_another_server_is_well_formed(path: Path) -> None:
    run = played(served(path))
    assert check_log(run.log, {READ_BY_CLIENT: read_by_client()}) == []
    accumulated(run.log)


@pytest.mark.parametrize("path", SERVERS, ids=lambda path: path.stem)
def test_all_text_of_another_server_is_in_the_polls(path: Path) -> None:
    run, told = Run(), ""
    for event in served(path):
        run.feed(event)
        if isinstance(event.get("delta"), str):
            told += event["delta"]
            assert told in told_by(run.output)
    assert run.response["status"] in ("completed", "incomplete")
    assert told in told_by(run.output)


def told_by(output: list[dict[str, Any]]) -> str:
    """All texts and arguments, in their order."""
    return "".join(
        item.get("arguments", "")
        + "".join(part.get("text", "") for part in item.get("content", []))
        for item in output
    )
