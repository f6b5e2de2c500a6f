"""What arrives at a user: the wheel and the source archive, built and looked into."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
OURS: Final = {
    "response_cache",
    "response_cache_asgi",
    "response_cache_litellm",
    "response_cache_server",
    "response_cache_wsgi",
}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel and the source archive of this tree."""
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    return out


def wheel_names(dist: Path) -> list[str]:
    (wheel,) = dist.glob("*.whl")
    return zipfile.ZipFile(wheel).namelist()


def test_the_wheel_holds_our_names_only(dist: Path) -> None:
    tops = {name.split("/")[0] for name in wheel_names(dist)}
    assert {top for top in tops if not top.endswith(".dist-info")} == OURS


def test_every_package_is_typed(dist: Path) -> None:
    assert {f"{package}/py.typed" for package in OURS} <= set(wheel_names(dist))


def test_the_source_archive_builds_the_same_packages(dist: Path) -> None:
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as sources:
        names = sources.getnames()
    assert any(name.endswith("/response_cache/py.typed") for name in names)
    assert any(name.endswith("/tests/data/MANIFEST.json") for name in names)
    assert not any("/.venv/" in name for name in names)
    made = re.compile(r".*/tests/data/streams/[\w-]+\.jsonl")
    assert all(made.fullmatch(name) for name in names if name.endswith(".jsonl"))


def test_it_imports_without_any_extra(dist: Path, tmp_path: Path) -> None:
    """In an environment that has the core's three dependencies and the wheel, nothing else."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    (wheel,) = dist.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    for package in ("anyio", "cachetools", "pydantic"):
        _link_with_requirements(package, tmp_path / "site")
    code = "import response_cache, response_cache_asgi; response_cache.store_from_url('memory://')"
    environment = {"PYTHONPATH": str(tmp_path / "site")}
    result = subprocess.run(
        [python, "-W", "error", "-c", code], env=environment, capture_output=True, text=True
    )
    assert result.stderr == ""
    assert result.returncode == 0


def _link_with_requirements(name: str, site: Path) -> None:
    """Make an installed distribution, and what it requires itself, importable in *site*."""
    from importlib.metadata import distribution, requires

    found = distribution(name)
    for file in found.files or ():
        top = file.parts[0]
        target = site / top
        if top not in ("..", "__pycache__") and not target.exists():
            target.symlink_to(Path(str(found.locate_file(top))).resolve())
    for requirement in requires(name) or ():
        if "extra ==" not in requirement and not _is_for_older_pythons(requirement):
            _link_with_requirements(re.split(r"[^\w.-]", requirement)[0], site)


def _is_for_older_pythons(requirement: str) -> bool:
    """Whether a marker says that this Python does not need it."""
    match = re.search(r"python_version\s*<\s*['\"](\d+)\.(\d+)", requirement)
    return match is not None and sys.version_info >= (int(match[1]), int(match[2]))


def test_the_oldest_litellm_is_the_one_that_is_tested_and_named() -> None:
    (lowest,) = re.findall(r"litellm\[proxy\]>=([\d.]+)", (ROOT / "pyproject.toml").read_text())
    (oldest,) = re.findall(
        r"^LITELLM_OLDEST := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    assert oldest == f"{lowest}.0"
    assert f"Tested with LiteLLM {oldest} and " in (ROOT / "docs" / "litellm.md").read_text()


def test_no_file_names_a_package_registry_or_a_machine() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    here = str(ROOT.parent) + "/"
    for name in tracked:
        text = (ROOT / name).read_bytes().decode("utf-8", "replace")
        assert here not in text, name
        assert not re.search(r"https?://[^\s'\"]*(pypi|pythonhosted|npmjs)\b", text), name
