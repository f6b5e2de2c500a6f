"""The made streams keep what recordings are kept for, and hold no word of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from response_cache._protocol.events import EVENTS, LIFECYCLE, TERMINAL
from response_cache._protocol.jsontext import JsonObject
from response_cache._protocol.sse import DONE, Decoder
from tests.data import DATA, RAW, SERVERS, STREAMS, table
from tests.data.deltas import Deltas, texts_of
from tests.data.make_streams import make
from tests.data.spelling import parsed, respelled
from tests.data.vocabulary import FREE_FIELDS, NAME_MAPS, PROMPTS, is_wire_word

Stream = list[JsonObject]

NEVER_RECORDED: Final = {
    *("response.audio.delta", "response.audio.done"),
    *("response.audio.transcript.delta", "response.audio.transcript.done"),
    *("response.compaction.compacting", "response.mcp_list_tools.failed"),
    *("response.reasoning.delta", "response.reasoning.done"),
    *("response.cancelled", "response.done"),
}
PROVIDERS: Final = {
    # How many streams of each, at least: each has its own oddities.
    "OpenAI": 110,
    "Azure OpenAI": 10,
    "xAI": 8,
    "Amazon Bedrock (Mantle)": 6,
    "ChatGPT (Codex backend)": 5,
    "DeepSeek": 3,
    "GitHub Copilot": 2,
    "LM Studio": 2,
    "vLLM": 1,
    "OpenRouter": 1,
}
DONE_ALONE: Final = "lmstudio-logprobs-function-call.jsonl"
"""Whose `done` event brings arguments that no delta brought (10 in tests/data/README.md)."""

LONG: Final = 1000  # events, of streams for which the work must not grow faster than they do
MAX_BYTES: Final = 6_000_000


@cache
def streams() -> dict[str, Stream]:
    return {path.name: read(path) for path in sorted(STREAMS.iterdir())}


def read(path: Path) -> Stream:
    return [json.loads(line) for line in lines(path)]


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]


def origins() -> dict[str, str]:
    return {row["file"]: row["origin"] for row in table("MANIFEST")["streams"]}


def recorded() -> Iterator[tuple[str, Stream]]:
    """Those that nobody edited."""
    return ((name, found) for name, found in streams().items() if "edited" not in origins()[name])


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for member, entry in value.items():
            yield from leaves(entry, member)
    elif isinstance(value, list):
        for entry in value:
            yield from leaves(entry, name)
    else:
        yield name, value


# What there is.


def test_the_manifest_names_every_file() -> None:
    manifest = table("MANIFEST")
    assert {row["file"] for row in manifest["streams"]} == {path.name for path in STREAMS.iterdir()}
    assert {row["file"] for row in manifest["raw"]} == {path.name for path in RAW.iterdir()}


def test_every_event_that_was_ever_recorded_is_there() -> None:
    seen = {event["type"] for found in streams().values() for event in found}
    assert set(EVENTS) - seen == NEVER_RECORDED
    assert seen - set(EVENTS) == {
        "response.apply_patch_call_operation_diff.delta",
        "response.apply_patch_call_operation_diff.done",
    }


def test_every_provider_is_there() -> None:
    assert Counter(row["provider"] for row in table("MANIFEST")["streams"]) >= Counter(PROVIDERS)


def test_some_streams_are_long_and_all_together_are_small() -> None:
    assert sum(len(found) > LONG for found in streams().values()) >= 4
    assert sum(path.stat().st_size for path in DATA.rglob("*") if path.is_file()) < MAX_BYTES


def test_bodies_have_all_that_was_seen_on_the_wire() -> None:
    seen = {mark for row in table("MANIFEST")["raw"] for mark in row["framing"]}
    assert seen == {
        *("comments", "done", "extra-blank-lines", "no-event-lines"),
        *("no-final-blank-line", "non-ascii"),
    }


def test_bodies_of_other_servers_are_streams_of_events() -> None:
    for path in SERVERS.glob("*.sse"):
        decoder = Decoder()
        events = [*decoder.feed(path.read_bytes()), *decoder.finish()]
        types = [json.loads(event.data)["type"] for event in events if event.data != DONE]
        assert types[-1] in TERMINAL, path.name


# What agrees in recordings agrees here.


def test_lines_are_compact_ascii() -> None:
    for path in STREAMS.iterdir():
        for line in lines(path):
            assert line.isascii()
            assert len(line) <= len(json.dumps(parsed(line), separators=(",", ":"))) + 10, path.name


@pytest.mark.parametrize(
    "text", ['{"a": 1.50e-07,"b":[0.0, "\\u00e9"]}', '{"a":"é","b":null,"c":-0}', "[]", '"x"']
)
def test_json_is_written_again_as_it_was(text: str) -> None:
    assert respelled(text, parsed(text)) == text


def test_the_deltas_of_a_text_are_what_its_last_event_says() -> None:
    compared = 0
    for name, found in recorded():
        said = {value for event in found for _, value in leaves(event) if isinstance(value, str)}
        for text in Deltas(found).texts.values():
            assert text in said, name
            compared += 1
    assert compared > 150


def test_what_a_done_event_says_was_brought_by_deltas() -> None:
    compared = 0
    for name, found in recorded():
        brought = set(Deltas(found).texts.values())
        for event in found:
            if event["type"] == "response.function_call_arguments.done" and name != DONE_ALONE:
                assert event["arguments"] in brought | {"{}", ""}, name
            if event["type"] == "response.output_text.done":
                assert event["text"] in brought | {""}, name
                compared += 1
    assert compared > 20


def test_events_name_the_item_that_they_are_about() -> None:
    for name, found in recorded():
        if name.startswith("copilot"):  # ids rotate
            continue
        items = {e["item"]["id"] for e in found if e["type"] == "response.output_item.added"}
        assert {event["item_id"] for event in found if "item_id" in event} <= items, name


def test_all_events_of_a_stream_are_about_one_response() -> None:
    for name, found in recorded():
        ids = {event["response"]["id"] for event in found if event["type"] in LIFECYCLE}
        assert len(ids) == 1 or name.startswith("copilot"), name


def test_streams_of_one_recording_share_their_ids() -> None:
    first, second = (streams()[f"openai-background-{n}.jsonl"] for n in (2, 3))
    assert first[-1]["response"]["id"] == second[-1]["response"]["id"]
    assert second[0]["sequence_number"] > first[0]["sequence_number"]


def test_annotations_are_inside_of_their_texts() -> None:
    seen = 0
    for _, found in recorded():
        for part in (event["part"] for event in found if "part" in event):
            for note in part.get("annotations") or []:
                if "start_index" in note and "url" in note:
                    text = part["text"][note["start_index"] : note["end_index"]]
                    assert 0 <= note["start_index"] <= note["end_index"] <= len(part["text"])
                    seen += note["url"] in text
    assert seen > 20


def test_log_probabilities_say_their_text_again() -> None:
    seen = 0
    for _, found in recorded():
        for event in found:
            entries = event.get("logprobs") or []
            tokens = [entry["token"] for entry in entries]
            assert not tokens or "".join(tokens) == event.get("delta", event.get("text"))
            for entry in (entry for entry in entries if entry.get("bytes")):
                assert bytes(entry["bytes"]) == entry["token"].encode()
                seen += 1
    assert seen > 10


def test_nothing_ends_before_it_begins() -> None:
    compared = 0
    for name, found in recorded():
        last = found[-1].get("response", {})
        if last.get("completed_at"):
            assert last["completed_at"] >= last["created_at"], name
            compared += 1
    assert compared > 10


def test_tool_calls_have_the_arguments_of_their_schemas() -> None:
    """Names agree between objects and the JSON in texts."""
    compared = 0
    for name, found in recorded():
        response = found[-1].get("response", {})
        tools = {t["name"]: t for t in response.get("tools", []) if t["type"] == "function"}
        for item in response.get("output", []):
            if item["type"] == "function_call" and item["name"] in tools:
                given = json.loads(item["arguments"])
                assert set(given) <= set(tools[item["name"]]["parameters"]["properties"]), name
                compared += 1
    assert compared > 20


# The script, run over what it made.


def shape(value: Any, name: str = "") -> Any:
    """Types, names of fields, words of the API, and where letters and digits are in texts."""
    match value:
        case dict():
            members = [len(member) if name in NAME_MAPS else member for member in value]
            return list(zip(members, (shape(*entry[::-1]) for entry in value.items()), strict=True))
        case list():
            return [shape(entry, name) for entry in value]
        case str() if name in FREE_FIELDS or not (name == "type" or is_wire_word(value)):
            return len(value) if name in PROMPTS else masked(value)
        case float():
            return float
        case _:
            return int if name == "bytes" else value


def masked(text: str) -> str:
    text = re.sub("[^\x00-\x7f]", "é", text)
    return re.sub("[a-z]", "a", re.sub("[A-Z]", "A", re.sub("[1-9]", "1", text)))


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made data as recordings, of which others were made."""
    target = tmp_path_factory.mktemp("again")
    make(DATA, target)
    return target


