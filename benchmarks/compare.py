"""Does another checkout of this project do the same work with fewer calls, or fewer instructions?

``python -m benchmarks.compare OTHER [--instructions] [--redis]``: OTHER is a folder with a checkout
that has its environment in ``.venv``. Calls of the interpreter and instructions (by ``valgrind
--tool=callgrind``) are counts, nearly the same on a busy machine; times are not, for them run the
other benchmarks in both checkouts. Both counts are of one unit more: what N and 2 N units cost, so
that the start of the process is not in it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.paced import Load
from benchmarks.redis_costs import Cost, Subject
from tests.stores.servers import running_server

HERE: Final = Path(__file__).resolve().parents[1]
UNITS: Final = {"poll": 400, "delta": 20_000, "batch": 400, "event": 2_000, "wsgi-poll": 400}
ROUNDS: Final = 3
RATES: Final = (50.0, 400.0)  # deltas a second
SECONDS: Final = 10.0  # of a stream


class Tree:
    """A checkout, and what its library needs for some work."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._python = str(root / ".venv/bin/python")

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self._environment, cwd=HERE, capture_output=True, text=True, check=True
        )

    @property
    def _environment(self) -> dict[str, str]:
        # The work is this checkout's, the library is that of the tree.
        paths = (self._root, self._root / "adapters", HERE)
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "PYTHONHASHSEED": "0",
        }

    def calls(self, kind: str, times: int) -> int:
        """Of the interpreter."""
        script = str(HERE / "benchmarks/workload.py")
        return int(self._run(self._python, script, kind, str(times), "--calls").stdout)

    def instructions(self, kind: str, times: int) -> int:
        """Of the whole process."""
        with tempfile.TemporaryDirectory() as folder:
            out = f"--callgrind-out-file={folder}/out"
            script = str(HERE / "benchmarks/workload.py")
            valgrind = ("valgrind", "--tool=callgrind", out)
            said = self._run(*valgrind, self._python, script, kind, str(times)).stderr
        found = re.search(r"Collected : (\d+)", said)
        assert found is not None, said
        return int(found[1])

    def redis_cost(self, load: Load) -> Cost:
        """Of a delta, at that rate, with a server for it alone."""
        subject = Subject((self._python, "-m", "benchmarks.recording_process"), ("0",))
        with running_server() as server, chdir(self._root):
            return subject.cost(server, load)


def of_one(count: Callable[[str, int], int], kind: str, times: int) -> float:
    """What one unit more costs, by ``count(kind, times)``: the median of some rounds."""
    rounds = [(count(kind, 2 * times) - count(kind, times)) / times for _ in range(ROUNDS)]
    return median(rounds)


def row(name: str, other: float, this: float) -> None:
    """One line: both figures, and the change."""
    print(f"  {name:<34}  {other:>14,.1f}  {this:>14,.1f}  {100 * (this / other - 1):>+7.2f} %")


def compare(other: Tree, this: Tree, *, instructions: bool, redis: bool) -> None:
    """Print all rows."""
    print(f"  {'':<34}  {'the other':>14}  {'this one':>14}")
    for kind, times in UNITS.items():
        row(f"calls of a {kind}", of_one(other.calls, kind, times), of_one(this.calls, kind, times))
    for kind, times in UNITS.items() if instructions else ():
        counts = (of_one(tree.instructions, kind, times) for tree in (other, this))
        row(f"instructions of a {kind}", *counts)
    for rate in RATES if redis else ():
        load = Load(int(SECONDS * rate), rate)
        costs = [other.redis_cost(load), this.redis_cost(load)]
        for field in ("bytes_in", "bytes_out", "calls", "cpu", "whole_cpu"):
            name = f"Redis, {field} a delta at {rate:g}/s"
            row(name, *(float(getattr(cost, field)) for cost in costs))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("other", type=Path)
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("--redis", action="store_true")
    given = parser.parse_args(sys.argv[1:])
    compare(
        Tree(given.other.resolve()), Tree(HERE), instructions=given.instructions, redis=given.redis
    )


if __name__ == "__main__":
    main()
