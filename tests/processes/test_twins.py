"""Two recorders in two processes that hold one and the same claim."""

from __future__ import annotations

import pytest

from tests.processes.logs import assert_is_whole, view_of
from tests.processes.twin import CLOSED, TAKEN, twin

pytestmark = pytest.mark.slow

ID = "resp_1"


async def test_two_recorders_with_one_claim_leave_one_dense_log(store_url: str) -> None:
    async with twin(store_url, ID) as one, twin(store_url, ID) as other:
        for each in (one, other):
            await each.do("say", "say", "complete")
        assert {await one.answer(), await other.answer()} == {CLOSED, TAKEN}
        assert_is_whole(await view_of(store_url, ID))


async def test_a_recorder_that_is_behind_its_twin_does_not_end_the_log(store_url: str) -> None:
    async with twin(store_url, ID) as ahead, twin(store_url, ID) as behind:
        await ahead.do("say", "say", "sure")
        assert await ahead.answer() == "sure"
        await behind.do("say", "complete")
        assert await behind.answer() == TAKEN
        await ahead.do("complete")
        assert await ahead.answer() == CLOSED
        assert_is_whole(await view_of(store_url, ID))
