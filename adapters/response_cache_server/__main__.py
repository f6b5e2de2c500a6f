"""``response-cache`` and ``python -m response_cache_server``, which say what they lack."""

from __future__ import annotations

import sys
from typing import Final

__all__ = ("main",)

OF_THE_EXTRA: Final = frozenset(
    (
        *("aiohappyeyeballs", "httpcore", "httptools", "httpx", "pydantic_settings"),
        *("rich", "typer", "uvicorn"),
    )
)
"""What the extra ``server`` brings, by the names that are imported."""


def main() -> None:
    """Run the command that the arguments name.

    Raises:
        SystemExit: with the exit code; 2 and one line on the standard error without the extra.
    """
    try:
        from response_cache_server.cli import main as run

        run()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in OF_THE_EXTRA:
            raise
        sys.exit(_complain(f"{error.name} is not installed: pip install 'response-cache[server]'"))


def _complain(message: str) -> int:
    print(f"response-cache: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
