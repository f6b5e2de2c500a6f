"""All options, with defaults and ranges. Times are in seconds, sizes in bytes.

Nothing is read from the environment here: that is done by the settings of the sidecar. The
docstring of an option is its row in ``docs/options.md``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)

__all__ = (
    "DialectName",
    "Options",
    "PartialOutput",
    "complaints",
    "did_you_mean",
    "options_of",
    "usable_options",
)

DialectName = Literal["openai", "litellm"]
PartialOutput = Literal["text", "all", "none"]

_ORIGIN: Final = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^\s/?#@,A-Z]+")  # RFC 6454 6.2


class Options(BaseModel):
    """The options of one cache: how responses are created, recorded, kept and read.

    Raises:
        pydantic.ValidationError: an unknown name, or a value out of its range.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True
    )

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
    """The format of ids and Response objects: OpenAI's, or that of LiteLLM's older polling."""
    secret: SecretStr = SecretStr("")
    """Key for the digests of owners and of idempotency keys. Set the same value in each replica."""
    cors_origins: tuple[str, ...] | None = None
    """Origins of pages that may read replies, or ``*``. None: as the app itself allows; empty: no
    page."""
    check_requests: bool = True
    """Whether ``input`` and ``metadata`` must be as OpenAI requires. False: the app checks them."""

    # How long things are kept
    ttl: float = Field(default=3600.0, gt=0)
    """How long a response can be read after its end."""
    stream_ttl: float = Field(default=600.0, gt=0)
    """How long the events of a response can be streamed after its end."""
    unstored_ttl: float = Field(default=600.0, gt=0)
    """Replaces ``ttl`` and ``stream_ttl`` for a response created with ``store: false``."""

    # Recording
    lease: float = Field(default=15.0, gt=0)
    """A recorder that has been silent for this long is presumed dead."""
    take_lease: float = Field(default=5.0, gt=0)
    """Lease of a process that takes over a response only to close it."""
    orphan_confirmation: float = Field(default=2.0, gt=0)
    """How late a heartbeat may come. An orphaned response is watched for ``lease`` / 3 and this
    time before it is closed."""
    flush_interval: float | None = Field(default=None, ge=0)
    """Time between two writes of one response's events. None: the store's own default."""
    max_flush_interval: float = Field(default=0.2, ge=0)
    """Longest flush interval, for a slow store, and while no client waits for the events."""
    flush_burst: int = Field(default=4, ge=1)
    """Writes without that interval after a pause, so that the first tokens are not late."""
    buffer_bytes: int = Field(default=16 * 2**20, ge=1)
    """Events of one response that may wait for the store, in the form in which they are stored.
    Above it the upstream has to wait (back-pressure)."""
    retain_bytes: int = Field(default=64 * 2**20, ge=0)
    """Stored events that are kept in memory for each running response, to send them again if the
    store loses them."""
    full_timeout: float = Field(default=5.0, ge=0)
    """How long a store may refuse a response for want of room; then the response fails."""
    stop_grace: float = Field(default=0.1, ge=0)
    """Time between the moment when an upstream is told that its client has gone, and the moment
    when it is cancelled."""
    after_end_timeout: float = Field(default=60.0, ge=0)
    """How long the app may run on after the terminal event: background tasks, billing."""
    keep_done_items: bool = True
    """Whether an item that the upstream finished stays in the response though the upstream's final
    output lacks it. False: a guardrail may take items out at the end."""

    # Creating
    admission_wait: float = Field(default=0.25, ge=0)
    """How long a create waits for a refusal of the upstream, before it is answered ``queued``."""

    # Reader
    partial_output: PartialOutput = "text"
    """Output that polls of a running response show. ``text``: without calls that the client would
    carry out; ``all``: everything so far; ``none``: nothing, as OpenAI. Streams have everything."""
    keep_alive: float = Field(default=15.0, gt=0)
    """Silence on a stream after which a comment is sent."""
    max_wait: float = Field(default=50.0, ge=0)
    """The longest wait that ``Prefer: wait=N`` may ask for."""
    poll_after: float = Field(default=1.0, gt=0)
    """Pause between two polls that replies about a pending response advise."""
    done_marker: bool = False
    """Whether streams end with ``data: [DONE]``. OpenAI sends none."""

    # Limits
    max_request_bytes: int = Field(default=32 * 2**20, ge=1)
    """Length of the body of a create; above it 413."""
    max_inflation: int = Field(default=100, ge=1)
    """How many times its own size a compressed body may unpack to; above it 413. Bodies of up to
    1 MiB, unpacked, are always allowed."""
    max_request_values: int = Field(default=200_000, ge=1)
    """JSON values in the body of a create, because each takes time to parse; above it 413."""
    max_input_items: int = Field(default=10_000, ge=1)
    """Entries of ``input`` in a create; above it 400."""
    max_echo_bytes: int = Field(default=2**20, ge=1)
    """Bytes that a response repeats of its request (all but ``input``), as JSON; above it 400."""
    max_reading_bytes: int = Field(default=256 * 2**20, ge=1)
    """Size of all bodies of creates that are being read or checked in this process (ASGI); above it
    503. A single body may always have ``max_request_bytes``."""
    body_timeout: float = Field(default=30.0, gt=0)
    """Pause between two pieces of the body of a create (ASGI); above it 408."""
    max_response_bytes: int = Field(default=256 * 2**20, ge=1)
    """Bytes that one upstream may send; above it the response ends ``failed``."""
    max_events: int = Field(default=1_000_000, ge=8)
    """Events of one response; above it the response ends ``failed``."""
    max_running: int = Field(default=1000, ge=1)
    """Responses whose upstream is running in this process."""
    max_waiting: int = Field(default=1000, ge=0)
    """Responses that wait until fewer than ``max_running`` run; above it 429."""
    max_streams: int = Field(default=10_000, ge=1)
    """Open streams of background responses in this process; above it 503."""
    max_duration: float = Field(default=24 * 3600.0, gt=0)
    """Time from the call of the upstream to its terminal event; above it the response ends
    ``failed``."""
    idle_timeout: float = Field(default=1800.0, gt=0)
    """Silence of the upstream; above it the response ends ``failed``."""
    drain_timeout: float = Field(default=30.0, ge=0)
    """Time for running responses to end by themselves when the process is told to stop."""

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
            # Responses are read below these paths, by routes that look for "/responses/".
            if not (path.startswith("/") and path.endswith("/responses")):
                raise ValueError(f"{path!r} must begin with '/' and end with '/responses'")
            if any(map(_is_half_named, path.split("/"))):
                raise ValueError(f"{path!r} may have braces around whole segments only")
        return value


