"""Entry of ``response-cache`` and ``python -m response_cache_server``.

Names the missing package where the extra ``server`` is not installed.
"""

from __future__ import annotations

import sys
from typing import Final

__all__ = ("main",)

PACKAGES_OF_THE_EXTRA: Final = frozenset(
    (
        *("aiohappyeyeballs", "httpcore", "httptools", "httpx", "pydantic_settings"),
        *("rich", "typer", "uvicorn"),
    )
)
"""Import names of the packages that the extra ``server`` installs."""


def main() -> None:
    """Run the command that the arguments name.

    Raises:
        SystemExit: with the exit code. Without the extra: code 2 and one line on standard error.
    """
    try:
        from response_cache_server._cli import main as run

        run()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in PACKAGES_OF_THE_EXTRA:
            raise
        sys.exit(_complain(f"{error.name} is not installed: pip install 'response-cache[server]'"))


def _complain(message: str) -> int:
    print(f"response-cache: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
