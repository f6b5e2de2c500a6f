"""The settings of the sidecar: flags, then environment variables, then defaults.

Every field of ``response_cache.Options`` is a setting as well. The variable of a field is
``RESPONSE_CACHE_`` and its name in capitals. A variable with that prefix and without a field is an
error. Times are seconds, sizes are bytes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from response_cache import Options
from response_cache._redaction import redacted
from response_cache.options import complaints
from response_cache_server._proxy.trusted_proxies import TRUSTED_BY_DEFAULT, TrustedProxies
from response_cache_server._target import parse_base_url
from response_cache_server._variables import PREFIX, require_known, variable

__all__ = (
    "LITELLM",
    "URL",
    "BadSettings",
    "LogLevel",
    "Settings",
    "load_settings",
    "read_settings",
)

LITELLM: Final = "litellm"
"""The value of ``upstream`` for LiteLLM's SDK in this process instead of a base URL."""

LogLevel: TypeAlias = Literal["critical", "error", "warning", "info", "debug"]


class BadSettings(ValueError):
    """Settings that are wrong. The message is one line.

    It repeats no value of ``secret``, ``store`` or ``upstream``, which may hold credentials.
    """


class SecretURL(str):
    """A URL that ``repr`` shows without its password and keys; ``str`` is the URL itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(redacted(str(self)))


URL: TypeAlias = Annotated[str, AfterValidator(SecretURL)]


class Settings(Options, BaseSettings):
    """Address and limits of the sidecar, its upstream, and every option of the cache."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        enable_decoding=False,  # lists are written with commas, not as JSON
        hide_input_in_errors=True,  # URLs may hold passwords
    )

    upstream: URL | None = None
    """Base URL that has ``/responses`` below it; ``litellm`` for LiteLLM's SDK in this process;
    None for the built-in upstream."""
    store: URL = "memory://"
    """URL of the store: ``memory://``, ``sqlite:///file``, ``redis://host``."""
    host: str = Field("127.0.0.1", min_length=1)
    """Address to listen on."""
    port: int = Field(8000, ge=0, le=65535)
    """Port to listen on; 0 for a free one."""
    log_level: LogLevel = "info"
    """The lowest level that is logged; ``debug`` includes each request."""

    max_connections: int = Field(10_000, ge=1)
    """Open connections of clients; above it 503."""
    max_head_bytes: int = Field(64 * 1024, ge=1024)
    """Request line and header fields of a request; above it 431. The same again for trailers."""
    max_head_fields: int = Field(256, ge=1)
    """Header fields of a request; above it 431."""
    head_timeout: float = Field(30.0, gt=0)
    """How long the head of a request may take; above it 408."""

    connect_timeout: float = Field(10.0, gt=0)
    """How long a connection to the upstream may take."""
    read_timeout: float | None = Field(None, gt=0)
    """Longest silence of the upstream; None for no limit."""
    write_timeout: float = Field(60.0, gt=0)
    """How long the upstream may take no bytes of the request."""
    forwarded: bool = True
    """Whether the upstream gets ``X-Forwarded-For``, ``-Proto`` and ``-Host`` of the client."""
    forwarded_allow_ips: str = TRUSTED_BY_DEFAULT
    """Proxies whose ``X-Forwarded-*`` and ``Forwarded`` are trusted and passed on: a comma list of
    addresses and networks, or ``*``."""
    reuse_connections: bool | None = None
    """Whether a connection to the upstream may carry another request after its answer. None: yes
    for a base URL, where surplus bytes are detected; no for LiteLLM's SDK, where they are not."""
    trust_env: bool = False
    """Whether the environment names proxies and certificates for the upstream."""

    @model_validator(mode="before")
    @classmethod
    def _no_variable_is_unknown(cls, values: Any) -> Any:
        # Names of variables are read in any case.
        environ = {name.upper(): value for name, value in os.environ.items()}
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
        TrustedProxies(value)
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
        """The fields of ``Options``. LiteLLM's SDK checks its own requests, unless that is set."""
        options = {name: getattr(self, name) for name in Options.model_fields}
        if self.upstream == LITELLM and "check_requests" not in self.model_fields_set:
            options["check_requests"] = False
        return options


Kind = TypeVar("Kind", bound=Settings)


def load_settings(flags: Mapping[str, Any]) -> Settings:
    """The settings from *flags*, and from the environment where a flag is None.

    Raises:
        BadSettings: names each wrong flag or variable, and the reason.
    """
    return read_settings(Settings, flags)


def read_settings(kind: type[Kind], flags: Mapping[str, Any]) -> Kind:
    """``load_settings`` for another class of settings, *kind*."""
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return kind(**given)
    except ValidationError as error:
        raise BadSettings("; ".join(complaints(error, partial(_source, given)))) from None


def _source(given: Mapping[str, Any], name: str) -> str:
    """The flag or the variable that a setting comes from."""
    return f"--{name.replace('_', '-')}" if name in given else variable(name)
