# `make` prints what there is.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO ?= out/demo
PORT ?= 8000

.DEFAULT_GOAL := help

help:  ## print these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## a virtual environment in .venv with the tested versions
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"Python 3.11 or newer is needed, $(PYTHON) is {v.major}.{v.minor}; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP)  ## the sample storefront from nothing to a running endpoint (ONCE=1 stops after three calls)
	@$(BIN)/python -m jobs.cli.demo --workspace $(DEMO) --port $(PORT) $(if $(ONCE),--once)

test: lint  ## lint, types, import rules, and all tests, in two processes
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(STAMP)  ## ruff, mypy --strict and import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

generated: $(STAMP)  ## what is generated from the code: the table of files in docs/architecture.md
	PYTHONPATH=tests $(BIN)/python -m docs.file_table

notebooks: $(STAMP)  ## Jupyter Lab on the notebooks, over the workspace DEMO
	@test -e $(DEMO)/releases/CURRENT || $(MAKE) demo ONCE=1
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[notebooks]'
	RECSYS_WORKSPACE=$(abspath $(DEMO)) $(BIN)/jupyter lab notebooks

settings: $(STAMP)  ## regenerate recsys.toml and docs/settings.md from recsys/config/
	$(BIN)/recsys settings reference --format toml > recsys.toml.new && mv recsys.toml.new recsys.toml
	$(BIN)/recsys settings reference --format markdown > docs/settings.md.new && mv docs/settings.md.new docs/settings.md

bench: $(STAMP)  ## how long a list takes on the sample storefront, beside implicit's own
	@test -e $(DEMO)/releases/CURRENT || $(MAKE) demo ONCE=1
	$(BIN)/python tests/benchmarks/recommend_latency.py --workspace $(DEMO)

clean:  ## remove what the targets above made
	rm -rf $(VENV) out build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

.PHONY: help setup demo test lint generated notebooks settings bench clean
