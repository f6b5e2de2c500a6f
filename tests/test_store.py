"""The values of the store contract. Its promises are tested by ``response_cache.testing``."""

from __future__ import annotations

import pytest

from response_cache.store import Append, NewRecord, RecordView, Taken

PRIVATE = b"a credential of the upstream"

VIEW = RecordView(
    id="resp_1",
    incarnation="one",
    epoch=1,
    status="queued",
    header=b"{}",
    notes=b"",
    snapshot=b"{}",
    snapshot_through=-1,
    first=0,
    events=(),
    tail=0,
    closed=False,
    orphaned=False,
    log_expired=False,
)
NEW = NewRecord(
    id="resp_1",
    incarnation="one",
    header=b"{}",
    request=b"{}",
    snapshot=b"{}",
    events=(),
    status="queued",
    ttl=60,
    private=PRIVATE,
)


@pytest.mark.parametrize(
    "value", [NEW, Append(private=PRIVATE, ttl=60), Taken(None, VIEW, PRIVATE)]
)
def test_the_private_part_does_not_stand_in_what_a_log_or_a_traceback_may_show(
    value: NewRecord | Append | Taken,
) -> None:
    assert value.private == PRIVATE
    assert "credential" not in repr(value)
