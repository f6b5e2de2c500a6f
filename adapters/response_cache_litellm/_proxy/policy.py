"""Which creates are recorded here: the proxy's ``background_mode`` settings.

LiteLLM documents ``polling_via_cache`` as ``"all"`` or a list of providers, and silently takes
every other value for *off*. Here ``true`` and ``["all"]`` mean all, and the name of one provider
means a list of one. An alias with a slash is looked up as any other model name. Where the setting
is missing, all is recorded: that is what this package was installed for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

__all__ = ("ALL", "Policy", "providers_of", "read_policy")

logger = logging.getLogger("response_cache.litellm")

ALL: Final = "all"
_WORDS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_told: set[str] = set()


@dataclass(frozen=True, slots=True)
class Policy:
    """The models whose background work is recorded here."""

    providers: frozenset[str] | None  # None: of every provider
    native: frozenset[str] = frozenset()  # models whose provider does background work itself

    @property
    def covers_all(self) -> bool:
        """Whether no model needs to be looked at."""
        return self.providers is None and not self.native

    def covers(self, model: str, providers: Callable[[str], Iterable[str]]) -> bool:
        """Whether a response of *model*, which has these *providers*, is recorded here."""
        if model in self.native:
            return False
        return self.providers is None or not self.providers.isdisjoint(providers(model))


def read_policy(polling_via_cache: object, native: object = (), *, is_set: bool = True) -> Policy:
    """The policy of these settings; *is_set*: whether ``polling_via_cache`` is among them."""
    names = frozenset(map(str, native)) if isinstance(native, list | tuple | set) else frozenset()
    if not is_set:
        return Policy(None, names)
    providers = _providers(polling_via_cache)
    return Policy(None if ALL in providers else providers, names)


def _providers(value: object) -> frozenset[str]:
    if isinstance(value, str):
        value = _WORDS.get(value.strip().lower(), value)
    if value is True:
        _tell(value, "means 'all'")
        return frozenset((ALL,))
    if not value:
        return frozenset()
    if isinstance(value, str):
        if value != ALL:
            _tell(value, f"means [{value!r}]")
        return frozenset((value,))
    if isinstance(value, list | tuple | set):
        if ALL in value:
            _tell(value, "means 'all'")
        return frozenset(map(str, value))
    _tell(value, "is not understood and means 'off'")
    return frozenset()


def _tell(value: object, meaning: str) -> None:
    """Log once what a value means here, where LiteLLM alone takes it for off."""
    line = f"polling_via_cache: {value!r} {meaning} to response_cache"
    if line not in _told:
        _told.add(line)
        logger.warning(line)


def providers_of(model: str, deployments: Iterable[dict[str, Any]]) -> Iterable[str]:
    """The providers that may answer *model*: by its name, and by its *deployments*."""
    if "/" in model:
        yield model.partition("/")[0]
    for deployment in deployments:
        parameters = deployment.get("litellm_params") or {}
        named = parameters.get("custom_llm_provider")
        yield str(named or str(parameters.get("model", "")).partition("/")[0])
