# `make help` lists the targets. Everything runs from .venv, which `make setup` makes from the hash-locked
# requirements when they changed.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
VENV := .venv
RUN := $(VENV)/bin
# More arguments for pytest: make test PYTEST="-k refund"
PYTEST ?=
# Arguments for the bench: make bench BENCH="--api-processes 2"; see bench/README.md
BENCH ?=
# Tests start servers of their own per pytest process; two fit two cores.
TEST_PROCESSES ?= 2
COMPILE = pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe \
	--no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links

.PHONY: help
help: ## Lists the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 26

.PHONY: setup
setup: $(VENV)/.ready ## Makes .venv, or renews it when the locked requirements changed

.PHONY: dev
dev: setup ## Starts the whole product on loopback until Ctrl-C
	@exec $(RUN)/python -m devstack

.PHONY: dev-reset
dev-reset: setup ## Forgets everything that `make dev` keeps in .payonce
	@$(RUN)/python -m devstack reset

.PHONY: test
test: setup ## Runs every test (PYTEST="…" adds arguments, TEST_PROCESSES=0 uses one process)
	$(RUN)/python -m pytest -n $(TEST_PROCESSES) --dist loadscope $(PYTEST)

.PHONY: lint
lint: setup ## Checks style, types and the direction of imports
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports

.PHONY: format
format: setup ## Formats the code
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

.PHONY: bench
bench: setup $(VENV)/.bench ## Measures cost and latency beside the baselines (BENCH="--quick" for seconds only)
	$(RUN)/python -m bench $(BENCH)

.PHONY: record-histories
record-histories: setup ## Records tests/replay/histories anew from a real server
	$(RUN)/python -m tests.replay.record

.PHONY: lock
lock: ## Resolves pyproject.toml into the hash-locked requirements files
	@directory=$$(mktemp -d) && trap 'rm -rf "$$directory"' EXIT && set -e && \
	$(PYTHON) -m venv "$$directory/venv" && "$$directory/venv/bin/python" -m pip install -q pip-tools && \
	export PATH="$$directory/venv/bin:$$PATH" && \
	$(COMPILE) -o requirements.txt pyproject.toml && \
	$(COMPILE) --extra stack -c requirements.txt -o requirements-stack.txt pyproject.toml && \
	$(COMPILE) --extra stack --extra dev -c requirements-stack.txt -o requirements-dev.txt pyproject.toml && \
	$(COMPILE) --extra bench -c requirements-dev.txt -o requirements-bench.txt pyproject.toml && \
	$(COMPILE) --only-build-deps --build-deps-for wheel -c requirements-dev.txt \
		-o requirements-build.txt pyproject.toml

.PHONY: clean
clean: ## Removes the environment and every cache; keeps .payonce
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.ready: $(VENV)/.locked pyproject.toml
	@echo "installing payonce into $(VENV)"
	@$(RUN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.bench: $(VENV)/.locked requirements-bench.txt
	@echo "installing what the bench draws with into $(VENV)"
	@$(RUN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.txt
	@touch $@

$(VENV)/.locked: requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || \
		{ echo "payonce needs Python 3.11, and $(PYTHON) is not: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "making $(VENV) from requirements-dev.txt (a minute, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(RUN)/python -m pip install --disable-pip-version-check --progress-bar off --require-hashes \
		-r requirements-dev.txt | sed -nE 's/^Collecting ([^ ]+).*/  \1/p; s/^Installing.*/  installing/p'; \
		exit $${PIPESTATUS[0]}
	@touch $@
