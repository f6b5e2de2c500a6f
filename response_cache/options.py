"""Every knob, with its unit and default. Plain pydantic: nothing is read from the environment here.

Times are seconds, sizes are bytes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)

__all__ = ("DialectName", "Options", "complaints", "did_you_mean", "options_of", "usable_options")

DialectName = Literal["openai", "litellm"]

_ORIGIN: Final = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^\s/?#@,A-Z]+")  # RFC 6454 6.2


class Options(BaseModel):
    """How responses are created, recorded, kept and read.

    Raises:
        pydantic.ValidationError: an unknown name, or a value out of its range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    # Routes and identity
    paths: tuple[str, ...] = (
        "/v1/responses",
        "/responses",
        "/openai/v1/responses",
        "/openai/responses",
        "/openai/deployments/{name}/responses",
    )
    """Paths (below the root path) on which a POST creates a response; ``{name}`` is any segment."""
    dialect: DialectName = "openai"
    """The form of ids and objects: the official one, or that of LiteLLM's first polling."""
    secret: SecretStr = SecretStr("")
    """Key of the digests that stand for owners and idempotency keys; the same in each replica."""
    cors_origins: tuple[str, ...] | None = None
    """Origins whose pages may read replies, or ``*``; None: whom the app lets, empty: nobody."""
    check_requests: bool = True
    """Whether input and metadata must be as OpenAI has them; false where the app judges them."""

    # How long things are kept
    ttl: float = Field(default=3600.0, gt=0)
    """How long a response can be read after its end."""
    stream_ttl: float = Field(default=600.0, gt=0)
    """How long its events can be streamed after its end."""
    unstored_ttl: float = Field(default=600.0, gt=0)
    """Both of these for a response created with ``store: false``."""

    # Recording
    lease: float = Field(default=15.0, gt=0)
    """A recorder that has been silent for this long is presumed dead."""
    take_lease: float = Field(default=5.0, gt=0)
    """The short lease of whoever takes a response in order to close it."""
    orphan_confirmation: float = Field(default=2.0, gt=0)
    """How late a heartbeat may be: an orphan is closed after a watch of ``lease`` / 3 and this."""
    flush_interval: float | None = Field(default=None, ge=0)
    """Time between two batches of one response; None for what suits the store."""
    max_flush_interval: float = Field(default=0.2, ge=0)
    """How far a slow store may stretch it, and what it is while nobody waits for the events."""
    flush_burst: int = Field(default=4, ge=1)
    """Batches that may go at once after a pause, while somebody reads: no first token is late."""
    buffer_bytes: int = Field(default=16 * 2**20, ge=1)
    """Events of each response that wait for the store, as kept; past it the upstream must wait."""
    retain_bytes: int = Field(default=64 * 2**20, ge=0)
    """Packed events kept for each running response, in case that the store loses them."""
    stop_grace: float = Field(default=0.1, ge=0)
    """Between telling an upstream that its client has gone and cancelling it."""
    after_end_timeout: float = Field(default=60.0, ge=0)
    """How long the app may run on after the terminal event: background tasks, billing."""

    # Creating
    admission_wait: float = Field(default=0.25, ge=0)
    """How long a create waits for the upstream to refuse before it answers ``queued``."""

    # Reader
    keep_alive: float = Field(default=15.0, gt=0)
    """Silence on a stream after which a comment is sent."""
    max_wait: float = Field(default=50.0, ge=0)
    """The most that ``Prefer: wait`` may ask for."""
    poll_after: float = Field(default=1.0, gt=0)
    """The pause between polls that pending answers advise."""
    done_marker: bool = False
    """Whether streams end with ``data: [DONE]``; OpenAI sends none."""

    # Limits
    max_request_bytes: int = Field(default=32 * 2**20, ge=1)
    """Body of a create; above it 413."""
    max_inflation: int = Field(default=100, ge=1)
    """How many times its size a compressed body may unpack to, from 1 MiB on; above it 413."""
    max_request_values: int = Field(default=200_000, ge=1)
    """JSON values in the body of a create: what takes long to read; above it 413."""
    max_input_items: int = Field(default=10_000, ge=1)
    """Entries of a create's ``input``; above it 400."""
    max_echo_bytes: int = Field(default=2**20, ge=1)
    """What a response repeats of its request (all but the input), as JSON; above it 400."""
    max_reading_bytes: int = Field(default=256 * 2**20, ge=1)
    """Bodies of creates that are being read or judged, in this process (ASGI); above it 503.
    One body may have ``max_request_bytes`` in any case."""
    body_timeout: float = Field(default=30.0, gt=0)
    """Between two pieces of the body of a create (ASGI); above it 408."""
    max_response_bytes: int = Field(default=256 * 2**20, ge=1)
    """What one upstream may send; above it the response ends ``failed``."""
    max_events: int = Field(default=1_000_000, ge=8)
    """Events of one response; above it the response ends ``failed``."""
    max_running: int = Field(default=1000, ge=1)
    """Responses whose upstream is running, in this process."""
    max_waiting: int = Field(default=1000, ge=0)
    """Responses that wait for one of those places; above it 429."""
    max_streams: int = Field(default=10_000, ge=1)
    """Streams of background responses that are open in this process; above it 503."""
    max_duration: float = Field(default=24 * 3600.0, gt=0)
    """From the call of the upstream to its terminal event."""
    idle_timeout: float = Field(default=1800.0, gt=0)
    """Silence of the upstream."""
    drain_timeout: float = Field(default=30.0, ge=0)
    """What running responses get to end by themselves when the process is to stop."""

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _in_one_text(cls, value: object) -> object:
        return [origin.strip() for origin in value.split(",")] if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _as_browsers_send_them(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for origin in value or ():
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r} must be '*', 'null' or an origin as browsers send it, "
                    "such as https://app.example:8443"
                )
        return value

    @field_validator("paths")
    @classmethod
    def _are_of_responses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for path in value:
            # Below such a path responses are read, too: see the routes in http.py.
            if not (path.startswith("/") and path.endswith("/responses")):
                raise ValueError(f"{path!r} must begin with '/' and end with '/responses'")
            if any(map(_is_half_named, path.split("/"))):
                raise ValueError(f"{path!r} may have braces around whole segments only")
        return value


