"""The documentation says what is: pages match the code, commands run as printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.deadlines import WAIT_TIMEOUT
from tests.documents import DOCS, ROOT, made
from tests.ports import free_port

README: Final = (ROOT / "README.md").read_text("utf-8")
MADE: Final = made()
PAGES: Final = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])


@pytest.mark.parametrize("path", sorted(MADE), ids=lambda path: path.name)
def test_a_page_is_as_the_code_makes_it(path: Path) -> None:
    assert path.read_text("utf-8") == MADE[path], "run: python -m tests.documents"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_the_readme_begins_with_what_it_is_and_the_two_commands() -> None:
    head = README[: README.index("## ")]
    assert "Background mode" in head
    assert head.index("make demo") < head.index("make test")


def running(command: list[str], ready: str) -> Iterator[None]:
    """A server process, from its line that holds *ready* until its end by its process id."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(line)
            if ready in line:
                break
        else:
            pytest.fail("".join(seen))
        yield
    finally:
        process.terminate()
        process.communicate(timeout=WAIT_TIMEOUT)


@pytest.fixture
def sidecar() -> Iterator[int]:
    """The port of ``response-cache serve``."""
    port = free_port()
    serve = [sys.executable, "-m", "response_cache_server", "serve", "--port", str(port)]
    for _ in running(serve, "listens on"):
        yield port


@pytest.mark.slow
def test_every_curl_of_the_readme_runs_as_printed(sidecar: int, tmp_path: Path) -> None:
    (block,) = (b for b in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) if "curl" in b)
    script = block.replace("127.0.0.1:8000", f"127.0.0.1:{sidecar}")
    assert script != block
    script = script.replace(
        "curl ", "curl --silent --show-error --fail-with-body --write-out '\\n' "
    )
    # The second last one cancels what has completed by then, which is told as an error.
    script = script.replace("/cancel", "/cancel || test $? = 22")
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=WAIT_TIMEOUT,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert '"status":"queued"' in result.stdout
    assert "event: response.completed" in result.stdout
    assert '"status":"completed"' in result.stdout
    assert "Cannot cancel a completed response." in result.stdout
    assert '"deleted":true' in result.stdout


def python_blocks() -> list[str]:
    """The Python of the README, each as it stands: around an app, and of a client."""
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run_python(code: str, cwd: Path) -> list[str]:
    """The lines that *code* prints."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=WAIT_TIMEOUT,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


@pytest.mark.slow
def test_the_lines_around_an_app_run_as_printed(tmp_path: Path) -> None:
    around, _ = python_blocks()
    started = (
        "from fastapi.testclient import TestClient\n"
        "with TestClient(app) as client:\n"
        "    print(client.get('/v1/responses/resp_rc' + 48 * '0').status_code)\n"
    )
    assert run_python(around + started, tmp_path) == ["404"]


@pytest.mark.slow
def test_the_client_of_the_readme_runs_as_printed(sidecar: int, tmp_path: Path) -> None:
    _, client = python_blocks()
    script = client.replace("127.0.0.1:8000", f"127.0.0.1:{sidecar}")
    assert script != client
    first, *events, _items, last = run_python(script, tmp_path)
    assert re.fullmatch(r"completed \S.*", first)
    assert events[0].endswith(" 11")
    assert events[-1].startswith("response.completed ")
    assert last == "cancelled"


@pytest.fixture
def tutorial_app() -> Iterator[int]:
    """The port of the tutorial's app under uvicorn, started as the tutorial says."""
    port = free_port()
    uvicorn = [sys.executable, "-m", "uvicorn", "--app-dir", "docs/examples", "fastapi_app:app"]
    for _ in running([*uvicorn, "--port", str(port)], "running on"):
        yield port


@pytest.mark.slow
def test_the_tutorial_does_what_it_says(tutorial_app: int) -> None:
    client = [sys.executable, "docs/examples/client.py", f"http://127.0.0.1:{tutorial_app}/v1"]
    result = subprocess.run(
        client, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_TIMEOUT, env=dict(os.environ)
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("queued")
    assert "completed 'The quick brown fox jumps over the lazy dog '" in lines
    assert any(line.endswith("response.completed") for line in lines)
    assert lines[-1] == "cancelled"
