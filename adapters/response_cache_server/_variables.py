"""Environment variables with our prefix: a name that is no setting is an error.

Exempt are the service links that Kubernetes sets for a service whose name begins with
``response-cache`` (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from response_cache.options import did_you_mean

__all__ = ("PREFIX", "require_known", "variable")

PREFIX: Final = "RESPONSE_CACHE_"
VARIABLES_OF_TESTS: Final = frozenset((f"{PREFIX}LITELLM_ALONE",))
SERVICE_LINK: Final = re.compile(
    rf"{PREFIX}(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT|PORT_\d+_\w+)"
)


def variable(setting: str) -> str:
    """The name of a setting's variable."""
    return PREFIX + setting.upper()


def require_known(environ: Mapping[str, str], settings: Iterable[str]) -> None:
    """Check that each variable with our prefix belongs to one of *settings*.

    An empty variable counts as absent.

    Raises:
        ValueError: a variable is unknown. The message is one line and repeats no value.
    """
    settings = tuple(settings)
    known = VARIABLES_OF_TESTS.union(map(variable, settings))
    unknown = [
        f"{name}: unknown variable{did_you_mean(_setting(name), settings, variable)}"
        for name, value in environ.items()
        if value and name.startswith(PREFIX) and name not in known
        if not SERVICE_LINK.fullmatch(name)
    ]
    if unknown:
        raise ValueError("; ".join(unknown))


def _setting(name: str) -> str:
    return name.removeprefix(PREFIX).lower()
