"""Where the proxy's responses are kept: the named store, else the proxy's Redis as a URL.

LiteLLM takes parameters, and for missing ones variables named ``REDIS_...``. A parameter that has
no form in a URL is refused: the store must not connect in another way than the proxy.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from response_cache.options import DialectName

__all__ = ("KEY_PREFIXES", "redis_url", "store_url")

logger = logging.getLogger("response_cache.litellm")

KEY_PREFIXES: Final[Mapping[DialectName, str]] = {
    "openai": "response_cache:",
    "litellm": "litellm:polling:response:",
}
"""By dialect: how our keys in the proxy's Redis begin, after its own namespace."""

# fmt: off
_VARIABLES: Final[Mapping[str, str]] = {
    "url":               "REDIS_URL",
    "host":              "REDIS_HOST",
    "port":              "REDIS_PORT",
    "username":          "REDIS_USERNAME",
    "password":          "REDIS_PASSWORD",
    "db":                "REDIS_DB",
    "ssl":               "REDIS_SSL",
    "ssl_ca_certs":      "REDIS_SSL_CA_CERTS",
    "ssl_certfile":      "REDIS_SSL_CERTFILE",
    "ssl_keyfile":       "REDIS_SSL_KEYFILE",
    "startup_nodes":     "REDIS_CLUSTER_NODES",
    "sentinel_nodes":    "REDIS_SENTINEL_NODES",
    "service_name":      "REDIS_SERVICE_NAME",
    # read only to be refused:
    "sentinel_password":    "REDIS_SENTINEL_PASSWORD",
    "gcp_service_account":  "REDIS_GCP_SERVICE_ACCOUNT",
    "azure_redis_ad_token": "REDIS_AZURE_AD_TOKEN",
    "aws_iam_auth":         "REDIS_AWS_IAM_AUTH",
    "credential_provider":  "",
    "ssl_cert_reqs":        "REDIS_SSL_CERT_REQS",
}
# fmt: on
_TARGETS: Final = ("host", "startup_nodes", "sentinel_nodes")
_UNSAYABLE: Final = (
    "sentinel_password",
    "gcp_service_account",
    "azure_redis_ad_token",
    "aws_iam_auth",
    "credential_provider",
)
_CERTIFICATES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_FALSE: Final = frozenset(("", "0", "false", "no", "none"))


def store_url(
    named: str | None,
    redis: Mapping[str, Any] | None,
    environ: Mapping[str, str],
    *,
    namespace: str | None = None,
    dialect: DialectName = "openai",
) -> str:
    """The URL of the store: *named*, else the proxy's *redis* (see ``redis_url``), else memory.

    With dialect ``litellm`` the keys are LiteLLM's own.

    Raises:
        ValueError: the proxy's Redis has no form as a URL.
    """
    if named is not None:
        return named
    if redis is not None:
        prefix = KEY_PREFIXES[dialect]
        prefix = f"{namespace}:{prefix}" if namespace else prefix
        return redis_url(redis, environ, key_prefix=prefix)
    logger.warning(
        "the proxy has no Redis: background responses are kept in the memory of each worker, and a "
        "restart loses them. Configure one, or set RESPONSE_CACHE_STORE"
    )
    return "memory://"


def redis_url(given: Mapping[str, Any], environ: Mapping[str, str], *, key_prefix: str = "") -> str:
    """The URL of the Redis that these parameters, and else these variables, name.

    Raises:
        ValueError: a parameter has no form in a URL; the message names it and no value.
    """
    settings = _settings(given, environ)
    for name in _UNSAYABLE:
        if _is_true(settings.get(name)):
            raise ValueError(_refusal(name))
    if _is_true(settings.get("ssl")) and settings.get("ssl_cert_reqs") not in (None, "required"):
        raise ValueError(_refusal("ssl_cert_reqs"))
    query = {name: str(settings[name]) for name in _CERTIFICATES if settings.get(name)}
    if key_prefix:
        query["key_prefix"] = key_prefix
    address = _address(settings)
    return f"{address}?{urlencode(query)}" if query else address


def _refusal(name: str) -> str:
    return f"the proxy's Redis setting {name} has no form in a URL; set RESPONSE_CACHE_STORE"


def _settings(given: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """The given parameters, with every ``os.environ/NAME`` replaced, and variables for the rest."""
    known = {name: _resolved(value, environ) for name, value in given.items()}
    known = {name: value for name, value in known.items() if value is not None}
    variables = {name: environ.get(variable) for name, variable in _VARIABLES.items()}
    if any(name in known for name in _TARGETS):
        variables["url"] = None  # a target that is configured outranks the variable
    return {**{name: value for name, value in variables.items() if value}, **known}


def _resolved(value: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(value, str) and value.startswith("os.environ/"):
        return environ.get(value.removeprefix("os.environ/"))
    if isinstance(value, Mapping):
        return {key: _resolved(inner, environ) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_resolved(inner, environ) for inner in value]
    return value


def _address(settings: Mapping[str, Any]) -> str:
    secure = "rediss" if _is_true(settings.get("ssl")) else "redis"
    login = _login(settings)
    if nodes := _nodes(settings.get("startup_nodes")):
        return f"{secure}+cluster://{login}{nodes}"
    if nodes := _nodes(settings.get("sentinel_nodes")):
        service = quote(str(settings.get("service_name") or "mymaster"), safe="")
        return f"{secure}+sentinel://{login}{nodes}/{service}{_database(settings)}"
    if url := settings.get("url"):
        if urlsplit(str(url)).query:  # parameters in the form of a driver
            raise ValueError(_refusal("url with a query"))
        return str(url)
    host = _host(settings.get("host") or "localhost", settings.get("port") or 6379)
    return f"{secure}://{login}{host}{_database(settings)}"


def _login(settings: Mapping[str, Any]) -> str:
    if not (settings.get("username") or settings.get("password")):
        return ""
    parts = (quote(str(settings.get(name) or ""), safe="") for name in ("username", "password"))
    return ":".join(parts) + "@"


def _nodes(value: Any) -> str:
    """A list of ``{"host", "port"}`` or ``[host, port]``, perhaps as JSON text."""
    nodes = json.loads(value) if isinstance(value, str) and value else value
    pairs = (
        (node.get("host"), node.get("port")) if isinstance(node, Mapping) else (node[0], node[1])
        for node in nodes or ()
        if isinstance(node, Mapping | Sequence)
    )
    return ",".join(_host(host, port) for host, port in pairs)


def _host(host: Any, port: Any) -> str:
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def _database(settings: Mapping[str, Any]) -> str:
    db = settings.get("db")
    return f"/{db}" if db not in (None, "", 0, "0") else ""


def _is_true(value: Any) -> bool:
    return str(value).lower() not in _FALSE
