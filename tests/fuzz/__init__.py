"""Fuzzers: property tests on hostile input. A few examples each run; `make fuzz` runs them long."""
