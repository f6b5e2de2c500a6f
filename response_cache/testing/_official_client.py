"""The ninth rule of a well-formed log: the official client reads what it folds to."""

from __future__ import annotations

from collections.abc import Iterator

from response_cache._fold.reducer import Fold
from response_cache._protocol.jsontext import JsonObject
from response_cache._protocol.wellformed.log_check import Fault, Origin, Rule
from response_cache._protocol.wellformed.log_state import LogState

__all__ = ("read_by_client",)


def read_by_client() -> Rule:
    """The rule for one log, as ``check_log(events, {9: read_by_client()})``.

    What the log folds to is read after each event, and its ``output_text`` asked for.

    Raises:
        ImportError: the package ``openai`` is not installed.
    """
    from openai._models import construct_type_unchecked
    from openai.types.responses import Response

    fold = Fold({})

    def rule(state: LogState, event: JsonObject) -> Iterator[Fault]:
        fold.apply(event)
        try:
            told: Response = construct_type_unchecked(type_=Response, value=fold.response())
            told.output_text  # noqa: B018 - a property that reads all items
        except Exception as error:  # noqa: BLE001 - whatever the client raises is a finding
            yield Origin.OURS, f"the client cannot read what it folds to: {error!r}"

    return rule
