"""Is folding linear? The cost of one delta in a text of 2,000 and of 200,000."""

from __future__ import annotations

import copy
import time

from benchmarks.sample import DELTA_HEAD, QUEUED, delta
from benchmarks.table import interleaved, show
from response_cache._fold.reducer import Fold

SMALL = 2_000
LARGE = 200_000


def measure(deltas: int) -> float:
    """Nanoseconds a delta, the final join included."""
    fold = Fold(copy.deepcopy(QUEUED))
    for event in DELTA_HEAD:
        fold.apply(event)
    events = [delta(number) for number in range(SMALL)]  # few, so that reading them costs the same
    start = time.perf_counter_ns()
    for _ in range(deltas // SMALL):
        for event in events:
            fold.apply(event)
    text = fold.response()["output"][0]["content"][0]["text"]
    took = time.perf_counter_ns() - start
    assert len(text) == 5 * deltas
    return took / deltas


def main() -> None:
    """Print the table."""
    results = interleaved(
        {"2,000 deltas": lambda: measure(SMALL), "200,000 deltas": lambda: measure(LARGE)},
        rounds=7,
    )
    show(
        "Folding deltas into one text",
        results,
        unit="ns a delta",
        targets={"200,000 deltas": "target: at most twice the row above"},
    )


if __name__ == "__main__":
    main()
