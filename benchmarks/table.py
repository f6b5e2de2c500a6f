"""Medians over rounds, and how they are printed."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from statistics import median

__all__ = ("interleaved", "show")


def interleaved(
    measures: Mapping[str, Callable[[], float]], *, rounds: int
) -> dict[str, list[float]]:
    """Each measure once a round, in turn, so that a busy moment of the machine hits all alike."""
    results: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            results[name].append(measure())
    return results


def show(
    title: str,
    results: Mapping[str, list[float]],
    *,
    unit: str,
    targets: Mapping[str, str] | None = None,
) -> None:
    """Print one row for each measure: median, best and worst, in *unit*."""
    machine = f"Python {platform.python_version()}, {os.cpu_count()} CPUs"
    print(f"\n{title} ({unit}; median of {len(next(iter(results.values())))}; {machine})")
    width = max(map(len, results))
    for name, values in results.items():
        target = (targets or {}).get(name, "")
        low, high = min(values), max(values)
        print(f"  {name:<{width}}  {median(values):>12,.2f}  [{low:,.2f} .. {high:,.2f}]  {target}")
