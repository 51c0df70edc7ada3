# One command for each thing. Bare `make` lists them.
#
#   make demo ARGS=--no-serve     arguments go to the command behind the target
#
# Every target makes `.venv` first and installs the pinned, hashed requirements into it; the stamp
# `.venv/.ready` makes the second run instant.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help venv demo dev test check lint format bench lock clean

ARGS ?=
TEST_PROCESSES ?= 2
NAME ?= orders
BIN := .venv/bin
READY := .venv/.ready
CODE := src tests $(wildcard examples)

help: ## list the commands
	@printf 'Penstock\n\n'
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)$$/  make \1\t\2/' | expand -t 16
	@printf '\nARGS=… is passed on, for example: make demo ARGS=--no-serve\n'

venv: $(READY) ## make .venv with the pinned requirements (every other command does this first)

demo: $(READY) ## load the sample retailer, route its orders, print a summary and serve the API
	@$(BIN)/penstock demo $(ARGS)

dev: $(READY) ## serve your own account with readable logs
	@PENSTOCK_LOG_FORMAT=console $(BIN)/penstock serve $(ARGS)

test: $(READY) ## run the whole test suite
	@$(BIN)/pytest -n $(TEST_PROCESSES) --dist loadfile $(ARGS)

check: lint test ## everything CI runs: lint and test

lint: $(READY) ## format, lint, types, import contracts: nothing is changed
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/basedpyright --warnings
	@$(BIN)/lint-imports

format: $(READY) ## format the code and mend what ruff can mend
	@$(BIN)/ruff format $(CODE)
	@$(BIN)/ruff check --fix $(CODE)

bench: $(READY) ## run a benchmark: make bench NAME=orders ARGS=--json
	@$(BIN)/penstock bench $(NAME) $(ARGS)

lock: $(READY) ## pin requirements.in again into requirements.lock (fetches pip-tools into .venv-lock)
	@test -x .venv-lock/bin/pip-compile || { $(BIN)/python -m venv .venv-lock && \
	  .venv-lock/bin/python -m pip install --quiet --disable-pip-version-check pip-tools==7.6.2; }
	@CUSTOM_COMPILE_COMMAND='make lock' .venv-lock/bin/pip-compile --quiet --generate-hashes \
	  --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links \
	  --no-emit-trusted-host --no-emit-options --output-file requirements.lock $(ARGS) requirements.in

clean: ## remove .venv and what tools left behind (your data stays)
	@rm -rf .venv .venv-lock .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	@find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A Python of 3.11 or newer that can make virtual environments, newest tried first.
$(READY): requirements.lock pyproject.toml
	@python=''; \
	for name in python3.13 python3.12 python3.11 python3; do \
	  if $$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	  then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  if python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo 'Penstock needs the venv module of Python: install it with `apt install python3-venv`, then run make again.' >&2; \
	  else \
	    echo 'Penstock needs Python 3.11 or newer, and none was found: install it with `apt install python3 python3-venv` (Debian 12, Ubuntu 24.04 or newer), then run make again.' >&2; \
	  fi; exit 1; \
	fi; \
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  echo "Making .venv with $$($$python --version)"; \
	  rm -rf .venv; $$python -m venv .venv; \
	fi
	@echo 'Installing the pinned requirements (once)'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
