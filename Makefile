# `make demo` and `make test` work on a fresh checkout; after either, .venv/bin/leveret is the program.
# demo needs python3 (3.11 or newer) with its venv module, and PyPI; test needs real servers too, see `.ci/servers`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
TEST_WORKERS ?= 3
BENCH_ARGS ?=
PROFILE_ARGS ?=
TORTURE_STATES ?= 2000
DIFFERENTIAL_SEQUENCES ?= 5000
FUZZ_SECONDS ?= 60
DEMO_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup test-setup servers demo check fmt test compiled test-compiled bench profile torture differential \
	fuzz clean

help:
	@echo "make setup       .venv with Leveret in it, editable"
	@echo "make demo        a fleet, a bad link, a SIGKILL, and a table of what arrived (DEMO_ARGS=...)"
	@echo "make check       ruff, formatting, mypy"
	@echo "make fmt         mend what ruff can mend"
	@echo "make test        the whole suite against real servers, with coverage (PYTEST_ARGS=...)"
	@echo "make test-setup  what the tests need: Python packages, RabbitMQ, Mosquitto, Toxiproxy, clients"
	@echo "make compiled    the build whose hot modules are compiled, in build/compiled"
	@echo "make test-compiled  the tests of what is compiled, on that build (PYTEST_ARGS=...)"
	@echo "make bench       Leveret beside RabbitMQ, Mosquitto and amqtt (BENCH_ARGS='--full'; --help shows all)"
	@echo "make profile     where the time goes, by py-spy and perf (PROFILE_ARGS='--works amqp-fill'; --help shows all)"
	@echo "make torture     thousands of power cuts, simulated (TORTURE_STATES=... for each of the workloads)"
	@echo "make differential  thousands of random operations compared with RabbitMQ's answers (DIFFERENTIAL_SEQUENCES=...)"
	@echo "make fuzz        the codecs under a fuzzer guided by coverage, FUZZ_SECONDS=60 for each target"
	@echo "make clean       remove what was built, .venv included"

setup: $(VENV)/.setup

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Leveret needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
		|| { echo "This Python has no ensurepip; install python3-venv (Debian: apt install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.setup: $(VENV)/.created pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.test-setup: $(VENV)/.created pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ $(VENV)/.setup

$(VENV)/.bench-setup: $(VENV)/.test-setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,bench]'
	@touch $@

servers:
	@bash .ci/servers
	@bash .ci/clients

test-setup: $(VENV)/.test-setup servers

demo: setup
	$(BIN)/leveret demo $(DEMO_ARGS)

check: $(VENV)/.test-setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fmt: $(VENV)/.test-setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Most tests wait for servers, links and disks, so three at a time fill two cores; a file's tests stay together, because
# they share servers. The coverage floor counts for the whole suite only.
test: test-setup
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --cov $(if $(PYTEST_ARGS),--cov-fail-under=0) $(PYTEST_ARGS)

# The installed tree, as LEVERET_COMPILE=1 pip install . gives it, outside of the sources.
COMPILED := build/compiled
SOURCES := $(shell find edge mqtt shovel federation -name '*.py') hatch_build.py pyproject.toml

compiled: $(COMPILED)/.built

$(COMPILED)/.built: $(VENV)/.setup $(SOURCES)
	rm -rf $(COMPILED)
	LEVERET_COMPILE=1 $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(COMPILED) .
	@touch $@

# From a copy of the tests beside the compiled tree: beside the sources these would be imported.
COMPILED_TESTS := tests/unit tests/wire tests/property tests/interop tests/differential

test-compiled: compiled test-setup
	rm -rf $(addprefix $(COMPILED)/,tests configs deploy docs)
	cp -r tests configs deploy docs pyproject.toml *.md $(COMPILED)
	ln -sfn $(CURDIR)/.tools $(COMPILED)/.tools
	cd $(COMPILED) && LEVERET_TEST_COMPILED=1 $(CURDIR)/$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile $(or $(PYTEST_ARGS),$(COMPILED_TESTS))

# Under ten minutes; BENCH_ARGS=--full for more rounds and larger sizes. Leave the machine alone meanwhile.
bench: $(VENV)/.bench-setup compiled servers
	$(BIN)/python -m tests.bench $(BENCH_ARGS)

profile: $(VENV)/.bench-setup compiled servers
	$(BIN)/python -m tests.bench.profile $(PROFILE_ARGS)

torture: test-setup
	LEVERET_TORTURE_STATES=$(TORTURE_STATES) $(BIN)/python -m pytest tests/durability $(PYTEST_ARGS)

differential: test-setup
	LEVERET_DIFFERENTIAL_SEQUENCES=$(DIFFERENTIAL_SEQUENCES) $(BIN)/python -m pytest tests/differential $(PYTEST_ARGS)

# Linux on x86-64 only, where Atheris has wheels. What it finds is in build/fuzz, and so is the corpus for the next run.
fuzz: $(VENV)/.test-setup
	$(BIN)/python -m tests.fuzz $(FUZZ_SECONDS)

clean:
	rm -rf $(VENV) .tools .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