def options_of(given: Mapping[str, Any], *, beside: Iterable[str] = ()) -> Options:
    """The options *given* by name. *beside* are other parameters of the caller, for suggestions.

    Raises:
        ValueError: an unknown name, or a value out of its range; the message is one line.
    """
    try:
        return Options(**given)
    except ValidationError as error:
        raise ValueError("; ".join(complaints(error, beside=beside))) from None


def usable_options(given: Mapping[str, Any]) -> Options:
    """The options *given* by name; what is wrong is left at its default."""
    try:
        return Options(**given)
    except ValidationError as error:
        wrong = {fault["loc"][0] for fault in error.errors()}
        return Options(**{name: value for name, value in given.items() if name not in wrong})


def complaints(
    error: ValidationError, shown: Callable[[str], str] = str, *, beside: Iterable[str] = ()
) -> Iterator[str]:
    """One message for each wrong option, without its value. *shown* gives the name users know."""
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
    """`` (did you mean ...?)`` with the *known* name that is nearest to *name*, or ``""``."""
    nearest = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {shown(nearest[0])}?)" if nearest else ""


def _is_half_named(segment: str) -> bool:
    """Whether *segment* has braces, but is not ``{name}`` as a whole."""
    has_braces = "{" in segment or "}" in segment
    return has_braces and not (segment[0] + segment[-1] == "{}" and segment[1:-1].isidentifier())
