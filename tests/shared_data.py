"""Where the recorded streams and reference tables are: beside the repository, never in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"
CORPUS = SHARED / "corpus"
REFERENCE = SHARED / "reference"


def require_shared() -> None:
    """Skip with one clear line where the shared data is absent; fail in CI."""
    if CORPUS.is_dir() and REFERENCE.is_dir():
        return
    reason = "the shared data (../shared/corpus, ../shared/reference) is not beside the repository"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
