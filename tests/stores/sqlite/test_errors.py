"""What errors of SQLite and of the file system become."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from response_cache.errors import StoreFull, StoreUnavailable
from response_cache.stores.sqlite._errors import FULL, UNAVAILABLE, translating

PATH = Path("/somewhere/responses.db")


def error_of(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("SQLite's words")
    error.sqlite_errorcode = code
    return error


def translated(error: Exception) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as caught, translating(PATH):
        raise error
    assert caught.value.__cause__ is error
    return caught.value


@pytest.mark.parametrize("code", FULL)
def test_what_finds_no_room_is_a_full_store(code: int) -> None:
    error = translated(error_of(code))
    assert isinstance(error, StoreFull)
    assert str(error) == f"cannot use {PATH}: {FULL[code]} (SQLite's words)"


@pytest.mark.parametrize("code", UNAVAILABLE)
def test_what_does_not_work_is_an_unavailable_store(code: int) -> None:
    error = translated(error_of(code))
    assert not isinstance(error, StoreFull)
    assert str(error) == f"cannot use {PATH}: {UNAVAILABLE[code]} (SQLite's words)"


def test_an_extended_code_is_read_as_its_primary_one() -> None:
    error = translated(error_of(sqlite3.SQLITE_READONLY_DBMOVED))
    assert "it cannot be written" in str(error)


def test_an_unknown_code_is_an_unavailable_store_too() -> None:
    assert "it gave an error" in str(translated(error_of(sqlite3.SQLITE_INTERNAL)))


def test_an_error_of_the_directory_is_told_in_the_words_of_the_system() -> None:
    error = translated(PermissionError(13, "Permission denied"))
    assert str(error) == f"cannot use {PATH}: Permission denied"


def test_wrong_use_of_the_driver_is_passed_on() -> None:
    with pytest.raises(sqlite3.ProgrammingError), translating(PATH):
        raise sqlite3.ProgrammingError("you did not supply a value")


def test_refusals_of_a_store_are_passed_on() -> None:
    refusal = StoreFull("of another file")
    with pytest.raises(StoreFull) as caught, translating(PATH):
        raise refusal
    assert caught.value is refusal
