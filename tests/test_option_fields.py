"""The options as keyword arguments: the same as those of ``Options``, and seen by type checkers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, get_type_hints

import pytest
from pydantic import SecretStr

from response_cache._option_fields import OptionFields
from response_cache.options import Options

ROOT: Final = Path(__file__).resolve().parents[1]

# What is converted: the wider type that is accepted, and a value of it that is not of the field's.
CONVERTED: Final[dict[str, tuple[Any, Any]]] = {
    "paths": (Sequence[str], ["/v1/responses"]),
    "secret": (SecretStr | str, "hush"),
    "cors_origins": (Sequence[str] | None, "https://a.example, https://b.example"),
}


def test_each_option_has_its_name_and_type() -> None:
    assert get_type_hints(OptionFields) == {
        name: CONVERTED[name][0] if name in CONVERTED else field.annotation
        for name, field in Options.model_fields.items()
    }


def test_no_option_is_required() -> None:
    assert OptionFields.__required_keys__ == frozenset()


@pytest.mark.parametrize("name", CONVERTED)
def test_a_wider_type_is_converted_to_that_of_the_field(name: str) -> None:
    given = CONVERTED[name][1]
    kept = getattr(Options(**{name: given}), name)
    assert type(kept) is not type(given)
    assert isinstance(kept, tuple | SecretStr)


# Each line with an error says which. "right" has none.
USES: Final = {
    "ASGI": """
app = ResponseCacheMiddleware(ASGI_APP, ttl=60, secret="hush", paths=["/v1/responses"])  # right
app = ResponseCacheMiddleware(app=ASGI_APP, store="memory://", lease=15.0)  # right
app = ResponseCacheMiddleware(ASGI_APP, tttl=60)  # error: "tttl"
app = ResponseCacheMiddleware(app=ASGI_APP, tttl=60)  # error: "tttl"
app = ResponseCacheMiddleware(ASGI_APP, ttl="1 h")  # error: "str"
""",
    "Starlette": """
Starlette().add_middleware(ResponseCacheMiddleware, store="memory://", ttl=60)  # right
Starlette().add_middleware(ResponseCacheMiddleware, store="memory://", tttl=60)  # error: "tttl"
Starlette(middleware=[Middleware(ResponseCacheMiddleware, ttl=60)])  # right
Starlette(middleware=[Middleware(ResponseCacheMiddleware, tttl=60)])  # error: "tttl"
""",
    "WSGI": """
application = WSGIMiddleware(WSGI_APP, store="sqlite:///responses.db", ttl=60)  # right
application = WSGIMiddleware(WSGI_APP, tttl=60)  # error: "tttl"
""",
}
HEAD: Final = """
from typing import Any
from starlette.applications import Starlette
from starlette.middleware import Middleware
from response_cache_asgi import ResponseCacheMiddleware
from response_cache_wsgi import ResponseCacheMiddleware as WSGIMiddleware
ASGI_APP: Any = None
WSGI_APP: Any = None
"""


@pytest.mark.slow
def test_a_misspelt_option_is_an_error_of_types(tmp_path: Path) -> None:
    snippet = tmp_path / "snippet.py"
    snippet.write_text(HEAD + "".join(USES.values()), "utf-8")
    errors = errors_of_mypy(snippet)
    for number, line in enumerate(snippet.read_text("utf-8").splitlines(), 1):
        _, _, expected = line.partition("# error: ")
        found = errors.get(number, "")
        assert expected in found if expected else not found, f"{line}: {found}"
    assert len(errors) == sum(use.count("# error: ") for use in USES.values())


def errors_of_mypy(path: Path) -> dict[int, str]:
    """What mypy has against each line of *path*, by its number."""
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(path.parent / "cache"), str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    errors: dict[int, str] = {}
    for line in done.stdout.splitlines():
        place, is_error, message = line.partition(": error: ")
        if is_error:
            number = int(place.rpartition(":")[2])
            errors[number] = errors.get(number, "") + message
    return errors
