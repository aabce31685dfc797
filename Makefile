# `make demo` and `make test` set themselves up; the rest builds on the same `.venv`.
PYTHON ?= $(shell for v in 3.11 3.12 3.13 3.10; do command -v python$$v >/dev/null 2>&1 && python$$v -c '' 2>/dev/null && echo python$$v && exit; done; echo python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := setup.cfg pyproject.toml constraints.txt

.PHONY: setup demo test lint bench clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    train, compress along five plans, export and verify on a real data set (about 10 minutes)"
	@echo "make test    run the tests"
	@echo "make lint    ruff and mypy"
	@echo "make bench   the long benchmarks: stock route, distillation, data, training speed, networks, dense half"
	@echo "make setup   only create .venv (also done by all of the above)"
	@echo "make clean   remove .venv, reports and exported models"

setup: $(STAMP)

$(STAMP): $(SOURCES)
	@$(PYTHON) -c 'import sys; ok = (3, 10) <= sys.version_info[:2] <= (3, 13); sys.exit(0 if ok else "tfshop needs Python 3.10 to 3.13, but $(PYTHON) is " + sys.version.split()[0] + ". Fix: make PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || { echo "creating $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing tfshop and what it needs (about two minutes)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --upgrade 'pip>=24' 'setuptools>=68' wheel
	@$(BIN)/python -m pip install -qq --no-compile --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@$(BIN)/python -m compileall -q -j 0 -x '/tests/' $(VENV)/lib >/dev/null 2>&1 || true  # pip would, on one core
	@touch $(STAMP)

demo: setup
	$(BIN)/tfshop demo

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python benchmarks/stock_route.py
	$(BIN)/python benchmarks/distillation.py
	$(BIN)/python benchmarks/data_scale.py
	$(BIN)/python benchmarks/training_speed.py
	$(BIN)/python benchmarks/networks.py
	$(BIN)/python benchmarks/dense.py

clean:
	rm -rf $(VENV) report build *.egg-info .mypy_cache .ruff_cache .pytest_cache
	git clean -fdXq saved_models tflite 2>/dev/null || true
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
