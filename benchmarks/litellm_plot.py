"""Draws the figures that ``benchmarks.litellm_proxy`` kept: ``... FIGURES.json PICTURE.svg``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any, Final

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

COLOURS: Final = {"LiteLLM's own": "#9a9a9a", "response_cache": "#2a6fb0"}
PANELS: Final = (
    ("kilobytes", "To and from Redis, kB a response"),
    ("cpu", "CPU of the proxy, µs a delta"),
    ("polls", "Polls of a closed response, a second"),
    ("post", "POST, ms"),
)


def main() -> None:
    """Write the picture."""
    figures = json.loads(Path(sys.argv[1]).read_text())
    _, axes = plt.subplots(2, 2, figsize=(9, 6), layout="constrained")
    for axis, (name, title) in zip(axes.flat, PANELS, strict=True):
        _draw(axis, {system: _bars(of, name) for system, of in figures.items()})
        axis.set_title(title, fontsize=10)
    axes.flat[0].set_yscale("log")
    axes.flat[0].legend(fontsize=9)
    mpl.rcParams["svg.hashsalt"] = "the same picture for the same figures"
    plt.savefig(sys.argv[2], metadata={"Date": None})


def _bars(of: dict[str, Any], name: str) -> dict[str, float]:
    """The medians by what stands under them."""
    if name == "post":
        return {"median": median(of["post_p50"]), "99 of 100": median(of["post_p99"])}
    if name == "polls":
        return {"": median(of["polls"])}
    return {pace.replace(" in ", "\nin "): median(values) for pace, values in of[name].items()}


def _draw(axis: Any, systems: dict[str, dict[str, float]]) -> None:
    """Groups of bars, one of each system, with their values on them."""
    width = 0.8 / len(systems)
    for number, (system, bars) in enumerate(systems.items()):
        places = [place + number * width for place in range(len(bars))]
        drawn = axis.bar(places, bars.values(), width, label=system, color=COLOURS[system])
        axis.bar_label(drawn, fmt="%.0f", fontsize=8)
        axis.set_xticks([place + 0.4 - width / 2 for place in range(len(bars))], [*bars])
    axis.spines[["top", "right"]].set_visible(False)
    axis.margins(y=0.15)


if __name__ == "__main__":
    main()
