# Two commands matter: `make train` and `make test`. Both make what they need in .venv first.
PYTHON ?= python3
BIN = .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
CONFIG ?= connect_four_quick

.PHONY: help train test test-slow test-hours lint types format clean

help:
	@echo "make train      set up .venv and train CONFIG=$(CONFIG)"
	@echo "make test       set up .venv, lint, check types, run the tests"
	@echo "make test-slow  the tests that take minutes"
	@echo "make test-hours the solver against every published position"

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + " (make PYTHON=...)")'
	@echo "making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing alphazero (the first time: some minutes)"
	@$(PIP) --editable '.[openvino,supervised,serve]'
	@touch $@

.venv/installed-dev: .venv/installed
	@echo "installing the test tools"
	@$(PIP) --editable '.[openvino,supervised,serve,dev]'
	@touch $@

train: .venv/installed
	$(BIN)/alphazero train $(CONFIG)

test: .venv/installed-dev lint types
	$(BIN)/python -m pytest

test-slow: .venv/installed-dev
	$(BIN)/python -m pytest -m 'slow and not hours' --timeout 3600

test-hours: .venv/installed-dev
	$(BIN)/python -m pytest -m hours

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed-dev
	$(BIN)/pyright

format: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .hypothesis
