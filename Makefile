# SPDX-License-Identifier: MIT
# make demo: a real job on the embedded cluster · make test: all tests · make check: what must be clean · make bench
# make chaos: 200 times kill -9 of the server under load (make test: 20)
# make docs: pages that are made from the code · make hadoop: HDFS in the foreground, to try things on

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_JOB := digits-$(shell date +%m%d-%H%M%S)
DEMO_OUTPUT := digits-output
SOURCES := $(shell find openpaisdk -name '*.py' -o -name '*.json' -o -name '*.sh') setup.py pyproject.toml README.md

.PHONY: demo test unit check docs format bench chaos hadoop clean

# The shell's settings for Python are for people at work; a fresh start is measured and shown without them.
unexport PYTHONDONTWRITEBYTECODE

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# An ordinary install, not an editable one: what is shown and measured is what users get.
$(VENV)/.demo: $(BIN)/python $(SOURCES)
	rm -rf build
	$(BIN)/python -m pip install --quiet --upgrade '.[local]'
	touch $@

$(VENV)/.test: $(BIN)/python $(SOURCES)
	rm -rf build
	$(BIN)/python -m pip install --quiet --upgrade '.[test]'
	touch $@

$(VENV)/.dev: $(VENV)/.test setup.py
	rm -rf build
	$(BIN)/python -m pip install --quiet --upgrade '.[test,dev]'
	touch $@

# Compiles against libkrb5 (Debian libkrb5-dev); unoptimised, which is fast enough for logging in.
$(VENV)/.kerberos: $(VENV)/.test setup.py
	rm -rf build
	CFLAGS=-O0 $(BIN)/python -m pip install --quiet '.[kerberos]'
	touch $@

# What object stores and SFTP are tested with: packages of these extras, and servers that run on this machine.
$(VENV)/.stores: $(VENV)/.test setup.py
	rm -rf build
	$(BIN)/python -m pip install --quiet '.[s3,sftp,abfs,gs,stores]'
	touch $@

demo: $(VENV)/.demo
	$(BIN)/opai job fast --follow -a local -j $(DEMO_JOB) -s examples/digits -p scikit-learn \
	  --outputs model.joblib,metrics.json,confusion.png \
	  python examples/digits/train.py --c 5 --gamma 0.001
	$(BIN)/opai output download -a local -j $(DEMO_JOB) --to $(DEMO_OUTPUT) --overwrite
	@$(BIN)/python -c 'import json; print("accuracy:", json.load(open("$(DEMO_OUTPUT)/metrics.json"))["accuracy"])'

test: $(VENV)/.test
	$(BIN)/python -m pytest

unit: $(VENV)/.test
	$(BIN)/python -m pytest tests/unit

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/python -m pytest -q tests/unit/test_layers.py tests/unit/test_public_surface.py

docs: $(VENV)/.test
	$(BIN)/python docs/make_cli_reference.py

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

hadoop: $(VENV)/.test
	$(BIN)/python -m tests.hadoop

# Some of them: make bench NAMES="queue pages"
bench: $(VENV)/.test
	$(BIN)/python -m tests.benchmarks $(NAMES)

chaos: $(VENV)/.test
	OPENPAI_CHAOS_KILLS=200 $(BIN)/python -m pytest -s tests/chaos

clean:
	rm -rf $(VENV) build dist *.egg-info $(DEMO_OUTPUT) .pytest_cache .mypy_cache .ruff_cache
