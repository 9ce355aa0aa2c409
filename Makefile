# `make demo` and `make test` are all the set-up there is; both build .venv first.
PYTHON ?= python3
BIN    := .venv/bin

# Where this is set, each of the many processes of the tests would compile everything anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup demo test verify fix lint types layers unit soak bench lock clean

setup: .venv/.ready

.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "liferaft needs Python 3.11 or newer: make PYTHON=python3.12 setup" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "the venv module is missing: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install -q --no-cache-dir --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install -q --no-cache-dir -c constraints.txt -e '.[all]' --group dev --group bench --group fuzz
	@touch $@

demo: .venv/.ready
	@$(BIN)/liferaft demo

test: lint types layers unit

# verify never edits; fix does.
verify: lint types layers

lint: .venv/.ready
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .

types: .venv/.ready
	@$(BIN)/mypy

layers: .venv/.ready
	@$(BIN)/lint-imports

unit: .venv/.ready
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal

# Whatever takes long, for as long as it is given: make soak SECONDS=3600
soak: SECONDS ?= 600
soak: .venv/.ready
	@$(BIN)/python -m tests.soak --seconds $(SECONDS)

fix: .venv/.ready
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: .venv/.ready
	@$(BIN)/liferaft bench raft
	@$(BIN)/liferaft bench rpc

# Maintainers: pin again. No address may end up in constraints.txt.
lock: .venv/.ready
	@$(BIN)/python -m pip freeze --exclude-editable --exclude pip | sort > constraints.txt

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .fuzz

SHELL := /bin/bash
