"""Settings of the cache in LiteLLM's proxy: variables, then the proxy's settings, then defaults.

The sidecar's ``Settings`` reads and checks the variables, so a wrong one is the same error in both.
Workers get them by their environment.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import ValidationError, field_validator

from response_cache import Options, store_from_url
from response_cache.options import complaints
from response_cache_litellm._proxy.disconnect import STOP_GRACE
from response_cache_server._settings import BadSettings, Settings, read_settings
from response_cache_server._variables import variable

__all__ = ("STORE", "ProxySettings", "load_proxy_settings", "try_store")

STORE: Final = variable("store")
DEFAULTS: Final[dict[str, Any]] = {
    "admission_wait": 5.0,  # for a proxy that does not call its hooks before it answers
    "stop_grace": STOP_GRACE,
    "cors_origins": (),  # the proxy's own CORS is around the cache
    "check_requests": False,  # the proxy checks its own requests
}
"""Options whose defaults differ from the sidecar's."""


class ProxySettings(Settings):
    """The variables. The properties below are None where no variable is set."""

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _is_the_proxys(cls, value: object) -> object:
        if value is not None:  # None is the default, which is validated as well
            raise ValueError("the proxy's own CORS counts here: LITELLM_CORS_ORIGINS")
        return value

    @property
    def named_store(self) -> str | None:
        """URL of the store."""
        return str(self.store) if "store" in self.model_fields_set else None

    @property
    def named_log_level(self) -> str | None:
        """The lowest level of our own lines in the log."""
        return self.log_level if "log_level" in self.model_fields_set else None

    def options_over(self, **of_proxy: Any) -> Options:
        """The options: variables, then *of_proxy* (settings of the proxy), then ``DEFAULTS``.

        Raises:
            ValueError: one of *of_proxy* is wrong; the message is one line.
        """
        names = self.model_fields_set & set(Options.model_fields)
        given = {**DEFAULTS, **of_proxy, **{name: getattr(self, name) for name in names}}
        try:
            return Options(**given)
        except ValidationError as error:
            raise BadSettings("; ".join(complaints(error))) from None


def load_proxy_settings() -> ProxySettings:
    """The settings, checked now for all that would fail at the first request.

    Raises:
        BadSettings: a variable is wrong or unknown. The message is one line.
        ImportError: the store's driver is not installed.
    """
    settings = read_settings(ProxySettings, {})
    if settings.named_store is not None:
        try:
            store_from_url(settings.named_store)
        except ValueError as error:
            raise BadSettings(f"{STORE}: {error}") from None
    return settings


async def try_store(settings: ProxySettings) -> None:
    """Open the named store, if a variable names one, and close it again.

    Raises:
        StoreUnavailable: it cannot be opened; the message says why.
    """
    if settings.named_store is not None:
        store = store_from_url(settings.named_store)
        await store.open()
        await store.aclose()
