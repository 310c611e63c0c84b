# Each target does its own set-up on a fresh machine: only git, make and Python >= 3.11 with venv are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test long lint notebooks clean

setup: $(STAMP)

# Reinstalled only when pyproject.toml changes; the package itself is installed editable.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo,dev]'
	@touch $@

demo: setup
	$(BIN)/python -m insights_nb demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest

# The long forms of some tests: minutes, and figures to print.
long: setup
	$(BIN)/python -m pytest -m long -s

notebooks: setup
	$(BIN)/python -m jupyterlab notebooks

clean:
	rm -rf $(VENV) demo
