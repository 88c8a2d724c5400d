# Two commands matter: `make train` and `make test`. Each first installs what it needs into .venv.
PYTHON ?= python3
CONFIG ?= connect_four_quick
# The tests run in this many processes; 0 runs them in this one, without pytest-xdist.
JOBS ?= 2
BIN = .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help train test test-slow test-hours lint types docs dist format clean

help:
	@echo "make train      install the package and OpenVINO into .venv, then train CONFIG=$(CONFIG)"
	@echo "make test       install every extra and the test tools, check style and types, run the tests"
	@echo "make test-slow  run the tests that take minutes"
	@echo "make test-hours check the solver against every published position"
	@echo "make docs       build the documentation as a site in site/"
	@echo "make dist       build the wheel and the source distribution in dist/ and check them"

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + " (make PYTHON=...)")'
	@echo "creating .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing the package and OpenVINO into .venv (some minutes the first time)"
	@$(PIP) --editable '.[openvino]'
	@touch $@

.venv/installed-dev: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing the package, its extras and the test tools into .venv (some minutes the first time)"
	@$(PIP) --editable '.[dev]'
	@touch .venv/installed $@

train: .venv/installed
	@echo "training an agent: $(BIN)/alphazero train $(CONFIG)"
	@$(BIN)/alphazero train $(CONFIG)

test: .venv/installed-dev lint types
	@echo "running the tests in $(JOBS) processes (make test JOBS=0: in one)"
	@$(BIN)/python -m pytest --numprocesses $(JOBS) --no-loadscope-reorder --max-worker-restart 0 \
		-m 'not slow and not signals'
	@$(BIN)/python -m pytest -m signals tests/test_train.py tests/test_supervised_commands.py \
		tests/test_endings.py tests/test_engines_gtp.py

test-slow: .venv/installed-dev
	$(BIN)/python -m pytest -m 'slow and not hours' --timeout 3600

test-hours: .venv/installed-dev
	$(BIN)/python -m pytest -m hours

lint: .venv/installed-dev
	@echo "checking style and format with ruff"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: .venv/installed-dev
	@echo "checking types with pyright"
	@$(BIN)/pyright

docs: .venv/installed-dev
	@echo "building the documentation in site/"
	@$(BIN)/mkdocs build --strict --quiet

dist: .venv/installed-dev
	@echo "building the wheel and the source distribution in dist/"
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --outdir dist . >/dev/null
	@$(BIN)/twine check --strict dist/*

format: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build dist site *.egg-info .pytest_cache .ruff_cache .hypothesis
