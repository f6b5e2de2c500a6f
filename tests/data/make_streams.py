"""Makes the streams of this folder of recorded ones: their structure, and words of its own.

    python -m tests.data.make_streams RECORDINGS [TARGET]

RECORDINGS has ``streams/*.jsonl`` (one event a line), ``raw/*.sse`` (bodies as they came) and
``MANIFEST.json``, whose rows in ``streams`` and ``raw`` name the ``file``, the ``provider`` and the
``origin``; rows with the same ``repository`` and ``path``, or the same ``source``, are of one
recording. TARGET, this folder if it is not named, gets the same with other words: see `filling`
and `inventing` for what changes, `vocabulary` for what does not. The same recordings always make
the same files.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tests.data import DATA
from tests.data.deltas import JsonObject
from tests.data.inventing import Invention
from tests.data.spelling import parsed, respelled

PROVIDERS: Final = {
    "Amazon Bedrock (Mantle)": "bedrock",
    "Azure OpenAI": "azure",
    "ChatGPT (Codex backend)": "chatgpt",
    "GitHub Copilot": "copilot",
    "LM Studio": "lmstudio",
}
"""Short names; the others' are their own."""

FEATURES: Final = (
    # What a stream shows: its mark, and its name in files. The first two that it has count.
    ("no end", "no-end"),
    ("error", "error"),
    ("response.incomplete", "incomplete"),
    ("keepalive", "keepalive"),
    ("response.queued", "background"),
    ("refusal", "refusal"),
    ("moderation", "moderation"),
    ("image_generation_call", "image-generation"),
    ("mcp_approval_request", "mcp-approval"),
    ("mcp_call", "mcp-call"),
    ("mcp_list_tools", "mcp-list-tools"),
    ("code_interpreter_call", "code-interpreter"),
    ("file_search_call", "file-search"),
    ("local_shell_call", "local-shell"),
    ("shell_call", "shell"),
    ("apply_patch_call", "apply-patch"),
    ("program", "program"),
    ("program_output", "program"),
    ("tool_search_call", "tool-search"),
    ("compaction", "compaction"),
    ("custom_tool_call", "custom-tool"),
    ("web_search_call", "web-search"),
    ("logprobs", "logprobs"),
    ("json_schema", "structured-output"),
    ("json_object", "structured-output"),
    ("function_call", "function-call"),
    ("response.reasoning_text.delta", "reasoning-text"),
    ("response.reasoning_summary_text.delta", "reasoning-summary"),
    ("reasoning", "reasoning"),
)
COMMENTS: Final = ("keepalive", "OPENROUTER PROCESSING")  # known signs of life


def features_of(events: Iterable[JsonObject]) -> list[str]:
    """What the stream shows, as files are named for it."""
    marks = {mark for event in events for mark in _marks(event)}
    if not marks & {"response.completed", "response.incomplete", "response.failed"}:
        marks.add("no end")
    found = list(dict.fromkeys(name for mark, name in FEATURES if mark in marks)) or ["text"]
    is_shown = any(name.startswith("reasoning-") for name in found)
    return [name for name in found if name != "reasoning" or not is_shown]


def _marks(event: JsonObject) -> Iterator[str]:
    response, item, part = (event.get(name) or {} for name in ("response", "item", "part"))
    yield event["type"]
    yield from (found["type"] for found in (item, part) if "type" in found)
    if response.get("moderation"):
        yield "moderation"
    if event.get("logprobs"):
        yield "logprobs"
    yield ((response.get("text") or {}).get("format") or {}).get("type", "")


class Names:
    """File names that were not given yet."""

    def __init__(self) -> None:
        self._given: Counter[str] = Counter()

    def of(self, name: str) -> str:
        self._given[name] += 1
        count = self._given[name]
        return name if count == 1 else f"{name}-{count}"


# Streams.


