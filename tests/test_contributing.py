"""What contributors are told, and what machines do with their changes, is true of the tree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).resolve().parents[1]
MAKEFILE: Final = (ROOT / "Makefile").read_text("utf-8")
CONTRIBUTING: Final = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
WORKFLOWS: Final = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def targets() -> set[str]:
    """What can be asked of `make`."""
    (listed,) = re.findall(r"^\.PHONY: ((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)
    return set(listed.replace("\\\n", " ").split())


def commands(workflow: Path) -> Iterator[str]:
    """What the jobs of *workflow* run, once for each row of their matrices."""
    jobs: dict[str, dict[str, Any]] = yaml.safe_load(workflow.read_text("utf-8"))["jobs"]
    for job in jobs.values():
        rows = job.get("strategy", {}).get("matrix", {}).get("target", [""])
        for step in job["steps"]:
            if "run" in step:
                yield from (step["run"].replace("${{ matrix.target }}", row) for row in rows)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_runs_nothing_but_make(workflow: Path) -> None:
    for command in commands(workflow):
        make, *asked = command.split()
        assert make == "make", command
        assert set(asked) <= targets(), command


def test_hooks_come_from_this_repository() -> None:
    configured = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    assert [each["repo"] for each in configured["repos"]] == ["local"]
    for hook in configured["repos"][0]["hooks"]:
        program, *words = hook["entry"].split()
        assert hook["language"] == "system"
        assert program.startswith(".venv/bin/") or (program == "make" and set(words) <= targets())


def test_help_names_every_target() -> None:
    (told,) = re.findall(r"^help:\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    named = set(re.findall(r"[a-z][a-z0-9-]*", told))
    assert targets() - {"help", "clean", "test-litellm-alone"} <= named


def test_every_target_that_contributors_are_told_of_is_there() -> None:
    asked = re.findall(r"`(?:\w+=\w+ )?make ([a-z0-9 -]+)`", CONTRIBUTING)
    assert asked
    assert {target for words in asked for target in words.split()} <= targets()


def test_every_file_that_contributors_are_told_of_is_there() -> None:
    named = re.findall(r"`([\w./-]+/[\w.-]*)`", CONTRIBUTING)
    assert [name for name in named if not _exists(name) and name != ".venv/bin/python"] == []


def _exists(name: str) -> bool:
    """Whether it is there; folders of `tests/` may be named without it."""
    return (ROOT / name).exists() or (ROOT / "tests" / name).exists()
