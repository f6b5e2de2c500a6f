"""The official client: its accumulator, which refuses what it does not expect, and its Response."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from openai import omit
from openai._models import construct_type_unchecked
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent

from response_cache._fold.reducer import Fold
from response_cache._protocol.wellformed.log_check import Fault, Origin, Rule
from response_cache._protocol.wellformed.log_state import LogState

__all__ = ("READ_BY_CLIENT", "accumulated", "read", "read_by_client")

READ_BY_CLIENT: Final = 9
"""The number of the rule."""


def accumulated(log: list[dict[str, Any]]) -> None:
    """Read *log* as the client's stream helper does.

    Raises:
        Exception: of any kind, when the client refuses an event.
    """
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
    for event in log:
        made: Any = construct_type_unchecked(type_=ResponseStreamEvent, value=event)  # type: ignore[arg-type]
        state.handle_event(made)


def read(response: dict[str, Any]) -> str:
    """The text that the client makes of a polled response.

    Raises:
        Exception: of any kind, when the client cannot read it.
    """
    return construct_type_unchecked(type_=Response, value=response).output_text


def read_by_client() -> Rule:
    """The ninth rule of a well-formed log, for one log."""
    fold = Fold({})

    def rule(state: LogState, event: dict[str, Any]) -> Iterator[Fault]:
        fold.apply(event)
        try:
            read(fold.response())
        except Exception as error:  # noqa: BLE001 - whatever the client raises is a finding
            yield Origin.OURS, f"the client cannot read what it folds to: {error!r}"

    return rule