@pytest.mark.slow
def test_what_is_made_has_the_same_structure(again: Path) -> None:
    for name, found in streams().items():
        for made, event in zip(read(again / "streams" / name), found, strict=True):
            assert shape(made) == shape(event), name
            assert [len(t) for _, t in texts_of(made)] == [len(t) for _, t in texts_of(event)]


@pytest.mark.slow
def test_what_is_made_has_the_same_names_and_rows(again: Path) -> None:
    assert (again / "MANIFEST.json").read_text() == (DATA / "MANIFEST.json").read_text()
    for body in RAW.iterdir():
        made = (again / "raw" / body.name).read_bytes().split(b"\n")
        for line, other in zip(body.read_bytes().split(b"\n"), made, strict=True):
            assert line == other or line[:6] == other[:6] == b"data: "


@pytest.mark.slow
def test_no_text_is_made_of_the_words_that_it_stands_for(again: Path) -> None:
    for name, found in streams().items():
        old = {text for event in found for text in words(event)}
        new = {text for event in read(again / "streams" / name) for text in words(event)}
        assert not old & new, name


def words(event: JsonObject) -> Iterator[str]:
    """Runs of characters that are no words of the API and long enough not to come by chance."""
    for name, value in leaves(event):
        if isinstance(value, str) and name != "type" and not is_wire_word(value):
            yield from re.findall(r"[A-Za-z0-9]{12,}", value)


@pytest.mark.slow
def test_the_same_recordings_make_the_same_files(again: Path, tmp_path: Path) -> None:
    make(DATA, tmp_path)
    for path in (again / "streams").iterdir():
        assert path.read_bytes() == (tmp_path / "streams" / path.name).read_bytes()


def test_urls_lead_nowhere() -> None:
    """RFC 6761, 6.2: nothing is under .test. Short hosts have room for its beginning alone."""
    compared = 0
    for path in (*STREAMS.iterdir(), *RAW.iterdir()):
        for name, value in (leaf for event in events_of(path) for leaf in leaves(event)):
            if name == "url" and value:
                assert re.match(r"https?://[^/]*\.te(s|st)?(/|$)", value), path.name
                compared += 1
    assert compared > 10


def events_of(path: Path) -> Stream:
    decoder = Decoder()
    if path.suffix == ".jsonl":
        return read(path)
    events = [*decoder.feed(path.read_bytes()), *decoder.finish()]
    return [json.loads(event.data) for event in events if event.data != DONE]