def make_streams(rows: Sequence[JsonObject], source: Path, target: Path) -> list[JsonObject]:
    """Writes what stands for the streams of *rows*; returns their rows of the new manifest."""
    lines = [_lines(source / row["file"]) for row in rows]
    streams = [[parsed(line) for line in found] for found in lines]
    names = Names()
    made = [_row(row, stream, names) for row, stream in zip(rows, streams, strict=True)]
    for members in _recordings(rows):
        first = made[members[0]]["file"]
        invention = Invention(rows[members[0]]["file"], [streams[member] for member in members])
        for number, member in enumerate(members):
            if number:
                made[member]["source"] = first
            events = invention.events(number, streams[member])
            written = map(respelled, lines[member], events)
            (target / made[member]["file"]).write_text("".join(f"{e}\n" for e in written), "utf-8")
    return made


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]


def _row(row: JsonObject, events: Sequence[JsonObject], names: Names) -> JsonObject:
    provider = PROVIDERS.get(row["provider"], row["provider"].lower())
    features = features_of(events)
    name = names.of("-".join([provider, *features[:2]]))
    return {
        "file": f"{name}.jsonl",
        "provider": row["provider"],
        "origin": row["origin"],
        "features": features,
    }


def _recordings(rows: Sequence[JsonObject]) -> list[list[int]]:
    """The numbers of the rows that are of one recording."""
    found: dict[Any, list[int]] = {}
    for number, row in enumerate(rows):
        found.setdefault(_source(row), []).append(number)
    return list(found.values())


def _source(row: JsonObject) -> str:
    path = f"{row['repository']}/{row['path']}" if "repository" in row else row["file"]
    return str(row.get("source", path))


# Bodies.


def make_bodies(rows: Sequence[JsonObject], source: Path, target: Path) -> list[JsonObject]:
    """The same for bodies of text/event-stream: every line end and blank line stays."""
    names = Names()
    return [_make_body(row, names, source, target) for row in rows]


def _make_body(row: JsonObject, names: Names, source: Path, target: Path) -> JsonObject:
    lines = (source / row["file"]).read_bytes().decode().split("\n")
    events = [parsed(data) for data in map(_data, lines) if data]
    framing = _framing(lines)
    name = names.of("-".join([features_of(events)[0], *framing])) + ".sse"
    invented = iter(Invention(row["file"], [events]).events(0, events))
    body = "\n".join(_made_line(line, invented) for line in lines)
    (target / name).write_bytes(body.encode())
    return {"file": name, "framing": framing}


def _data(line: str) -> str:
    """The JSON in a line of a body, if there is some."""
    data = line.removeprefix("data:").strip()
    return data if line.startswith("data:") and data != "[DONE]" else ""


def _made_line(line: str, invented: Iterator[JsonObject]) -> str:
    if data := _data(line):
        return line.replace(data, respelled(data, next(invented)))
    if not line or line.startswith(("event: ", "data:")) or line[1:].strip() in COMMENTS:
        return line
    raise ValueError("a line that is neither an event's nor a known comment")


def _framing(lines: Sequence[str]) -> list[str]:
    """What is special about the lines of a body, as files are named for it."""
    text = "\n".join(lines)
    marks = {
        "comments": any(line.startswith(":") for line in lines),
        "no-event-lines": "event: " not in text,
        "done": "data: [DONE]" in lines,
        "extra-blank-lines": "\n\n\n" in text,
        "no-final-blank-line": not text.endswith("\n\n"),
        "non-ascii": not text.isascii(),
    }
    return [name for name, is_so in marks.items() if is_so]


# All.


def make(recordings: Path, target: Path) -> None:
    """Makes *target*'s streams, bodies and manifest anew."""
    rows = json.loads((recordings / "MANIFEST.json").read_text(encoding="utf-8"))
    made = {}
    for kind, making in (("streams", make_streams), ("raw", make_bodies)):
        (target / kind).mkdir(exist_ok=True)
        for old in (target / kind).iterdir():
            old.unlink()
        made[kind] = making(rows[kind], recordings / kind, target / kind)
    (target / "MANIFEST.json").write_text(_manifest(made), encoding="utf-8")


def _manifest(made: dict[str, list[JsonObject]]) -> str:
    """A row a line."""
    parts = (
        f'"{kind}": [\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]"
        for kind, rows in made.items()
    )
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2:] else DATA)
