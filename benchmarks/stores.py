"""What do the stores do, and what do they cost? All of it in one run, with the peer's own handler.

``python -m benchmarks.stores [--rounds N] [--litellm-python PATH]``
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks import store_costs, store_delivery, store_memory, store_polling, store_throughput
from benchmarks.backends import backends
from benchmarks.redis_costs import PEERS_PYTHON, ours, peer, the_peers_python

__all__ = ("main",)


def main(arguments: Sequence[str] = ()) -> None:
    """Print the tables."""
    asked = _parsed(arguments)
    python = the_peers_python(asked.litellm_python)
    subjects = {"ours": ours()} | ({"LiteLLM": peer(python)} if python else {})
    with backends() as stores:
        store_throughput.measure(stores.urls, rounds=asked.rounds)
        store_polling.measure(stores.urls, rounds=asked.rounds)
        store_delivery.measure(stores.urls, rounds=asked.rounds)
        store_delivery.measure_a_thousand(stores.redis, rounds=asked.rounds)
        store_memory.measure(stores.urls, stores.redis, rounds=asked.rounds)
        store_costs.measure_growth(stores.redis, rounds=asked.rounds)
        store_costs.measure(subjects, stores.redis, rounds=asked.rounds)


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stores")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--litellm-python",
        type=Path,
        metavar="PATH",
        help=f"an interpreter with litellm[proxy] [default: {PEERS_PYTHON}]",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
