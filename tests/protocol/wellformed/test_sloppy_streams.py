"""Whatever is done to a stream, the log is well-formed and nothing that came is lost."""

from __future__ import annotations

import copy
import json
from typing import Any, Final

from hypothesis import assume, given
from hypothesis import event as note

from tests.protocol.wellformed.clients import accumulated, read
from tests.protocol.wellformed.runs import Run, folded, played
from tests.protocol.wellformed.sloppy import Sloppy, neat_streams, sloppy_streams, words

ENDINGS: Final = ("completed", "incomplete")
ADDRESSES: Final = frozenset(
    {"collide", "spoil_index", "lose_index", "lose_id", "count_deltas", "rotate_ids"}
)


@given(neat_streams(endings=ENDINGS))
def test_a_well_formed_stream_is_not_touched(stream: list[dict[str, Any]]) -> None:
    run = Run()
    for event in stream:
        before = copy.deepcopy(event)
        fed = run.normalizer.feed(event)
        assert len(fed) == 1
        assert fed[0] is event
        assert event == before
        run.recorder.record(event["type"], event, b"")
    assert run.mended == {}
    assert run.findings == []
    accumulated(run.log)


@given(sloppy_streams())
def test_the_log_of_a_sloppy_stream_is_well_formed(stream: Sloppy) -> None:
    run = played(stream.events)
    assert run.faults == []
    note(f"{len(run.findings)} contradictions of the upstream")
    if not run.findings:
        accumulated(run.log)


@given(sloppy_streams())
def test_the_text_of_each_delta_is_in_the_poll_after_it(stream: Sloppy) -> None:
    run = Run()
    for event in copy.deepcopy(stream.events):
        run.feed(event)
        for word in words(event):
            assert word in run.text or is_of_a_call(event)


def is_of_a_call(event: dict[str, Any]) -> bool:
    """Whether it may be held back: a call that a client carries out."""
    calls = ("function_call", "custom_tool_call", "shell_call_command")
    return str(event["type"]).startswith(tuple(f"response.{call}" for call in calls))


@given(sloppy_streams())
def test_at_the_end_all_that_came_is_there(stream: Sloppy) -> None:
    # Where addresses are lost, two texts may become one, until an end tells them apart.
    assume(not (stream.is_cut and ADDRESSES & {*stream.done_to_it}))
    # An id under an index far beyond the end is not believed, so its text joins the newest item's.
    assume(not {"omit_at_the_end", "keep_deltas_alone"} <= {*stream.done_to_it})
    run = played(stream.events)
    text = run.text
    for event in stream.events:
        for word in words(event):
            if word not in text:
                assert run.mended.get("nameless_call"), word


@given(sloppy_streams())
def test_each_poll_is_read_by_the_official_client(stream: Sloppy) -> None:
    run = Run()
    for event in copy.deepcopy(stream.events):
        run.feed(event)
        read(run.response)
    read(run.end().response)


@given(sloppy_streams())
def test_the_poll_in_the_end_is_what_the_log_folds_to(stream: Sloppy) -> None:
    run = played(stream.events)
    assert folded(run.log) == run.response


@given(sloppy_streams())
def test_the_same_stream_gives_the_same_log(stream: Sloppy) -> None:
    assert played(copy.deepcopy(stream.events)).log == played(copy.deepcopy(stream.events)).log


@given(sloppy_streams())
def test_no_item_of_a_completed_response_is_in_progress(stream: Sloppy) -> None:
    run = played(stream.events)
    if run.response["status"] == "completed":
        assert '"in_progress"' not in json.dumps([item.get("status") for item in run.output])
