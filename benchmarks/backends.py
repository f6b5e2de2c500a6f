"""The stores to measure: this process's memory, a file, and a Redis that is started for it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.stores.servers import Server, running_server

__all__ = ("Backends", "backends")


@dataclass(frozen=True, slots=True)
class Backends:
    """Where responses can be kept for as long as the context lasts."""

    directory: Path
    redis: Server

    @property
    def shared(self) -> dict[str, str]:
        """URLs of those that several processes reach."""
        return {"SQLite": f"sqlite:///{self.directory / 'responses.db'}", "Redis": self.redis.url}

    @property
    def urls(self) -> dict[str, str]:
        """URLs of all."""
        return {"memory": f"memory://?max_bytes={2**30}", **self.shared}


@contextmanager
def backends() -> Iterator[Backends]:
    """All of them, empty."""
    with tempfile.TemporaryDirectory() as directory, running_server() as redis:
        yield Backends(Path(directory), redis)
