"""What does a delta cost in Redis and in CPU, ours and with LiteLLM's own polling handler?

Each run records in a fresh process, alone on the server. The CPU time is that of the process less
what sleeping and waking up for each delta costs without any work (``benchmarks.spending``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import attrgetter
from statistics import linear_regression
from typing import Final

from benchmarks.paced import Load
from benchmarks.redis_costs import Cost, Subject, ours
from benchmarks.table import show
from tests.stores.servers import Server

__all__ = ("measure", "measure_growth")

LOADS: Final = (
    Load(250, 50),
    Load(500, 100),
    Load(2000, 200),
    Load(8000, 400),
    Load(500, 100, responses=20),
)
A_THIRD: Final = "target: at most a third of LiteLLM's"
A_TENTH: Final = "target for 8,000: at most a tenth of LiteLLM's"
KINDS: Final = (
    ("CPU of the recording process", "cpu", "us a delta", A_THIRD),
    ("The same with the stream itself", "whole_cpu", "us a delta", ""),
    ("Bytes to and from Redis", "traffic", "bytes a delta", A_TENTH),
    ("Bytes to Redis", "bytes_in", "bytes a delta", ""),
    ("Bytes from Redis", "bytes_out", "bytes a delta", ""),
    ("Commands sent to Redis", "calls", "commands a delta", ""),
)
LENGTHS: Final = (500, 2000, 8000, 32_000)
FASTER: Final = 10  # the batches of 400 deltas a second, in a tenth of the time
EXPONENT: Final = 1.05


def measure(subjects: Mapping[str, Subject], server: Server, *, rounds: int) -> None:
    """Print a table for each kind of cost, at each pace."""
    costs: dict[str, list[Cost]] = {}
    for _ in range(rounds):
        for load in LOADS:
            for name, subject in subjects.items():
                row = f"{load.responses} x {load.deltas:,} deltas at {load.a_second}/s, {name}"
                costs.setdefault(row, []).append(subject.cost(server, load))
    for title, field, unit, target in KINDS:
        results = {row: [*map(attrgetter(field), found)] for row, found in costs.items()}
        of_ours = [row for row in results if row.endswith("ours")]
        show(title, results, unit=unit, targets=dict.fromkeys(of_ours, target))


def measure_growth(server: Server, *, rounds: int) -> None:
    """Print the table of bytes for longer and longer responses."""
    results: dict[str, list[float]] = {f"{length:,} deltas": [] for length in LENGTHS}
    exponents: list[float] = []
    for _ in range(rounds):
        of_round = [_bytes(server, length) for length in LENGTHS]
        for length, total in zip(LENGTHS, of_round, strict=True):
            results[f"{length:,} deltas"].append(total / length)
        exponents.append(_exponent(LENGTHS, of_round))
    show("Bytes to and from Redis, batches of 20 deltas", results, unit="bytes a delta")
    show(
        "They grow with the number of deltas to the power of",
        {"exponent": exponents},
        unit="1 is linear",
        targets={"exponent": f"target: at most {EXPONENT}"},
    )


def _bytes(server: Server, deltas: int) -> float:
    subject = ours(flush_interval=0.05 / FASTER)
    cost = subject.cost(server, Load(deltas, 400 * FASTER))
    return cost.traffic * deltas


def _exponent(lengths: Sequence[int], totals: Sequence[float]) -> float:
    """The slope of the line through the logarithms."""
    slope, _ = linear_regression([*map(math.log, lengths)], [*map(math.log, totals)])
    return slope
