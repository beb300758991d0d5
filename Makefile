# Every target works from a fresh clone: what it needs is set up first, and set up once.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 2
export XDG_RUNTIME_DIR ?= $(or $(TMPDIR),/tmp)

.PHONY: help setup demo serve test test-unit test-tools check format bench chaos lock schema docs

help: ## What there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(STAMP): requirements/dev.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked requirements into $(VENV) (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(STAMP) ## The environment alone

demo: $(STAMP) ## The main job for real, on an embedded database, in under 30 s
	@$(BIN)/hdr-responder demo

serve: $(STAMP) ## The service on the embedded database with the shipped documents
	@$(BIN)/hdr-responder serve

test-tools: $(STAMP) ## The real services that the tests run against (built once, then cached)
	@scripts/test-tools.sh

test: test-tools ## All tests, real services included
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests

test-unit: $(STAMP) ## The tests that need no service, in seconds
	@$(BIN)/python -m pytest -n $(WORKERS) tests/unit

check: $(STAMP) ## Formatter, linter, types, import layers, documents and their tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/hdr-responder check
	@$(BIN)/hdr-responder test playbooks/

format: $(STAMP) ## Format and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: test-tools ## The benchmarks, as ratios measured in one run
	@$(BIN)/python -m tests.bench

chaos: test-tools ## The long fault-injection profile
	@HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests -m "chaos or not chaos"

schema: $(STAMP) ## The JSON Schemas that editors use
	@$(BIN)/hdr-responder schema --write docs/schema

docs: $(STAMP) ## The tables in docs/ that are generated from the code
	@$(BIN)/python -m tests.unit.docs.generated

lock: $(STAMP) ## Lock the requirements again, by hash
	@$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --python-version 3.11 --no-header --no-emit-index-url --no-annotate --extra embedded pyproject.toml -o requirements/runtime.txt
	@$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --python-version 3.11 --no-header --no-emit-index-url --no-annotate --extra embedded --group dev pyproject.toml -o requirements/dev.txt