def options_of(given: Mapping[str, Any], *, beside: Iterable[str] = ()) -> Options:
    """The options as *given* by name; *beside* are names that the caller takes, too.

    Raises:
        ValueError: an unknown name, or a value out of its range; the message is one line.
    """
    try:
        return Options(**given)
    except ValidationError as error:
        raise ValueError("; ".join(complaints(error, beside=beside))) from None


def usable_options(given: Mapping[str, Any]) -> Options:
    """The options as *given*, with defaults in the place of what cannot be."""
    try:
        return Options(**given)
    except ValidationError as error:
        wrong = {fault["loc"][0] for fault in error.errors()}
        return Options(**{name: value for name, value in given.items() if name not in wrong})


def complaints(
    error: ValidationError, shown: Callable[[str], str] = str, *, beside: Iterable[str] = ()
) -> Iterator[str]:
    """What is wrong, an option each, without values; *shown* is what users call an option."""
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        reason = fault["msg"].removeprefix("Value error, ")
        if not fault["loc"]:
            yield reason
            continue
        name = str(fault["loc"][0])
        if fault["type"] == "extra_forbidden":
            known = (*Options.model_fields, *beside)
            reason = f"unknown option{did_you_mean(name, known, shown)}"
        yield f"{shown(name)}: {reason}"


def did_you_mean(name: str, known: Iterable[str], shown: Callable[[str], str] = str) -> str:
    """What to add to a complaint about *name*: the nearest that is known, or nothing."""
    nearest = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {shown(nearest[0])}?)" if nearest else ""


def _is_half_named(segment: str) -> bool:
    """Whether it has braces, but not those of a name that stands for one segment."""
    has_braces = "{" in segment or "}" in segment
    return has_braces and not (segment[0] + segment[-1] == "{}" and segment[1:-1].isidentifier())
