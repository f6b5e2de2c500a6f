"""How the built-in upstream is to answer a request: the ``metadata`` of the request says it.

Values of metadata are strings:

    words    how many words each output has
    pace     seconds before each word
    output   which outputs, in this order: a comma list of text, reasoning, function_call
    end      completed, incomplete, failed, error (an error event first) or cut (it breaks off)
    delay    seconds before the answer begins
    status   an HTTP status from 400 to 599 to answer instead
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from response_cache.errors import InvalidRequest

__all__ = ("End", "Output", "Scenario", "read_scenario")

Output: TypeAlias = Literal["text", "reasoning", "function_call"]
End: TypeAlias = Literal["completed", "incomplete", "failed", "error", "cut"]


def _items(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


Seconds: TypeAlias = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]


class Scenario(BaseModel):
    """The behaviour of one answer."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    words: int = Field(default=40, ge=0, le=100_000)
    pace: Seconds = 0.05
    output: Annotated[tuple[Output, ...], BeforeValidator(_items), Field(max_length=16)] = ("text",)
    end: End = "completed"
    delay: Seconds = 0.0
    status: int | None = Field(default=None, ge=400, le=599)


def read_scenario(request: Mapping[str, Any], default: Scenario) -> Scenario:
    """The scenario in the metadata of *request*; *default* where it says nothing.

    Raises:
        InvalidRequest: a value is not a string, or not one that its name allows.
    """
    metadata = request.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise InvalidRequest("'metadata' must be an object of strings.", param="metadata")
    for name, value in metadata.items():
        if not isinstance(value, str):
            raise InvalidRequest("Metadata values must be strings.", param=f"metadata.{name}")
    try:
        return Scenario.model_validate(default.model_dump() | metadata)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise InvalidRequest(
            f"Invalid value: {first['msg']}.", param=f"metadata.{first['loc'][0]}"
        ) from None
