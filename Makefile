# `make` prints what there is.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO ?= out/demo
PORT ?= 8000
WORKERS ?= 2

UV := $(or $(shell command -v uv 2>/dev/null),$(abspath $(BIN)/uv))
# Folders or pages with wheels of torch to take in place of PyPI's, which brings 3 GB of CUDA along on Linux.
# pip's own setting is the default, so that uv and pip install the same build.
TORCH_LINKS ?= $(or $(PIP_FIND_LINKS),$(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null))
NOT_FAST := slow or nightly or ray or browser or server
# One thread a process: OpenMP threads of two processes on two cores wait for each other by spinning.
PYTEST := OMP_NUM_THREADS=$(or $(OMP_NUM_THREADS),1) $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help

help:  ## print these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## a virtual environment in .venv with the tested versions (PIP=1 uses pip instead of uv)
$(STAMP): pyproject.toml uv.lock constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"Python 3.11 or newer is needed, $(PYTHON) is {v.major}.{v.minor}; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
ifdef PIP
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(addprefix --find-links ,$(TORCH_LINKS)) \
		--constraint constraints.txt --editable '.[dev]'
else
	@test -x $(UV) || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(call uv_install,dev)
endif
	@touch $@

# Install what the lock names for one extra, each file checked against its hash. With TORCH_LINKS, torch and what only
# torch needs come after the rest: the lock's hash is that of PyPI's build, so only the version is checked.
define uv_install
@links="$(TORCH_LINKS)"; export UV_COMPILE_BYTECODE=1 UV_PROJECT_ENVIRONMENT=$(VENV) VIRTUAL_ENV=$(VENV); set -e -o pipefail; \
if [ -z "$$links" ]; then \
	$(UV) sync --locked --inexact --no-install-project --extra $(1); \
else \
	$(UV) export --quiet --locked --extra $(1) --prune torch --no-emit-project --format requirements-txt > $(VENV)/requirements.txt; \
	$(UV) pip install --no-deps --require-hashes --requirement $(VENV)/requirements.txt; \
	UV_FIND_LINKS="$${links// /,}" $(UV) pip install --constraint constraints.txt torch; \
fi; \
$(UV) pip install --no-build-isolation --no-deps --editable .
endef

lock:  ## write uv.lock and constraints.txt again after a change of the dependencies in pyproject.toml
	@test -x $(UV) || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(UV) lock
	@{ head -1 constraints.txt; $(UV) export --quiet --frozen --all-extras --no-emit-project --no-hashes --no-header \
		--no-annotate --format requirements-txt | \
		sed -e "s/python_full_version < '3.15' and //" -e '/python_full_version/!s/ ;.*//'; \
	} > constraints.new && mv constraints.new constraints.txt

demo: $(STAMP)  ## the sample storefront from nothing to a running endpoint (ONCE=1 stops after three calls)
	@$(BIN)/python -m jobs.cli.demo --workspace $(DEMO) --port $(PORT) $(if $(ONCE),--once)

test: lint  ## lint, types, import rules, and all tests, in two processes
	$(PYTEST)

test-fast: $(STAMP)  ## unit tests without nightly runs, Ray, browser and servers, under 90 s
	$(PYTEST) -m 'not ($(NOT_FAST))'

coverage: $(STAMP)  ## the same with coverage; fails below the floor in pyproject.toml
	$(PYTEST) -m 'not ($(NOT_FAST))' --cov --cov-report=term:skip-covered --cov-report=html:out/coverage

durations: $(STAMP)  ## run all tests and record how long each file takes, so that the longest start first
	$(PYTEST) --record-durations

lint: $(STAMP)  ## ruff, mypy --strict and import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini
	$(BIN)/lint-imports

generated: settings client  ## regenerate what is made from the code: settings, client types, the table of files in docs
	PYTHONPATH=tests $(BIN)/python -m docs.file_table

fix: $(STAMP)  ## format, and mend what ruff can mend by itself
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

client: $(STAMP)  ## the types of both clients, generated from the API (needs Node for TypeScript)
	$(BIN)/python -m serving.generate_client

notebooks: $(STAMP)  ## Jupyter Lab on the notebooks, over the workspace DEMO
	@test -e $(DEMO)/releases/CURRENT || $(MAKE) demo ONCE=1
	@test -x $(BIN)/jupyter-lab || $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[notebooks]'
	RECSYS_WORKSPACE=$(abspath $(DEMO)) $(BIN)/jupyter lab notebooks

settings: $(STAMP)  ## regenerate recsys.toml and docs/settings.md from recsys/config/
	$(BIN)/recsys settings reference --format toml > recsys.toml.new && mv recsys.toml.new recsys.toml
	$(BIN)/recsys settings reference --format markdown > docs/settings.md.new && mv docs/settings.md.new docs/settings.md

bench: $(STAMP)  ## how long a list takes on the sample storefront, beside implicit's own
	@test -e $(DEMO)/releases/CURRENT || $(MAKE) demo ONCE=1
	$(BIN)/python tests/benchmarks/recommend_latency.py --workspace $(DEMO)

clean:  ## remove what the targets above made
	rm -rf $(VENV) out build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage

.PHONY: help setup lock demo test test-fast coverage durations lint generated client fix notebooks settings bench clean
