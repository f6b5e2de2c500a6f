"""The pool with the oldest HTTP client that we admit, since it looks inside of it.

The newest is what everybody installs, and what all other tests run with. Where packages cannot be
installed, as without a network, there is nothing to find out.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[4]
CLIENT = ("httpcore", "httpx")


def oldest(package: str) -> str:
    """The lower end of the range that our metadata declares for *package*."""
    for requirement in importlib.metadata.requires("response-cache") or ():
        if found := re.match(rf"{package}\b.*>=([0-9.]+).*extra == .server.", requirement):
            return found[1]
    raise AssertionError(f"no range of {package} is declared")


def test_no_surplus_reaches_anybody_with_the_oldest_client_either(tmp_path: Path) -> None:
    pins = [f"{package}=={oldest(package)}" for package in CLIENT]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    if subprocess.run([*pip, str(tmp_path), *pins], capture_output=True).returncode:
        missing = f"cannot install {' '.join(pins)}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    versions = "import httpcore, httpx; print(httpcore.__version__, httpx.__version__)"
    seen = subprocess.run([sys.executable, "-c", versions], env=env, capture_output=True, text=True)
    for version, package in zip(seen.stdout.split(), CLIENT, strict=True):
        assert f"{version}.".startswith(f"{oldest(package)}.")
    check = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    chosen = ["tests/adapters/server/proxy/test_pool.py", "tests/adapters/server/proxy/test_app.py"]
    chosen += ["-k", "(uvloop and not 0.05) or 504 or 502 or as_it_was_sent"]
    ran = subprocess.run([*check, *chosen], cwd=ROOT, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
