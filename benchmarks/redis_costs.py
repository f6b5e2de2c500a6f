"""What one response costs, in CPU of the process that records it and in bytes of its Redis."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.paced import Load
from tests.stores.servers import Server

__all__ = ("PEERS_PYTHON", "Cost", "Subject", "ours", "peer", "the_peers_python")

PEERS_PYTHON: Final = Path(".venv-litellm/bin/python")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of recorded responses, divided by their deltas."""

    cpu: float  # microseconds, without those of the stream itself
    whole_cpu: float
    bytes_in: float  # to the server
    bytes_out: float
    calls: float  # commands that went over the wire

    @property
    def traffic(self) -> float:
        """Bytes in both directions."""
        return self.bytes_in + self.bytes_out


@dataclass(frozen=True, slots=True)
class Subject:
    """A program that records responses and measures itself (``paced.measure_alone``)."""

    command: Sequence[str]
    options: Sequence[str] = ()

    def cost(self, server: Server, load: Load) -> Cost:
        """Run it once, alone on *server*."""
        deltas = load.deltas * load.responses
        command = [*self.command, server.url, *self.options, *load.words]
        with (
            server.client() as client,
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            ) as process,
        ):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", f"{command} failed"
            client.config_resetstat()
            said, _ = process.communicate("go\n", timeout=300)
            stats, commands = client.info("stats"), client.info("commandstats")
        spent = json.loads(said)
        return Cost(
            cpu=spent["net"] / deltas * 1e6,
            whole_cpu=spent["whole"] / deltas * 1e6,
            bytes_in=stats["total_net_input_bytes"] / deltas,
            bytes_out=stats["total_net_output_bytes"] / deltas,
            calls=_calls(commands) / deltas,
        )


def ours(flush_interval: float = 0) -> Subject:
    """This library; a flush interval of 0 stands for its default."""
    command = (sys.executable, "-m", "benchmarks.recording_process")
    return Subject(command, (f"{flush_interval:g}",))


def peer(python: Path) -> Subject:
    """LiteLLM's polling handler, run by *python*."""
    return Subject((str(python), "-m", "benchmarks.litellm_handler"))


def the_peers_python(given: Path | None) -> Path | None:
    """The interpreter that has LiteLLM; without one says how to get it."""
    if given is None and PEERS_PYTHON.exists():
        return PEERS_PYTHON
    if given is None:
        folder = PEERS_PYTHON.parent.parent
        print(
            f"LiteLLM's rows are left out; for them: python -m venv {folder} && "
            f"{folder}/bin/pip install 'litellm[proxy]'"
        )
    return given


# What is called inside scripts alone, or by whoever looks; the rest came over the wire.
# fmt: off
_OF_SCRIPTS: Final = frozenset((
    "time", "exists", "type", "unlink", "pexpireat", "hdel", "hmget", "hset", "xadd", "xrange",
    "xlen", "publish",
))
# fmt: on
_OF_LOOKERS: Final = frozenset(("info", "config|resetstat"))


def _calls(commands: dict[str, dict[str, int]]) -> int:
    by_name = {name.removeprefix("cmdstat_"): count["calls"] for name, count in commands.items()}
    in_scripts = _OF_SCRIPTS | {"get", "set"} if "evalsha" in by_name else frozenset[str]()
    return sum(by_name[name] for name in by_name.keys() - in_scripts - _OF_LOOKERS)
