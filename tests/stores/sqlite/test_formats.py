"""Files of every format that was ever released can be read, and are brought to the present one.

``python -m tests.stores.sqlite.test_formats`` writes the sample of the present format where there
is none. A sample that was released is never written again.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import anyio
import pytest

from response_cache.errors import Deleted, StoreUnavailable
from response_cache.store import Append, Claim, NewRecord, RecordView
from response_cache.stores.sqlite import _file as sqlite_file
from response_cache.stores.sqlite._schema import FORMAT, MIGRATIONS
from response_cache.stores.sqlite._store import SQLiteStore

DATA: Final = Path(__file__).resolve().parents[2] / "data"
SAMPLES: Final = sorted(DATA.glob("sqlite-format-*.db"))
WRITTEN: Final = 1_000_000.0  # the time of the samples
LEASE: Final = 60.0
TTL: Final = 3600.0
END: Final = Append(
    events=[b"end"],
    token="token",
    snapshot=b"final",
    status="completed",
    close=True,
    ttl=TTL,
    stream_ttl=TTL / 2,
)


def store_at(path: Path, now: float) -> SQLiteStore:
    return SQLiteStore(path, clock=lambda: now)


async def create(store: SQLiteStore, id: str) -> Claim:
    new = NewRecord(
        id=id,
        incarnation="first",
        header=b"header of " + id.encode(),
        request=b"request of " + id.encode(),
        snapshot=b"snapshot",
        events=[b"0", b"1"],
        status="queued",
        ttl=TTL,
        private=b"private of " + id.encode(),
        owner="owner",
        label="model",
    )
    return await store.create(new, LEASE)


async def write_sample(path: Path) -> None:
    """One response that is open and was taken, one that is closed, one that was deleted."""
    store = store_at(path, WRITTEN)
    await store.open()
    claim = await create(store, "resp_open")
    more = Append(events=[b"2", bytes(range(256))], token="token", notes=b"notes", ttl=TTL)
    await store.append(claim, more, LEASE)
    await store.take("resp_open", lease=LEASE)
    claim = await create(store, "resp_closed")
    await store.append(claim, END, LEASE)
    await create(store, "resp_deleted")
    await store.delete("resp_deleted")
    await store.aclose()


async def view_of(store: SQLiteStore, id: str, *, after: int | None = None) -> RecordView:
    view = await store.read(id, after=after)
    assert view is not None
    return view


async def check_sample(path: Path) -> None:
    """All that ``write_sample`` has written is there, and can be gone on with."""
    store = store_at(path, WRITTEN + 10)
    await store.open()
    assert await view_of(store, "resp_open", after=-1) == RecordView(
        id="resp_open",
        incarnation="first",
        epoch=2,
        status="queued",
        header=b"header of resp_open",
        notes=b"notes",
        snapshot=None,
        snapshot_through=1,
        first=0,
        events=[b"0", b"1", b"2", bytes(range(256))],
        tail=4,
        closed=False,
        orphaned=False,
        log_expired=False,
    )
    assert (await view_of(store, "resp_open")).snapshot == b"snapshot"
    assert await store.request("resp_open") == b"request of resp_open"
    claim = Claim("resp_open", "first", 2, tail=4)
    await store.append(claim, Append(events=[b"more"], token="next", ttl=TTL), LEASE)
    assert (await store.take("resp_open", lease=LEASE)).private == b"private of resp_open"
    repeated = await store.append(Claim("resp_closed", "first", 1, tail=2), END, LEASE)
    assert repeated.claim.tail == 3
    closed = await view_of(store, "resp_closed")
    assert (closed.closed, closed.status, closed.snapshot) == (True, "completed", b"final")
    assert list((await view_of(store, "resp_closed", after=-1)).events) == [b"0", b"1", b"end"]
    with pytest.raises(Deleted):
        await create(store, "resp_deleted")
    await store.aclose()
    later = store_at(path, WRITTEN + TTL / 2 + 1)
    await later.open()
    assert (await view_of(later, "resp_open")).orphaned
    assert (await view_of(later, "resp_closed")).log_expired
    await later.aclose()


def format_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        (format,) = connection.execute("PRAGMA user_version").fetchone()
    return int(format)


def test_there_is_a_sample_of_every_format() -> None:
    assert [format_of(path) for path in SAMPLES] == list(range(1, FORMAT + 1))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
async def test_a_released_file_can_be_read_and_written(sample: Path, tmp_path: Path) -> None:
    path = tmp_path / "responses.db"
    shutil.copyfile(sample, path)
    await check_sample(path)
    assert format_of(path) == FORMAT


async def test_what_is_written_now_is_what_the_sample_checks(tmp_path: Path) -> None:
    path = tmp_path / "responses.db"
    await write_sample(path)
    await check_sample(path)


def pretend(monkeypatch: pytest.MonkeyPatch, *steps: Sequence[str]) -> None:
    """Be a later release, with *steps* more."""
    monkeypatch.setattr(sqlite_file, "MIGRATIONS", (*MIGRATIONS, *steps))
    monkeypatch.setattr(sqlite_file, "FORMAT", FORMAT + len(steps))


async def test_a_later_release_brings_the_file_to_its_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "responses.db"
    await write_sample(path)
    pretend(
        monkeypatch,
        ["ALTER TABLE record ADD COLUMN colour TEXT", "UPDATE record SET colour = 'red'"],
        ["CREATE INDEX record_colour ON record (colour)"],
    )
    await check_sample(path)
    assert format_of(path) == FORMAT + 2
    monkeypatch.undo()
    with pytest.raises(StoreUnavailable, match="newer release"):
        await store_at(path, WRITTEN).open()


async def test_a_step_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "responses.db"
    await write_sample(path)
    pretend(monkeypatch, ["ALTER TABLE record ADD COLUMN colour TEXT", "SELECT nonsense"])
    with pytest.raises(StoreUnavailable, match="no such column: nonsense"):
        await store_at(path, WRITTEN).open()
    assert format_of(path) == FORMAT
    monkeypatch.undo()
    await check_sample(path)


if __name__ == "__main__":
    sample = DATA / f"sqlite-format-{FORMAT}.db"
    assert not sample.exists(), f"{sample} is there"
    anyio.run(write_sample, sample)
