"""The package loads what is used, when it is used."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

import response_cache_server
from tests.interface import Name, home


@pytest.mark.parametrize("name", response_cache_server.__all__)
def test_every_public_name_is_there(name: str) -> None:
    made = home(Name("response_cache_server", name))
    assert made is not None
    assert getattr(response_cache_server, name) is getattr(import_module(made.module), name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = response_cache_server.nothing


@pytest.mark.slow
def test_importing_the_package_loads_no_extra() -> None:
    code = "import sys, response_cache_server; print('httpx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
