"""What arrives at a user: the wheel and the source archive, built and looked into."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement

from response_cache_server.__main__ import PACKAGES_OF_THE_EXTRA

pytestmark = pytest.mark.slow

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


CORE: Final = ("anyio", "cachetools", "pydantic")


@pytest.fixture(scope="module")
def bare(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of an environment with the core's three dependencies and the wheel, no more."""
    return site_with(dist, tmp_path_factory.mktemp("bare"), *CORE)


def site_with(dist: Path, folder: Path, *packages: str) -> Path:
    site = folder / "site"
    (wheel,) = dist.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    for package in packages:
        _link_with_requirements(package, site)
    return site


def run_bare(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Python that has *site* alone."""
    env = site.parent / "env"
    if not env.exists():
        venv.create(env, with_pip=False)
    return subprocess.run(
        [env / "bin" / "python", "-W", "error", *arguments],
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )


def test_it_imports_without_any_extra(bare: Path) -> None:
    code = "import response_cache, response_cache_asgi; response_cache.store_from_url('memory://')"
    result = run_bare(bare, "-c", code)
    assert result.stderr == ""
    assert result.returncode == 0


def console_script(site: Path) -> str:
    """Code that does what the installed ``response-cache`` does."""
    (entry_points,) = site.glob("response_cache-*.dist-info/entry_points.txt")
    (place,) = re.findall(r"^response-cache = (.+)$", entry_points.read_text(), re.MULTILINE)
    module, _, function = place.partition(":")
    return f"import sys; from {module} import {function}; sys.exit({function}())"


@pytest.mark.parametrize("arguments", [(), ("serve",), ("--version",), ("demo",), ("litellm",)])
def test_the_command_says_what_to_install_without_the_extra(
    bare: Path, arguments: tuple[str, ...]
) -> None:
    by_name = run_bare(bare, "-c", console_script(bare), *arguments)
    by_module = run_bare(bare, "-m", "response_cache_server", *arguments)
    line = "response-cache: typer is not installed: pip install 'response-cache[server]'\n"
    for result in (by_name, by_module):
        assert (result.returncode, result.stdout, result.stderr) == (2, "", line)


def test_the_command_says_so_too_where_only_a_part_of_the_extra_is_there(
    dist: Path, tmp_path: Path
) -> None:
    site = site_with(dist, tmp_path, *CORE, "typer", "pydantic-settings")
    served = run_bare(site, "-m", "response_cache_server", "serve")
    line = r"response-cache: \w+ is not installed: pip install 'response-cache\[server\]'\n"
    assert served.returncode == 2
    assert re.fullmatch(line, served.stderr)


def test_the_command_knows_what_its_extra_brings() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[^\w-]", row)[0] for row in extras["optional-dependencies"]["server"]]
    needed = {name.replace("-", "_") for name in names if name != "uvloop"}  # which may be absent
    assert needed == PACKAGES_OF_THE_EXTRA


def _link_with_requirements(name: str, site: Path) -> None:
    """Make an installed distribution, and what it requires itself, importable in *site*."""
    from importlib.metadata import distribution, requires

    found = distribution(name)
    for file in found.files or ():
        top = file.parts[0]
        target = site / top
        if top not in ("..", "__pycache__") and not target.exists():
            target.symlink_to(Path(str(found.locate_file(top))).resolve())
    for requirement in map(Requirement, requires(name) or ()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            _link_with_requirements(requirement.name, site)


def test_the_oldest_litellm_is_the_one_that_is_tested_and_named() -> None:
    (lowest,) = re.findall(r"litellm\[proxy\]>=([\d.]+)", (ROOT / "pyproject.toml").read_text())
    (oldest,) = re.findall(
        r"^LITELLM_OLDEST := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    assert oldest == f"{lowest}.0"
    assert f"Tested with LiteLLM {oldest} and " in (ROOT / "docs" / "litellm.md").read_text()


def test_the_oldest_redis_py_is_the_one_that_is_tested() -> None:
    (lowest,) = re.findall(r"redis\[hiredis\]>=([\d.]+)", (ROOT / "pyproject.toml").read_text())
    (oldest,) = re.findall(
        r"^REDIS_PY_OLDEST := redis==(\S+) ", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    assert oldest == f"{lowest}.0"


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
