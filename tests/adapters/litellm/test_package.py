"""The names of the package are loaded when they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_importing_the_package_imports_no_litellm() -> None:
    code = "import sys, response_cache_litellm as r; assert 'litellm' not in sys.modules; r.nothing"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (
        "AttributeError: module 'response_cache_litellm' has no attribute 'nothing'"
        in result.stderr
    )
