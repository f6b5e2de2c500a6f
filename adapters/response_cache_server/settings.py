"""What the sidecar is told: by flags, then by the environment, then by defaults.

Every field of ``response_cache.Options`` is a setting, too. The variable of a field is its name in
capitals behind ``RESPONSE_CACHE_``; one that is of no field is an error. Times are seconds, sizes
are bytes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from response_cache import Options
from response_cache.options import complaints
from response_cache.redaction import redacted
from response_cache_server.proxy.trusted_proxies import BELIEVED, Believed
from response_cache_server.target import parse_base_url
from response_cache_server.variables import PREFIX, require_known, variable

__all__ = ("LITELLM", "BadSettings", "LogLevel", "Settings", "load_settings")

LITELLM: Final = "litellm"
"""The upstream that is no base URL: LiteLLM's SDK, for the providers that it has keys for."""

LogLevel: TypeAlias = Literal["critical", "error", "warning", "info", "debug"]


class BadSettings(ValueError):
    """Settings that cannot be; the message is one line and repeats no values."""


class SecretURL(str):
    """A URL that ``repr`` shows without its password and keys; ``str`` is the URL itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(redacted(str(self)))


URL: TypeAlias = Annotated[str, AfterValidator(SecretURL)]


class Settings(Options, BaseSettings):
    """Where the sidecar listens, what stands behind it, and every option of the cache."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        enable_decoding=False,  # lists are written with commas, not as JSON
        hide_input_in_errors=True,  # URLs carry passwords
    )

    upstream: URL | None = None
    """Base URL that has ``/responses`` below it; ``litellm`` for LiteLLM's SDK in this process;
    None for the built-in upstream."""
    store: URL = "memory://"
    """Where responses are kept: ``memory://``, ``sqlite:///file``, ``redis://host``."""
    host: str = Field("127.0.0.1", min_length=1)
    """Address to listen on."""
    port: int = Field(8000, ge=0, le=65535)
    """Port to listen on; 0 for a free one."""
    log_level: LogLevel = "info"
    """What is logged; ``debug`` includes each request."""

    max_connections: int = Field(10_000, ge=1)
    """Connections of clients that may be open; above it 503."""
    max_head_bytes: int = Field(64 * 1024, ge=1024)
    """Request line and header fields of a request; above it 431. As much for trailers."""
    max_head_fields: int = Field(256, ge=1)
    """Header fields of a request; above it 431."""
    head_timeout: float = Field(30.0, gt=0)
    """How long the head of a request may take; above it 408."""

    connect_timeout: float = Field(10.0, gt=0)
    """How long a connection to the upstream may take."""
    read_timeout: float | None = Field(None, gt=0)
    """Longest silence of the upstream in any answer; None for no limit."""
    write_timeout: float = Field(60.0, gt=0)
    """How long the upstream may refuse to take a piece of the request."""
    forwarded: bool = True
    """Whether the upstream is told who asks (``X-Forwarded-For``, ``-Proto``, ``-Host``)."""
    forwarded_allow_ips: str = BELIEVED
    """Peers whose own ``X-Forwarded-*`` and ``Forwarded`` are believed and passed on: a comma list
    of addresses and networks, or ``*``."""
    reuse_connections: bool | None = None
    """Whether a connection to the upstream may carry another request after its answer; None where
    it is seen what is left of an answer: to a base URL, not in LiteLLM's SDK."""
    trust_env: bool = False
    """Whether proxies and certificates for the upstream come from the environment."""

    @model_validator(mode="before")
    @classmethod
    def _no_variable_is_unknown(cls, values: Any) -> Any:
        environ = {name.upper(): value for name, value in os.environ.items()}  # read in any case
        require_known(environ, cls.model_fields)
        return values

    @field_validator("upstream")
    @classmethod
    def _is_base_url(cls, value: str | None) -> str | None:
        if value not in (None, LITELLM):
            parse_base_url(value)
        return value

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _names_peers(cls, value: str) -> str:
        Believed(value)
        return value

    @field_validator("paths", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [path.strip() for path in value.split(",")] if isinstance(value, str) else value

    @field_validator("port", mode="before")
    @classmethod
    def _not_a_service_link(cls, value: object) -> object:
        # Kubernetes sets RESPONSE_CACHE_PORT=tcp://... beside a service named response-cache.
        if isinstance(value, str) and value.startswith("tcp://"):
            return cls.model_fields["port"].default
        return value

    def options(self) -> dict[str, Any]:
        """The fields of ``Options`` alone; LiteLLM judges its own requests unless told else."""
        options = {name: getattr(self, name) for name in Options.model_fields}
        if self.upstream == LITELLM and "check_requests" not in self.model_fields_set:
            options["check_requests"] = False
        return options


def load_settings(flags: Mapping[str, Any]) -> Settings:
    """The settings from *flags*, and from the environment where a flag is None.

    Raises:
        BadSettings: with the flag or variable that is wrong, and why.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise BadSettings("; ".join(complaints(error, partial(_source, given)))) from None


def _source(given: Mapping[str, Any], name: str) -> str:
    """The flag or the variable that a setting is from."""
    return f"--{name.replace('_', '-')}" if name in given else variable(name)
