# Each target does its own set-up on a fresh machine: only git, make and Python >= 3.11 with venv are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test peers long torture bench large lint notebooks pictures clean

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

# Other people's session tools, for the tests that hold ours against them; make test runs those where they are.
peers: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo,dev,peers]'

# The long forms of some tests: minutes, and figures to print.
long: setup
	$(BIN)/python -m pytest -m long -s

# Kills, crashes, failing disks and Ctrl-C at every point, in their long form: half an hour, and a table of counts.
torture: setup
	$(BIN)/python benchmarks/torture.py

# One table of the aims of speed beside real peers, in some minutes; `make large` is a report larger than its memory.
bench: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench,dev]'
	$(BIN)/python benchmarks/speed.py --turns 3

large: setup
	$(BIN)/python benchmarks/large.py

notebooks: setup
	$(BIN)/python -m jupyterlab notebooks

# The README's pictures, from a real JupyterLab; needs Chromium.
pictures: setup
	$(BIN)/python -m tests.pictures docs

clean:
	rm -rf $(VENV) demo
