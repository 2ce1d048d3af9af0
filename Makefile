# `make help` lists the targets. Everything runs from .venv, which is made from the hash-locked requirements and
# renewed when they changed: `make dev` installs what it runs with, the other targets what they need besides.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
# An interpreter that starts compiles all of payonce otherwise: two seconds, some hundred times in the tests.
unexport PYTHONDONTWRITEBYTECODE

# The newest on which the product and most tests have run comes first (CI has 3.11); for 3.14 every locked package has a
# wheel, and that is all we know.
PYTHON ?= $(shell for one in python3.13 python3.12 python3.11 python3.14 python3 python; do \
	$$one -c '$(IS_FIT)' 2>/dev/null && echo $$one && break; done)
IS_FIT = import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))
NEEDED = payonce needs Python 3.11 to 3.14 with venv (Debian, Ubuntu: apt-get install python3 python3-venv)
VENV := .venv
RUN := $(VENV)/bin
SERVER := $(VENV)/temporal-server
# More arguments for pytest: make test PYTEST="-k refund"
PYTEST ?=
# Arguments for the bench: make bench BENCH="--api-processes 2"; see bench/README.md
BENCH ?=
TEMPORAL = v1.32.1
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
dev: $(VENV)/.stack ## Starts the whole product on loopback until Ctrl-C
	@exec $(RUN)/python -m devstack

.PHONY: dev-reset
dev-reset: $(VENV)/.stack ## Forgets everything that `make dev` keeps in .payonce
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
bench: $(VENV)/.bench $(SERVER)/.built ## Measures cost and latency beside the baselines (BENCH="--quick" for seconds only)
	$(RUN)/python -m bench $(BENCH)

.PHONY: bench-development
bench-development: $(VENV)/.bench ## The same against Temporal's development server, without Go
	$(RUN)/python -m bench --temporal development $(BENCH)

.PHONY: record-histories
record-histories: setup ## Records tests/replay/histories anew from a real server
	$(RUN)/python -m tests.replay.record

.PHONY: lock
lock: PYTHON = python3.11  # the oldest: some packages need others only there
lock: ## Resolves pyproject.toml into the hash-locked requirements files
	@directory=$$(mktemp -d) && trap 'rm -rf "$$directory"' EXIT && set -e && \
	$(PYTHON) -m venv "$$directory/venv" && "$$directory/venv/bin/python" -m pip install -q pip-tools && \
	export PATH="$$directory/venv/bin:$$PATH" && \
	$(COMPILE) -o requirements.txt pyproject.toml && \
	$(COMPILE) --extra stack -c requirements.txt -o requirements-stack.txt pyproject.toml && \
	$(COMPILE) --extra receipts -c requirements-stack.txt -o requirements-receipts.txt pyproject.toml && \
	$(COMPILE) --extra stack --extra receipts --extra dev -c requirements-stack.txt -c requirements-receipts.txt \
		-o requirements-dev.txt pyproject.toml && \
	$(COMPILE) --extra bench -c requirements-dev.txt -o requirements-bench.txt pyproject.toml && \
	$(COMPILE) --only-build-deps --build-deps-for wheel -c requirements-dev.txt \
		-o requirements-build.txt pyproject.toml

.PHONY: clean
clean: ## Removes the environment and every cache; keeps .payonce
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What both need comes with the second, so that it is installed once.
$(VENV)/.stack: requirements-stack.txt pyproject.toml
	$(call install,requirements-stack.txt)
	@touch $@

$(VENV)/.ready: requirements-dev.txt pyproject.toml
	$(call install,requirements-dev.txt)
	@touch $(VENV)/.stack $@

$(VENV)/.bench: requirements-bench.txt $(VENV)/.ready
	@echo "installing what the bench draws with into $(VENV)"
	@$(PIP) install --quiet --require-hashes -r requirements-bench.txt
	@touch $@

NO_GO = Go 1.26 builds the Temporal server of the bench, and is not here; make bench-development does without

# Production's Temporal server, which no wheel has. Go's checksum database vouches for the modules.
$(SERVER)/.built: $(VENV)/.ready
	@[ "$$(cat $@ 2>/dev/null)" = "$(TEMPORAL)" ] && { touch $@; exit; }; \
	command -v go >/dev/null || { echo "$(NO_GO)" >&2; exit 1; }; \
	echo "building Temporal $(TEMPORAL) into $(SERVER) (about five minutes, once)"; \
	GOBIN="$(abspath $(SERVER))" go install go.temporal.io/server/cmd/server@$(TEMPORAL) \
		go.temporal.io/server/cmd/tools/sql@$(TEMPORAL) && echo "$(TEMPORAL)" > $@

PIP = $(RUN)/python -m pip --disable-pip-version-check

# A .venv of another Python is made anew.
define install
	@python="$(PYTHON)"; "$${python:-false}" -c '$(IS_FIT)' 2>/dev/null || \
		{ echo "$(NEEDED); none was found$${python:+ in $$python}. Name one: make PYTHON=/path/to/python3" >&2; exit 1; }; \
	[ "$$($(RUN)/python -V 2>/dev/null)" = "$$("$$python" -V)" ] || rm -rf $(VENV); \
	echo "making $(VENV) with $$("$$python" -V) from $(1) (a minute, once)"; \
	"$$python" -m venv $(VENV)
	@$(PIP) install --progress-bar off --require-hashes -r $(1) | \
		sed -unE 's/^Collecting ([^ ]+).*/  \1/p; s/^Installing.*/  installing/p'; exit $${PIPESTATUS[0]}
	@echo "installing payonce into $(VENV)"
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
endef
