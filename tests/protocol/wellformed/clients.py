"""The official client: its accumulator, which refuses what it does not expect, and its Response."""

from __future__ import annotations

from typing import Any, Final

from openai import omit
from openai._models import construct_type_unchecked
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent

__all__ = ("READ_BY_CLIENT", "accumulated", "read")

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
