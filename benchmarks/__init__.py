"""One script for each question. One: ``python -m benchmarks.NAME``; all: ``make bench``.

Each prints a table of medians over several rounds: ours, and what bounds it, in the same run.
"""
