"""The options as keyword arguments, so that editors and type checkers know them.

A function that takes ``**options: Unpack[OptionFields]`` passes them to ``options_of``. What each
option means, its default and its range are in ``response_cache.options``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from pydantic import SecretStr

from response_cache.options import DialectName, PartialOutput

__all__ = ("OptionFields",)


class OptionFields(TypedDict, total=False):
    """The fields of ``Options`` by name; a field that is not given has its default.

    The type is that of the field, or a wider one where ``Options`` converts what it is given.
    """

    # Routes and identity
    paths: Sequence[str]
    dialect: DialectName
    secret: SecretStr | str
    cors_origins: Sequence[str] | None
    check_requests: bool

    # How long things are kept
    ttl: float
    stream_ttl: float
    unstored_ttl: float

    # Recording
    lease: float
    take_lease: float
    orphan_confirmation: float
    flush_interval: float | None
    max_flush_interval: float
    flush_burst: int
    buffer_bytes: int
    retain_bytes: int
    full_timeout: float
    stop_grace: float
    after_end_timeout: float
    keep_done_items: bool

    # Creating
    admission_wait: float

    # Reading
    partial_output: PartialOutput
    keep_alive: float
    max_wait: float
    poll_after: float
    done_marker: bool

    # Limits
    max_request_bytes: int
    max_inflation: int
    max_request_values: int
    max_input_items: int
    max_echo_bytes: int
    max_reading_bytes: int
    body_timeout: float
    max_response_bytes: int
    max_events: int
    max_running: int
    max_waiting: int
    max_streams: int
    max_duration: float
    idle_timeout: float
    drain_timeout: float
