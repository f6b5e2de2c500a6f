"""Runs the fuzzers for as long as somebody wants to wait.

    python -m tests.fuzz.campaign 600        # seconds, for each property

Each round takes a new seed, which is printed when a property fails.
"""

from __future__ import annotations

import logging
import random
import sys
import time
from collections.abc import Callable

import hypothesis

from tests.fuzz.test_answers import test_any_answer_becomes_a_well_formed_log
from tests.fuzz.test_requests import test_no_request_breaks_a_promise

PROPERTIES = (test_any_answer_becomes_a_well_formed_log, test_no_request_breaks_a_promise)


def run(prove: Callable[[], None], seconds: float) -> int:
    """Try *prove* for *seconds* with one seed after the other; the number of rounds."""
    rounds, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        seed = random.getrandbits(64)
        try:
            hypothesis.seed(seed)(prove)()
        except BaseException:
            print(f"{prove.__name__} failed with seed {seed}")
            raise
        rounds += 1
    return rounds


def main() -> None:
    logging.disable(logging.WARNING)  # which hostile input is good at
    seconds = float(sys.argv[1])
    for prove in PROPERTIES:
        rounds = run(prove, seconds)
        print(f"{prove.__name__}: {rounds} rounds in {seconds:g} s, no failure", flush=True)


if __name__ == "__main__":
    main()
