"""How large the public interface is and how much of it has a known type, as pyright counts.

``python -m tests.public_types`` prints both for each package, as a user gets it: installed from a
wheel. It fails where one is below its floor (`make types`).

https://github.com/microsoft/pyright/blob/main/docs/typed-libraries.md#verifying-type-completeness
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
BIN: Final = Path(sys.executable).parent

# Percent of the symbols whose type is known, as measured, rounded down. Raise it with its figure.
FLOORS: Final[Mapping[str, int]] = {
    "response_cache": 100,
    "response_cache_asgi": 100,
    "response_cache_litellm": 100,
    "response_cache_server": 100,
    "response_cache_wsgi": 100,
}


def install(site: Path) -> None:
    """Put the packages into *site*, without what they require: that is in this environment."""
    flags = ("--quiet", "--no-deps", "--no-build-isolation", "--target", str(site))
    subprocess.run([sys.executable, "-m", "pip", "install", *flags, str(ROOT)], check=True)


def report(package: str, site: Path) -> Mapping[str, Any]:
    """What pyright finds in *package*. Its exit code says only that some type is unknown."""
    flags = ("--ignoreexternal", "--outputjson")
    command = [str(BIN / "pyright"), *flags, "--verifytypes", package]
    # With --verifytypes it asks the first ``python`` of the PATH where packages are installed.
    path = os.pathsep.join((str(BIN), os.environ["PATH"]))
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(site)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False)
    found: Mapping[str, Any] = json.loads(done.stdout)["typeCompleteness"]
    return found


def is_high_enough(package: str, site: Path) -> bool:
    """Print the figures of *package*; False when they are below its floor."""
    found = report(package, site)
    symbols: int = sum(found["exportedSymbolCounts"].values())
    known: float = round(100 * found["completenessScore"], 1)
    print(f"{package}: {symbols} public symbols, {known} % of them with a known type")
    return symbols > 0 and known >= FLOORS[package]


def main() -> int:
    """The exit code: 1 when a package is below its floor."""
    with tempfile.TemporaryDirectory() as folder:
        install(Path(folder))
        high_enough = [is_high_enough(package, Path(folder)) for package in FLOORS]
    return 0 if all(high_enough) else 1


if __name__ == "__main__":
    sys.exit(main())
