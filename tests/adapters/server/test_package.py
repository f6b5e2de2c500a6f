"""The package loads what is used, when it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import response_cache_server


@pytest.mark.parametrize("name", response_cache_server.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(response_cache_server, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = response_cache_server.nothing


@pytest.mark.slow
def test_importing_the_package_loads_no_extra() -> None:
    code = "import sys, response_cache_server; print('httpx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
