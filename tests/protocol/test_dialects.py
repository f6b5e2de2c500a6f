"""The dialects: which ids they have, and how their objects are written and read."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any, get_args

import pytest

from response_cache._protocol.dialects import DIALECTS, OFFICIAL
from response_cache._protocol.ids import IDS, POLLING_IDS
from response_cache.options import DialectName, Options

QUEUED: dict[str, Any] = {"id": "resp_1", "status": "queued", "output": [], "metadata": {"ä": "ö"}}
COMPLETED: dict[str, Any] = {
    "id": "resp_1",
    "status": "completed",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}],
}


def test_each_name_that_the_option_takes_has_a_dialect() -> None:
    assert set(DIALECTS) == set(get_args(DialectName))
    assert DIALECTS[Options().dialect] is OFFICIAL


def test_each_dialect_has_ids_of_its_own() -> None:
    assert DIALECTS["openai"].ids is IDS
    assert DIALECTS["litellm"].ids is POLLING_IDS


@pytest.mark.parametrize("response", [QUEUED, COMPLETED], ids=["queued", "completed"])
def test_the_official_dialect_writes_an_object_as_it_is(response: dict[str, Any]) -> None:
    assert json.loads(OFFICIAL.dump(response)) == response
    assert OFFICIAL.load(OFFICIAL.dump(response)) == response


def test_the_older_dialect_writes_the_older_form() -> None:
    dump = DIALECTS["litellm"].dump
    assert json.loads(dump(QUEUED)) == QUEUED | {"status": "in_progress", "status_details": None}
    assert json.loads(dump(COMPLETED)) == COMPLETED | {
        "status_details": {"type": "completed", "reason": "stop"},
        "output": [{"type": "message", "content": [{"type": "text", "text": "Hello"}]}],
    }


def test_the_older_dialect_reads_the_official_form_again() -> None:
    dialect = DIALECTS["litellm"]
    assert dialect.load(dialect.dump(COMPLETED)) == COMPLETED
    assert dialect.load(dialect.dump(QUEUED)) == QUEUED | {"status": "in_progress"}


@pytest.mark.parametrize("name", sorted(DIALECTS))
@pytest.mark.parametrize("response", [QUEUED, COMPLETED], ids=["queued", "completed"])
def test_writing_an_object_leaves_it_unchanged(name: DialectName, response: dict[str, Any]) -> None:
    before = deepcopy(response)
    DIALECTS[name].dump(response)
    assert response == before
