# Everything a newcomer needs: `make demo` and `make test`. Both make their own environment in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

LITELLM := .venv-litellm
LITELLM_READY := $(LITELLM)/.ready
# The lower end of the range in pyproject.toml.
LITELLM_OLDEST := 1.106.0
OLDEST := .venv-litellm-oldest
OLDEST_READY := $(OLDEST)/.ready

.PHONY: help demo test test-litellm test-litellm-oldest test-litellm-alone soak fuzz check format bench bench-litellm clean

help:
	@echo "make demo    run the main job: sidecar, background response, resume, cancel, delete"
	@echo "make test    run all tests"
	@echo "make test-litellm   run the tests with a real LiteLLM proxy, in an environment of their own"
	@echo "make test-litellm-oldest   the same with the oldest LiteLLM that is supported"
	@echo "make soak    run the tests of faults at their full lengths"
	@echo "make fuzz    run the fuzzers for ten minutes each"
	@echo "make check   format, lint and type checks"
	@echo "make bench   run the benchmarks and print their tables"
	@echo "make bench-litellm  run those that need LiteLLM, and draw their picture"
	@echo "make format  rewrite the sources in the project's format"

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=24'
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $(READY)

demo: $(READY)
	$(BIN)/response-cache demo

test: $(READY)
	$(BIN)/python -m pytest
	@echo "The tests with a real LiteLLM proxy are separate: make test-litellm"

$(LITELLM_READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(LITELLM)
	$(LITELLM)/bin/python -m pip install --quiet --upgrade 'pip>=24'
	$(LITELLM)/bin/python -m pip install --quiet --editable '.[litellm-test]'
	@touch $(LITELLM_READY)

test-litellm: $(LITELLM_READY)
	$(LITELLM)/bin/python -m pytest tests/litellm

$(OLDEST_READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --upgrade 'pip>=24'
	$(OLDEST)/bin/python -m pip install --quiet --editable '.[litellm-test]' 'litellm[proxy]==$(LITELLM_OLDEST)'
	@touch $(OLDEST_READY)

test-litellm-oldest: $(OLDEST_READY)
	$(OLDEST)/bin/python -m pytest tests/litellm

# What LiteLLM does without us, under the same configuration: most of these tests fail, and say how.
test-litellm-alone: $(LITELLM_READY)
	RESPONSE_CACHE_LITELLM_ALONE=1 $(LITELLM)/bin/python -m pytest tests/litellm

soak: $(READY)
	$(BIN)/python -m pytest -m soak --durations=0

FUZZ_SECONDS ?= 600
fuzz: $(READY)
	$(BIN)/python -m tests.fuzz.campaign $(FUZZ_SECONDS)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)
	$(BIN)/python -m benchmarks

# Beside LiteLLM: its handler alone for the costs of a delta, and the whole proxy. Takes half an hour.
bench-litellm: $(READY) $(LITELLM_READY)
	$(LITELLM)/bin/python -m pip install --quiet matplotlib
	$(BIN)/python -m benchmarks.stores
	$(LITELLM)/bin/python -m benchmarks.litellm_proxy build/litellm.json
	$(LITELLM)/bin/python -m benchmarks.litellm_plot build/litellm.json docs/litellm-benchmark.svg

clean:
	rm -rf $(VENV) $(LITELLM) $(OLDEST) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
